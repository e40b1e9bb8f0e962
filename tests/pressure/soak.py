"""The soak: ``python -m tests.pressure.soak --minutes 5``; `make soak`.

Publishers, durable subscribers who leave and come back and forget acks, clients who come and
go or vanish, and channels that die of inactivity. What the server has (memory, descriptors,
threads, and the clients, subscriptions and channels for which it keeps timers) is compared
between the second fifth of the time and the last: the second minute and the last of five.

Exit code 0 when nothing grew beyond its margin and no message was lost.
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.pressure.processes import PressedServer, make_server, open_files, resident_bytes
from tests.tools.streaming_client import Clients, new_id

MB = 1_000_000
STEADY = 4
SAMPLE_S = 2.0
FORGOTTEN = 0.02
"""The part of acks that a steady reader forgets."""
FLAGS = (
    *("-hbi", "1s", "-hbt", "1s", "-hbf", "2", "-mi", "5s", "-mm", "20000"),
    *("-cache_bytes", "8MB"),
)
# How much more there may be at the end: a part of what there was, and so many beyond.
MARGINS: dict[str, tuple[float, float]] = {
    "server_bytes": (0.10, 8 * MB),
    "nats_bytes": (0.10, 8 * MB),
    "descriptors": (0.0, 10),
    "threads": (0.0, 2),
    "clients": (0.25, 5),
    "subscriptions": (0.25, 10),
    "channels": (0.25, 10),
}


@dataclass
class Steady:
    """What one publisher was acked and its durable got."""

    channel: str
    acked: set[bytes] = field(default_factory=set)
    received: set[bytes] = field(default_factory=set)
    again: int = 0


class Soak:
    """The load, and what was seen of the server meanwhile."""

    def __init__(self, server: PressedServer, seed: int) -> None:
        self.steadies = [Steady(new_id("steady")) for _ in range(STEADY)]
        self.samples: list[tuple[float, dict[str, float]]] = []
        self.done = {"visits": 0, "vanished": 0, "brief channels": 0, "returns": 0}
        self._server = server
        self._random = random.Random(seed)
        self._stopping = asyncio.Event()

    async def run(self, seconds: float) -> None:
        async with asyncio.TaskGroup() as group:
            published = [
                group.create_task(self._publish_steadily(steady)) for steady in self.steadies
            ]
            for steady in self.steadies:
                group.create_task(self._read_steadily(steady, published))
            for work in (self._visit, self._vanish, self._use_a_channel_briefly):
                group.create_task(self._repeat(work))
            await self._watch(seconds)
            self._stopping.set()

    def _watch_once(self) -> dict[str, float]:
        server, *below = self._server.processes
        url = f"http://127.0.0.1:{self._server.monitor_port}/streaming/serverz"
        with urllib.request.urlopen(url, timeout=10) as answer:
            known = json.load(answer)
        return {
            "server_bytes": resident_bytes(server),
            "nats_bytes": sum(map(resident_bytes, below)),
            "descriptors": open_files(server),
            "threads": len(list(Path(f"/proc/{server}/task").iterdir())),
            "clients": known["clients"],
            "subscriptions": known["subscriptions"],
            "channels": known["channels"],
        }

    async def _watch(self, seconds: float) -> None:
        began_s = time.monotonic()
        while (now_s := time.monotonic() - began_s) < seconds:
            self.samples.append((now_s / seconds, await asyncio.to_thread(self._watch_once)))
            await asyncio.sleep(SAMPLE_S)

    async def _repeat(self, work: Callable[[Clients], Coroutine[Any, Any, None]]) -> None:
        while not self._stopping.is_set():
            async with Clients() as clients:
                await work(clients)

    async def _pause(self, longest_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._random.uniform(0, longest_s)):
                await self._stopping.wait()

    async def _publish_steadily(self, steady: Steady) -> None:
        async with Clients() as clients:
            client = await clients.connect(self._server)
            while not self._stopping.is_set():
                names = [secrets.token_hex(8).encode() for _ in range(self._random.randrange(50))]
                filler = bytes(self._random.randrange(2000))
                await client.publish_all(steady.channel, (name + b"." + filler for name in names))
                steady.acked.update(names)
                await self._pause(0.05)

    async def _read_steadily(self, steady: Steady, published: list[asyncio.Task[None]]) -> None:
        async with Clients() as clients:
            client = await clients.connect(self._server)
            while True:
                ending = all(task.done() for task in published)
                subscription = await client.subscribe(
                    steady.channel, 1, durableName="reader", maxInFlight=200
                )
                for _ in range(10_000 if ending else self._random.randrange(1, 2000)):
                    try:
                        message = await subscription.next(2.5 if ending else 0.5)
                    except TimeoutError:
                        break
                    steady.again += message.redelivered
                    if ending or self._random.random() > FORGOTTEN:
                        steady.received.add(message.data.partition(b".")[0])
                        await subscription.ack(message.sequence)
                await client.close_subscription(subscription)
                self.done["returns"] += 1
                if ending and steady.acked <= steady.received:
                    return
                if ending and not subscription.messages.qsize():
                    return

    async def _visit(self, clients: Clients) -> None:
        """Come, subscribe, publish, leave."""
        client = await clients.connect(self._server)
        channel = self._random.choice(self.steadies).channel + ".visited"
        subscriptions = [await client.subscribe(channel) for _ in range(3)]
        await client.publish_count(channel, 10)
        for subscription in subscriptions:
            await subscription.take(10, ack=True)
        await client.unsubscribe(subscriptions[0])
        await client.close()
        self.done["visits"] += 1
        await self._pause(0.2)

    async def _vanish(self, clients: Clients) -> None:
        """Come, subscribe, have messages on the way, and drop dead."""
        client = await clients.connect(self._server)
        await client.subscribe(self._random.choice(self.steadies).channel, 1)
        await client.subscribe(f"vanished.{self._random.randrange(10)}", 1)
        await client.vanish()
        self.done["vanished"] += 1
        await self._pause(0.5)

    async def _use_a_channel_briefly(self, clients: Clients) -> None:
        client = await clients.connect(self._server)
        await client.publish_count(new_id("brief"), 5)
        await client.close()
        self.done["brief channels"] += 1
        await self._pause(0.3)


def compare(samples: list[tuple[float, dict[str, float]]]) -> list[str]:
    """A line for everything that grew beyond its margin."""
    faults = []
    for name, (part, beyond) in MARGINS.items():
        early = median(values[name] for at, values in samples if 0.2 <= at < 0.4)
        late = median(values[name] for at, values in samples if at >= 0.8)
        if late > early * (1 + part) + beyond:
            faults.append(f"{name} grew from {early:,.0f} to {late:,.0f}")
        print(f"  {name}: {early:,.0f} early, {late:,.0f} late")
    return faults


async def run(minutes: float, seed: int) -> int:
    """The soak and its verdict; the exit code."""
    with tempfile.TemporaryDirectory(prefix="stan-soak-") as folder:
        server = make_server(Path(folder), *FLAGS)
        await asyncio.to_thread(server.start)
        try:
            soak = Soak(server, seed)
            await soak.run(minutes * 60)
            faults = compare(soak.samples)
        finally:
            await asyncio.to_thread(server.stop)
    for steady in soak.steadies:
        lost = len(steady.acked - steady.received)
        print(f"  {len(steady.acked):,} acked, {steady.again:,} came again, {lost} lost")
        if lost:
            faults.append(f"{lost} messages of {steady.channel} were lost")
    print("  " + ", ".join(f"{count} {what}" for what, count in soak.done.items()))
    faults += server.losses
    print("\n".join(faults) if faults else "nothing grew, nothing was lost", flush=True)
    return 1 if faults else 0


def main(argv: list[str]) -> int:
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.pressure.soak")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args(argv)
    print(f"soak of {options.minutes:g} minutes, seed {options.seed}", flush=True)
    return asyncio.run(run(options.minutes, options.seed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
