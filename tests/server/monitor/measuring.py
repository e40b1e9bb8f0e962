"""What answers of the monitoring cost with many channels. Run as a program:

    python -m tests.server.monitor.measuring [channels] [durables] [requests] [most channels]

A server on SQLite with that many channels, each with messages, and durables that are
behind, two thirds of them online. For each path, the median over the requests of: the
time to the last byte as another process sees it, the processor time of the server, and
the longest stretch of processor time in which the event loop did nothing else. `changed`
requests come after every channel has got a message and every subscription has moved.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stan.engine.engine import Engine
from stan.engine.limits import StoreLimits
from stan.engine.records import (
    Batch,
    ChannelRecord,
    ClientRecord,
    Run,
    ServerRecord,
    SubscriptionRecord,
)
from stan.engine.settings import Settings
from stan.server.monitor.identity import Identity
from stan.server.monitor.monitor import Monitor
from stan.server.pump import Pump
from stan.server.serving import _relieve_collector
from stan.server.transport import Transport
from stan.store.contract import Store
from stan.store.open import open_store
from stan.store.settings import StoreSettings
from stan.wire.messages import frame_message
from stan.wire.stan_pb2 import MsgProto
from tests.tools.processes import NatsServer

PATHS = (
    "streaming/serverz",
    "streaming/storez",
    "streaming/channelsz?channel=orders.eu.00007&subs=1",
    "streaming/channelsz",
    "streaming/channelsz?limit=10000",
    "streaming/channelsz?subs=1",
    "streaming/channelsz?subs=1&limit=10000",
    "streaming/clientsz?subs=1&limit=10000",
    "metrics",
)
CLUSTER = "measured"
CLIENTS = 200
MESSAGES = 3

# Reads answers in a process of its own: the time until the last byte, in milliseconds.
READER = """
import sys, time, http.client
host, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connection = http.client.HTTPConnection(host, port)
connection.connect()
began = time.perf_counter()
connection.request("GET", "/" + path)
response = connection.getresponse()
size = 0
while part := response.read(1 << 20):
    size += len(part)
print((time.perf_counter() - began) * 1000, size)
"""


class Stretches:
    """Notes how much processor time each callback of the loop takes."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        run = asyncio.Handle._run

        def timed(handle: Any) -> None:
            began_s = time.thread_time()
            run(handle)
            self.longest_s = max(self.longest_s, time.thread_time() - began_s)

        asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]


async def seed(store: Store, channels: int, durables: int) -> None:
    """Everything in one batch: clients, channels, messages, durables."""
    now_ns = time.time_ns()
    batch = Batch(1)
    batch.clients_put = [
        ClientRecord(f"worker-{number}", f"_INBOX.{number:022}", b"c%d" % number, 1, 5, 88)
        for number in range(CLIENTS)
    ]
    for number in range(1, channels + 1):
        name = f"orders.eu.{number:05}"
        batch.channels_created.append(ChannelRecord(number, name))
        batch.runs.append(make_run(number, name, now_ns))
    for number in range(1, durables + 1):
        batch.subscriptions_put.append(
            SubscriptionRecord(
                subscription_id=number,
                channel_id=(number - 1) % channels + 1,
                client_id=f"worker-{number % CLIENTS}",
                inbox=f"_INBOX.{number:022}",
                ack_inbox=f"_INBOX.server.{number:022}",
                max_in_flight=1024,
                ack_wait_s=30,
                durable_name=f"billing-{(number - 1) // channels}",
                queue_group="",
                is_durable=True,
                is_closed=number % 3 == 0,
                last_sent=1,
                in_flight=(1,) if number % 5 == 0 else (),
            )
        )
    await store.commit(batch)


def make_run(channel_id: int, name: str, now_ns: int) -> Run:
    """The first messages of a channel."""
    payloads = [b"x" * 64] * MESSAGES
    messages = [
        MsgProto(sequence=1 + n, subject=name, data=data, timestamp=now_ns).SerializeToString()
        for n, data in enumerate(payloads)
    ]
    framed = [frame_message(one) for one in messages]
    return Run(channel_id, name, 1, now_ns, 0, framed, [*map(len, messages)], payloads, [])


def change(engine: Engine) -> None:
    """Let every channel and subscription look as if something had happened."""
    for channel in engine.channels.by_id.values():
        channel.last += 1
        channel.count += 1
        channel.end_position += 100
        for one in channel.subscriptions.values():
            one.cursor.last_sent += 1


async def measure(channels: int, durables: int, requests: int, most_channels: int) -> None:
    """Start, measure, print, stop."""
    nats = NatsServer().start()
    with tempfile.TemporaryDirectory() as directory:
        store = open_store("SQL", StoreSettings(sql_source=str(Path(directory) / "stan.db")))
        await store.open()
        server = ServerRecord(CLUSTER, "_INBOX.server")
        await store.initialize(server)
        await seed(store, channels, durables)
        transport = Transport()
        await transport.connect([nats.url])
        settings = Settings(cluster_id=CLUSTER, limits=StoreLimits(0))
        names = iter_names()
        engine = Engine(
            settings, await store.recover(), server, lambda: next(names), time.time_ns()
        )
        pump = Pump(engine, store, transport)
        identity = Identity(CLUSTER, "k" * 22, "0.1.0", time.time_ns())
        monitor = Monitor(identity, pump, store, lambda: True, most_channels=most_channels)
        await monitor.start("127.0.0.1", 0)
        _relieve_collector()
        stretches = Stretches()
        print(f"{channels} channels, {durables} durables; milliseconds: wall, CPU, stretch")
        for path in PATHS:
            for changed in (False, True):
                await report(monitor, engine, stretches, path, changed, requests)
        await monitor.stop()
        await transport.close()
        await store.close()
    nats.stop()


def iter_names() -> Iterator[str]:
    """Identifiers for an engine."""
    number = 0
    while True:
        number += 1
        yield f"id{number}"


async def report(
    monitor: Monitor, engine: Engine, stretches: Stretches, path: str, changed: bool, requests: int
) -> None:
    """Ask for a path, and print what it cost."""
    rows = []
    size = 0
    for _ in range(requests):
        if changed:
            change(engine)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", READER, "127.0.0.1", str(monitor.port), path),
            stdout=asyncio.subprocess.PIPE,
        )
        stretches.longest_s, began_s = 0.0, time.process_time()
        output, _ = await process.communicate()
        cpu_ms = (time.process_time() - began_s) * 1000
        wall, length = output.split()
        size = int(length)
        rows.append((float(wall), cpu_ms, stretches.longest_s * 1000))
    medians = [statistics.median(column) for column in zip(*rows[1:], strict=True)]
    text = "  ".join(f"{one:7.1f}" for one in medians)
    print(f"{path:55} {'changed' if changed else '':8} {size:10,}  {text}")


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    asyncio.run(measure(*arguments, *(10_000, 10_000, 7, 1000)[len(arguments) :]))
