"""One crash or fault test from its beginning to its end.

Publishers and subscribers connect once and stay; the server is killed and started again
under them, or something else befalls it. After each kill the auditor looks; at the end
everything must arrive, a polite stop must record all progress, and the auditor reads every
row once more.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import stan
from tests.crash.audit import Audit, is_record_of
from tests.crash.load import BURSTS, FLOOD, LARGE, SYNC, Publisher, Style
from tests.crash.readers import Reader
from tests.tools.crash_site import CrashSite

log = logging.getLogger("tests.crash")

Fault = Callable[[], Awaitable[None]]

PUB_ACK_WAIT_S = 1.0
END_TIMEOUT_S = 120.0
_TERMINATED = 143


@dataclass(frozen=True)
class Plan:
    """`kills` times SIGKILL, or another fault. `heavy` floods the server, so that kills meet
    large commits. With `lossy` a fault may lose what travels between server and clients."""

    kills: int
    heavy: bool = False
    seed: int = 1
    longest_run_s: float = 0.8
    early_share: float = 0.15
    """How many kills come while the server is still starting."""
    fault: Fault | None = None
    lossy: bool = False


@dataclass
class Report:
    """What happened; `faults` must be empty."""

    seed: int
    kills: int = 0
    kills_while_starting: int = 0
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown_stored: int = 0
    unknown_absent: int = 0
    stored: int = 0
    steps_back: int = 0
    delivered: int = 0
    redelivered: int = 0
    repeated_acked: int = 0
    oldest_repeated_ack_s: float = 0.0
    longest_start_s: float = 0.0
    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"{self.kills} kills ({self.kills_while_starting} while starting), "
            f"{self.took_s:.0f} s, longest start {self.longest_start_s:.2f} s, seed {self.seed}",
            f"sent {self.sent}: acknowledged {self.acknowledged}, refused {self.refused}, "
            f"fate unknown and stored {self.unknown_stored}, and not stored {self.unknown_absent}",
            f"stored {self.stored}, stepping back {self.steps_back} times; delivered "
            f"{self.delivered}, of them again {self.redelivered}; "
            f"already acked {self.repeated_acked}, "
            f"the oldest such ack {self.oldest_repeated_ack_s * 1000:.0f} ms before a kill",
            f"faults: {len(self.faults)}",
        ]
        return "\n".join(lines + [f"  {fault}" for fault in self.faults[:20]])


class Trial:
    """The parts of a crash test while it runs."""

    def __init__(self, site: CrashSite, plan: Plan, say: Callable[[str], None]) -> None:
        self.report = Report(plan.seed)
        self._site = site
        self._plan = plan
        self._say = say
        self._random = random.Random(plan.seed)
        self._audit = Audit()
        self._connections: list[stan.Connection] = []
        self._lost: list[str] = []
        self._alive = asyncio.Event()
        self._publishers: list[Publisher] = []
        self._readers: list[Reader] = []

    async def run(self) -> Report:
        """Do all of it."""
        began_s = time.monotonic()
        async with AsyncExitStack() as stack:
            await self._site.open()
            stack.push_async_callback(self._site.close)
            self._site.spawn()
            await self._site.ready()
            stack.push_async_callback(self._hang_up)
            await self._populate()
            await self._disturb()
            await self._finish()
        self.report.took_s = time.monotonic() - began_s
        self._sum_up()
        return self.report

    # Actors.

    async def _populate(self) -> None:
        for reader in _make_heavy_readers() if self._plan.heavy else _make_readers():
            reader.dice.seed(self._random.random())
            reader.lossless = not self._plan.lossy
            names = [f"{reader.name}-{index}" for index in range(reader.members)]
            await reader.subscribe([await self._connect(name) for name in names])
            self._readers.append(reader)
        styles = _HEAVY_STYLES if self._plan.heavy else _STYLES
        for index, (channel, style) in enumerate(styles):
            name = f"pub{index}"
            connection = await self._connect(name, style.window)
            seed = random.Random(self._random.random())
            self._publishers.append(Publisher(connection, channel, name, style, seed, self._alive))

    async def _connect(self, name: str, window: int = 1) -> stan.Connection:
        connection = await stan.connect(
            self._site.cluster,
            name,
            servers=self._site.nats.url,
            pub_ack_wait=PUB_ACK_WAIT_S,
            max_pub_acks_inflight=max(window, 1),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
            error_cb=_ignore,
            resumed_cb=self._count_return,
            connection_lost_cb=lambda _, error: self._lost.append(f"{name}: {error}"),
        )
        self._connections.append(connection)
        return connection

    def _count_return(self, connection: stan.Connection, report: stan.Resumed) -> None:
        log.info(
            "%s went on after %.1f s, %d sent again", connection, report.seconds, report.resent
        )
        for publisher in self._publishers:
            publisher.returns += publisher.connection is connection

    async def _hang_up(self) -> None:
        for connection in self._connections:
            if connection.nats is not None:
                await connection.nats.close()

    # Kills.

    async def _disturb(self) -> None:
        tasks = [asyncio.create_task(publisher.run()) for publisher in self._publishers]
        fault = self._plan.fault or self._kill_and_start
        try:
            for _ in range(self._plan.kills):
                await self._let_run()
                await fault()
                if self._audit.faults or self._lost:
                    break
            await self._let_run()
        finally:
            for publisher in self._publishers:
                publisher.stopping = True
            await asyncio.gather(*tasks)

    async def _kill_and_start(self) -> None:
        await self._kill()
        self._site.spawn()
        if self._random.random() < self._plan.early_share:
            await asyncio.sleep(self._random.uniform(0, 0.8))
            await self._kill(starting=True)
            self._site.spawn()
        started_s = time.monotonic()
        await self._site.ready()
        took_s = time.monotonic() - started_s
        self.report.longest_start_s = max(self.report.longest_start_s, took_s)
        for reader in self._readers:
            reader.ready = True

    async def _let_run(self) -> None:
        """Until something was acknowledged, and then a random while."""
        self._alive.clear()
        async with asyncio.timeout(END_TIMEOUT_S):
            await self._alive.wait()
        await asyncio.sleep(self._random.uniform(0, self._plan.longest_run_s))

    async def _kill(self, starting: bool = False) -> None:
        await self._site.kill()
        killed_s = asyncio.get_running_loop().time()
        self.report.kills += 1
        self.report.kills_while_starting += starting
        await self._flush()
        await self._inspect(killed_s)
        if self.report.kills % 10 == 0:
            self._say(f"{self.report.kills} kills, {sum(self._audit.last.values())} stored")

    async def hand_over(self) -> None:
        """Another server goes on from here, from a progress that nobody knows yet."""
        await self._flush()
        for reader in self._readers:
            reader.begin_run((0, frozenset()), asyncio.get_running_loop().time())

    async def _flush(self) -> None:
        for connection in self._connections:
            assert connection.nats is not None
            await connection.nats.flush()  # whatever the server had sent has arrived now

    async def _inspect(self, killed_s: float) -> None:
        progress = await self._audit.inspect(self._site, self._publishers, self._readers)
        for reader in self._readers:
            reader.begin_run(progress[reader.name], killed_s)

    # The end.

    async def _finish(self) -> None:
        """Everything arrives, a polite stop records it all, every row is read again."""
        if self._audit.faults:
            return
        channels = await self._site.read_channels()
        for reader in self._readers:
            _, _, last, _ = channels.get(reader.channel, (0, 1, 0, 0))
            try:
                async with asyncio.timeout(END_TIMEOUT_S):
                    await reader.wait_for(last)
                    await self._until_recorded(reader, last)
            except TimeoutError:
                missing = sorted(set(range(1, last + 1)) - set(reader.acked))
                self._audit.faults.append(
                    f"{reader.name}: {len(missing)} of {last} never arrived, {missing[:10]}, "
                    f"or were acked and are in flight for ever"
                )
        faults = list(self._lost)
        code = await self._site.terminate()
        if code != _TERMINATED:
            self._audit.faults.append(f"exit code {code} after SIGTERM:\n{self._site.output}")
        await self._site.data.settled()
        await self._inspect(asyncio.get_running_loop().time())
        for reader in self._readers:
            last_sent, in_flight = reader.progress
            if in_flight or last_sent != self._audit.last[reader.channel]:
                self._audit.faults.append(
                    f"{reader.name}: a polite stop left {sorted(in_flight)[:10]} in flight "
                    f"and the position at {last_sent}"
                )
        await self._audit.reread(self._site)
        self._audit.faults += faults

    async def _until_recorded(self, reader: Reader, last: int) -> None:
        """Until the store knows that the reader is done, lost acks and all."""
        while True:
            stored = await self._site.read_subscriptions()
            records = [record for record in stored if is_record_of(record, reader)]
            if max(record.last_sent for record in records) == last and not any(
                record.in_flight for record in records
            ):
                return
            await asyncio.sleep(0.05)  # a database does not call

    def _sum_up(self) -> None:
        report = self.report
        for publisher in self._publishers:
            report.sent += publisher.sent
            report.acknowledged += publisher.stored
            report.refused += len(publisher.refused)
        report.stored = len(self._audit.places)
        report.steps_back = self._audit.steps_back
        known = report.acknowledged + report.refused
        report.unknown_stored = report.stored - report.acknowledged
        report.unknown_absent = report.sent - known - report.unknown_stored
        for reader in self._readers:
            report.delivered += len(reader.digests) + reader.redelivered
            report.redelivered += reader.redelivered
            report.repeated_acked += reader.repeated_acked
            report.oldest_repeated_ack_s = max(
                report.oldest_repeated_ack_s, reader.oldest_repeated_ack_s
            )
            report.faults += reader.faults
        report.faults += self._audit.faults


async def endure(site: CrashSite, plan: Plan) -> None:
    """Run a trial, and assert that every promise held."""
    report = await Trial(site, plan, lambda line: None).run()
    print(report)
    assert report.faults == [], str(report)
    assert report.acknowledged > 0


async def _ignore(_: Exception) -> None:
    """A NATS connection that comes and goes is what is tested, not worth a line."""


_STYLES: tuple[tuple[str, Style], ...] = (
    ("orders", SYNC),
    ("orders", BURSTS),
    ("events", SYNC),
    ("events", BURSTS),
    ("blobs", LARGE),
    ("blobs", SYNC),
)
_HEAVY_STYLES: tuple[tuple[str, Style], ...] = (
    ("orders", FLOOD),
    ("orders", FLOOD),
    ("events", FLOOD),
    ("events", SYNC),
)


def _make_readers() -> list[Reader]:
    return [
        Reader("auto", "orders", durable="auto"),
        Reader("manual", "orders", durable="m", manual_acks=True, forget_share=0.03),
        Reader("team", "orders", durable="t", queue="team", members=3),
        Reader("plain", "events"),
        Reader("crew", "events", queue="crew", members=2, manual_acks=True, forget_share=0.03),
        Reader("narrow", "blobs", durable="n", max_in_flight=1),
        Reader("wide", "blobs", durable="w", manual_acks=True, max_in_flight=1024, ack_wait_s=2),
    ]


def _make_heavy_readers() -> list[Reader]:
    return [Reader("auto", "orders", durable="auto", max_in_flight=1024)]
