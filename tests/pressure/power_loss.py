"""Power loss: ``python -m tests.pressure.power_loss --cuts 30``; `make power-loss`.

A server keeps its SQLite file on a disk that forgets what was not synced, and is published
to. At random moments the disk tells what a power cut would leave; a server opens each of
these remains, and everything that had been acked is in them, once. Then the disk fails and
is full now and then: what was refused is not stored, what was acked is. At weaker
durability the same looking has to find losses: at full durability it is known to look.

Exit code 0 when all of this was so.
"""

import argparse
import asyncio
import random
import secrets
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.pressure.forgetful import ForgetfulDisk, Image
from tests.tools.processes import NatsServer, StartFailed
from tests.tools.streaming_client import Client, Clients
from tests.tools.streaming_server import StreamingServer, implementation_under_test

SURVIVORS = ("nothing", "prefix", "sectors")
PUBLISHERS = 4
WINDOW = 50
LARGEST_BYTES = 20_000
MESSAGES_BETWEEN = 200
"""How many more are acked before the next cut, on average."""
FAULT_RATE = 0.003


@dataclass
class Promises:
    """What publishers were told, by the text that each payload begins with."""

    sent: set[bytes] = field(default_factory=set)
    acked: set[bytes] = field(default_factory=set)
    refused: dict[bytes, str] = field(default_factory=dict)


@dataclass
class Finding:
    """What is wrong with the remains of one cut."""

    survivors: str
    lost: int = 0
    others: list[str] = field(default_factory=list)


class Publisher:
    """Publishes with a window of its own until told to stop."""

    def __init__(self, client: Client, promises: Promises, seed: int) -> None:
        self._client = client
        self._promises = promises
        self._random = random.Random(seed)
        self._unanswered: dict[str, bytes] = {}
        self.stopping = False

    async def run(self) -> None:
        while not self.stopping or self._unanswered:
            while not self.stopping and len(self._unanswered) < WINDOW:
                name = secrets.token_hex(8).encode()
                data = name + b"." + bytes(self._random.randrange(LARGEST_BYTES))
                message = self._client.message(f"power.{self._random.randrange(3)}", data)
                self._unanswered[message.guid] = name
                self._promises.sent.add(name)
                await self._client.send(message)
            ack = await self._client.next_ack()
            name = self._unanswered.pop(ack.guid)
            if ack.error:
                self._promises.refused[name] = ack.error
            else:
                self._promises.acked.add(name)


class Trial:
    """One server on one forgetful disk."""

    def __init__(self, folder: Path, nats_url: str, durability: str, seed: int) -> None:
        (folder / "disk").mkdir()
        self.disk = ForgetfulDisk(folder / "disk", seed)
        self.promises = Promises()
        self.durability = durability
        self._folder = folder
        self._random = random.Random(seed)
        self._server = self._make_server(folder / "disk", nats_url)
        self._nats_url = nats_url
        self._cuts = 0

    def _make_server(self, store: Path, nats_url: str, cluster: str = "") -> StreamingServer:
        flags = ("-mm", "0", "-mb", "0", "--sql_durability", self.durability)
        server = StreamingServer(implementation_under_test(), nats_url, "SQL", store, flags)
        server.cluster = cluster or server.cluster
        return server

    async def cut(self, cuts: int) -> list[Finding]:
        """So many power cuts under load; what was found wrong."""
        images: list[tuple[str, Image, frozenset[bytes]]] = []

        async def take_images() -> None:
            for number in range(cuts):
                await self._acked(self._random.randrange(2 * MESSAGES_BETWEEN))
                acked = frozenset(self.promises.acked)
                survivors = SURVIVORS[number % len(SURVIVORS)]
                images.append((survivors, self.disk.cut(survivors), acked))

        await self._under_load(take_images)
        return [await asyncio.to_thread(self._inspect, *image) for image in images]

    async def fail(self, messages: int) -> tuple[Finding, str]:
        """Fail now and then while so many are answered, behave again, then cut the power.
        What was found wrong, and the server's log."""

        async def meet_faults() -> None:
            self.disk.fault_rate = FAULT_RATE
            await self._answered(messages)
            self.disk.fault_rate = 0.0
            await self._acked(100)  # it goes on by itself

        await self._under_load(meet_faults)
        finding = await asyncio.to_thread(
            self._inspect, "nothing", self.disk.cut("nothing"), frozenset(self.promises.acked)
        )
        assert self._server.process is not None
        return finding, self._server.process.output

    async def _under_load(self, work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.to_thread(self._server.start)
        try:
            async with Clients() as clients:
                publishers = [
                    Publisher(
                        await clients.connect(self._server),
                        self.promises,
                        self._random.randrange(1 << 30),
                    )
                    for _ in range(PUBLISHERS)
                ]
                async with asyncio.TaskGroup() as group:
                    for publisher in publishers:
                        group.create_task(publisher.run())
                    await work()
                    for publisher in publishers:
                        publisher.stopping = True
        finally:
            await asyncio.to_thread(self._server.stop)

    async def _acked(self, more: int) -> None:
        goal = len(self.promises.acked) + more
        async with asyncio.timeout(60):
            while len(self.promises.acked) < goal:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def _answered(self, more: int) -> None:
        def answered() -> int:
            return len(self.promises.acked) + len(self.promises.refused)

        goal = answered() + more
        async with asyncio.timeout(120):
            while answered() < goal:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    def _inspect(self, survivors: str, image: Image, acked: frozenset[bytes]) -> Finding:
        """Let a server open the remains, then read them."""
        self._cuts += 1
        folder = self._folder / f"cut-{self._cuts}"
        folder.mkdir()
        for name, content in image.items():
            (folder / name.lstrip("/")).write_bytes(content)
        finding = Finding(survivors)
        server = self._make_server(folder, self._nats_url, self._server.cluster)
        try:
            server.start()
        except StartFailed as failure:
            finding.lost = len(acked)
            finding.others.append(f"does not start: {str(failure).splitlines()[-1]}")
            return finding
        finally:
            server.stop()
        stored, faults = read_names(folder / "stan.db")
        finding.lost = len(acked - stored.keys())
        finding.others += faults
        twice = [name for name, count in stored.items() if count > 1]
        unwanted = stored.keys() & self.promises.refused.keys()
        unknown = stored.keys() - self.promises.sent
        for words, names in (("twice", twice), ("refused", unwanted), ("never sent", unknown)):
            if names:
                finding.others.append(f"{len(names)} are stored that were {words}")
        return finding


def read_names(path: Path) -> tuple[Counter[bytes], list[str]]:
    """How often each message is stored, and gaps in the sequences."""
    names: Counter[bytes] = Counter()
    faults: list[str] = []
    last: dict[int, int] = {}
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT channel_id, sequence, data FROM stan_messages ORDER BY channel_id, sequence"
        )
        for channel_id, sequence, data in rows:
            if sequence != last.get(channel_id, 0) + 1:
                faults.append(f"channel {channel_id}: {sequence} follows {last.get(channel_id)}")
            last[channel_id] = sequence
            names[bytes(data).partition(b".")[0]] += 1
    connection.close()
    return names, faults


