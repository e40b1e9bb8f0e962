"""NATS comes back with a smaller limit of payloads than what is stored needs.

The limit holds from the moment NATS says so. What is too large now stops its own
subscription, is said once, and nothing else.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stan.wire import stan_pb2 as pb
from tests.pressure.pair import Pair
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer
from tests.tools.streaming_client import Client, Clients, Subscription
from tests.tools.streaming_server import StreamingServer

TOO_LARGE = "exceeds the maximum payload"


class LimitedNats(NatsServer):
    """A NATS server whose limit can be another one each time it starts."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / "nats.conf"

    def begin(self, max_payload_bytes: int) -> None:
        self._file.write_text(f"max_payload: {max_payload_bytes}\n")
        self.start("-c", str(self._file))

    def begin_again(self, max_payload_bytes: int) -> None:
        self.kill()
        self.begin(max_payload_bytes)


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[LimitedNats]:
    server = LimitedNats(tmp_path)
    yield server
    server.stop()


def complaints(server: StreamingServer, channel: str) -> list[str]:
    assert server.process is not None
    return [
        line
        for line in server.process.output.splitlines()
        if TOO_LARGE in line and f"channel {channel} " in line
    ]


async def came_back(server: StreamingServer) -> None:
    """Wait until the server noticed that NATS is back."""
    assert server.process is not None
    pattern = "reconnected to NATS Server|lost for good"
    await asyncio.to_thread(server.process.wait_for, pattern)


async def two_ack_waits(client: Client, server: StreamingServer) -> None:
    """Let messages become due twice, those of a subscription of 200 ms."""
    clock = await client.subscribe("clock", server.implementation.ack_wait(0.2))
    await client.publish("clock")
    await clock.take(3)
    await client.unsubscribe(clock)


async def test_a_smaller_limit_under_a_running_server_stops_only_what_is_too_large(
    nats: LimitedNats, start_server: StartServer, clients: Clients
) -> None:
    nats.begin(1_000_000)
    server = start_server("--test_timers", nats_url=nats.url, store="SQL")
    assert server.process is not None
    publisher = await clients.connect(server)
    await publisher.publish("mixed", b"x" * 900_000)
    await publisher.publish("mixed", b"small")
    before = await publisher.subscribe("mixed", server.implementation.ack_wait(0.2), maxInFlight=1)
    assert (await before.next()).sequence == 1  # never acked, so that it is due again

    nats.begin_again(100_000)
    await came_back(server)
    after = await (await clients.connect(server)).subscribe("mixed")
    skipping = await (await clients.connect(server)).subscribe(
        "mixed", startPosition=pb.SequenceStart, startSequence=2
    )
    async with Pair(server) as pair:
        await pair.finish(20)
        await two_ack_waits(publisher, server)
    unharmed = await skipping.next()

    assert server.process.process.poll() is None
    assert unharmed.data == b"small"
    assert pair.failures == []
    # One line for each of the two subscriptions that it stops.
    assert len(complaints(server, "mixed")) == 2
    assert await after.is_quiet()


@pytest.mark.parametrize("running", [True, False], ids=["running", "started anew"])
async def test_a_message_a_few_bytes_over_the_limit_stops_only_its_own_subscription(
    nats: LimitedNats, start_server: StartServer, clients: Clients, running: bool
) -> None:
    limit_bytes = 5_000
    nats.begin(1_000_000)
    server = start_server("--test_timers", nats_url=nats.url, store="SQL")
    assert server.process is not None
    publisher = await clients.connect(server)
    sizes = {f"over.{k + 10}": k for k in range(-9, 8)}
    for channel, k in sizes.items():
        await publisher.publish(channel, data_of_message(channel, limit_bytes + k))

    if running:
        nats.begin_again(limit_bytes)
        await came_back(server)
    else:
        server.stop()
        nats.begin_again(limit_bytes)
        server.start()
    reader = await clients.connect(server)
    ack_wait = server.implementation.ack_wait(0.2)
    subscriptions: dict[str, Subscription] = {}
    for channel in sizes:
        subscriptions[channel] = await reader.subscribe(channel, ack_wait)
    async with Pair(server) as pair:
        await pair.finish(20)
        await two_ack_waits(reader, server)
    arrived = [channel for channel in sizes if subscriptions[channel].messages.qsize() >= 2]

    assert server.process.process.poll() is None
    assert pair.failures == []
    # What fits comes, and comes again even where the mark of a redelivery does not fit.
    assert arrived == [channel for channel, k in sizes.items() if k <= 0]
    assert [len(complaints(server, channel)) for channel in sizes] == [
        int(k > 0) for k in sizes.values()
    ]


def data_of_message(channel: str, message_bytes: int) -> bytes:
    """A payload with which the first message of the channel is so long when delivered."""
    message = pb.MsgProto(sequence=1, subject=channel, timestamp=time.time_ns())
    message.data = b"x" * (message_bytes - 100)
    message.data += b"x" * (message_bytes - message.ByteSize())
    assert message.ByteSize() == message_bytes
    return message.data
