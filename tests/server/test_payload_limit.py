"""NATS comes back with another limit of payloads than a running server knows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stan.wire.stan_pb2 import StartPosition
from tests.tools.processes import NatsServer
from tests.tools.streaming_client import Clients
from tests.tools.streaming_server import StreamingServer, implementation_under_test

TOO_LARGE = "exceeds the maximum payload of 5000 bytes"
FIRST = StartPosition.First
BACK = "reconnected to NATS Server"


class LimitedNats(NatsServer):
    """A NATS server whose limit can be another one each time it starts."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / "nats.conf"

    def begin(self, max_payload_bytes: int) -> None:
        self._file.write_text(f"max_payload: {max_payload_bytes}\n")
        self.start("-c", str(self._file))


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[LimitedNats]:
    server = LimitedNats(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    async with Clients() as made:
        yield made


@pytest.fixture
def server(nats: LimitedNats, tmp_path: Path) -> Iterator[StreamingServer]:
    nats.begin(1_000_000)
    running = StreamingServer(implementation_under_test(), nats.url, "MEMORY", tmp_path)
    running.start()
    yield running
    running.stop()


async def test_a_smaller_limit_stops_only_what_is_too_large(
    nats: LimitedNats, server: StreamingServer, clients: Clients
) -> None:
    publisher = await clients.connect(server)
    await publisher.publish("mixed", b"x" * 100_000)
    await publisher.publish("small", b"small")

    nats.kill()
    nats.begin(5_000)
    assert server.process is not None
    await asyncio.to_thread(server.process.wait_for, BACK)
    reader = await clients.connect(server)
    stopped = await reader.subscribe("mixed", startPosition=FIRST)
    unharmed = await reader.subscribe("small", startPosition=FIRST)
    assert (await unharmed.next()).data == b"small"
    await reader.publish("small", b"more")
    assert (await unharmed.next()).data == b"more"

    assert await stopped.is_quiet()
    assert server.process.process.poll() is None
    lines = [line for line in server.process.output.splitlines() if TOO_LARGE in line]
    assert len(lines) == 1
    assert "maximum payload violation" not in server.process.output.lower()