async def try_cuts(durability: str, cuts: int, seed: int) -> list[Finding]:
    """Power cuts at this durability, on a disk and a server of their own."""
    nats = await asyncio.to_thread(NatsServer().start)
    try:
        with tempfile.TemporaryDirectory(prefix="stan-power-") as folder:
            trial = Trial(Path(folder), nats.url, durability, seed)
            with trial.disk:
                return await trial.cut(cuts)
    finally:
        await asyncio.to_thread(nats.stop)


async def try_faults(messages: int, seed: int) -> tuple[Finding, Promises, int, str]:
    """Faults of the disk at full durability: the finding, the promises, how many faults there
    were, and the server's log."""
    nats = await asyncio.to_thread(NatsServer().start)
    try:
        with tempfile.TemporaryDirectory(prefix="stan-power-") as folder:
            trial = Trial(Path(folder), nats.url, "full", seed)
            with trial.disk:
                finding, output = await trial.fail(messages)
                return finding, trial.promises, trial.disk.faults, output
    finally:
        await asyncio.to_thread(nats.stop)


async def run(cuts: int, messages: int, seed: int) -> int:
    """All of it; the exit code."""
    code = 0
    for durability in ("full", "normal", "off"):
        findings = await try_cuts(durability, cuts, seed)
        lost = sum(finding.lost > 0 for finding in findings)
        others = [other for finding in findings for other in finding.others]
        print(f"{durability}: {len(findings)} cuts, {lost} with losses", flush=True)
        for other in others[:10]:
            print(f"  {other}", flush=True)
        if durability == "full" and (lost or others):
            code = 1
        if durability != "full" and not lost:
            print("  no loss was seen where there must be some: this looks at nothing")
            code = 1
    finding, promises, faults, output = await try_faults(messages, seed)
    print(
        f"failing disk: {faults} faults, {len(promises.acked)} acked, "
        f"{len(promises.refused)} refused, {finding.lost} lost",
        flush=True,
    )
    for refusal, count in Counter(promises.refused.values()).items():
        print(f"  {count} refused with: {refusal}")
    for other in finding.others:
        print(f"  {other}")
    said = [line for line in output.splitlines() if "malformed" in line]
    for line in said:
        print(f"  a fault of the disk is called: {line}")
    malformed = any("malformed" in refusal for refusal in promises.refused.values())
    return 1 if code or finding.lost or finding.others or said or malformed else 0


def main(argv: list[str]) -> int:
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.pressure.power_loss")
    parser.add_argument("--cuts", type=int, default=30, help="power cuts at each durability")
    parser.add_argument("--messages", type=int, default=5000, help="answered by a failing disk")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args(argv)
    print(f"power loss, seed {options.seed}", flush=True)
    return asyncio.run(run(options.cuts, options.messages, options.seed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
