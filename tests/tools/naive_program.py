"""A program as people write it first: it publishes and receives, without a retry, a reconnect
or an except, on default options. Around it, a diary of what it lived through.

Nothing is judged here. Invariant: an error of any part of the program leaves `run_program`.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import stan

PUBLISHERS = 4
PACE_S = 0.005
PATIENCE_S = 30.0
SUBSCRIPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "durable": {"durable": "mine"},
    "group": {"queue": "team"},
    "durable group": {"queue": "crew", "durable": "ours"},
}


@dataclass
class Diary:
    """When which number was begun, acknowledged and received."""

    begun: dict[bytes, float] = field(default_factory=dict)
    acked: dict[bytes, float] = field(default_factory=dict)
    received: dict[str, list[tuple[bytes, float]]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds of what was written. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def acked_since(self, moment_s: float) -> set[bytes]:
        """What was begun after a moment and is acknowledged."""
        return {data for data in self.acked if self.begun[data] >= moment_s}

    def missing(self, wanted: set[bytes]) -> dict[str, set[bytes]]:
        """By subscription, what of this did not arrive."""
        missing = {
            name: wanted - {data for data, _ in received}
            for name, received in self.received.items()
        }
        return {name: some for name, some in missing.items() if some}

    async def goes_on(self, more: int = 40) -> None:
        """Wait until so many publishes begun from now on are acknowledged, and everybody
        received them all."""
        now_s = time.monotonic()
        await self.until(lambda: len(self.acked_since(now_s)) >= more)
        wanted = self.acked_since(now_s)
        await self.until(lambda: not self.missing(wanted))

    def publishing_pause_s(self, from_s: float) -> float:
        """The longest time between two acks from a moment on."""
        return _longest_pause_s(self.acked.values(), from_s)

    def receiving_pause_s(self, from_s: float, subscription: str = "durable") -> float:
        """The longest time between two messages of a subscription from a moment on."""
        return _longest_pause_s((when for _, when in self.received[subscription]), from_s)


class Program:
    """The program, and its diary."""

    def __init__(self, connection: stan.Connection, channel: str) -> None:
        self.diary = Diary()
        self.connection = connection
        self.channel = channel
        self.stopping = False
        self._numbers = itertools.count()

    async def publish(self) -> None:
        """One of several that publish at the same time."""
        diary = self.diary
        while not self.stopping:
            data = b"%d" % next(self._numbers)
            diary.begun[data] = time.monotonic()
            await self.connection.publish(self.channel, data)
            diary.acked[data] = time.monotonic()
            diary.changed.set()
            await asyncio.sleep(PACE_S)

    async def receive(self, name: str) -> None:
        """One of several subscriptions."""
        received = self.diary.received.setdefault(name, [])
        options = SUBSCRIPTIONS[name]
        sub = await self.connection.subscribe(self.channel, start_at="first", **options)
        async for msg in sub:
            received.append((msg.data, time.monotonic()))
            self.diary.changed.set()


@asynccontextmanager
async def run_program(
    cluster: str, client_id: str, servers: str | list[str], channel: str = "orders"
) -> AsyncIterator[Program]:
    """Run it; at the end every publish is answered, all is received, all is closed."""
    async with (
        stan.connect(cluster, client_id, servers=servers) as connection,
        asyncio.TaskGroup() as group,
    ):
        program = Program(connection, channel)
        receiving = [group.create_task(program.receive(name)) for name in SUBSCRIPTIONS]
        publishing = [group.create_task(program.publish()) for _ in range(PUBLISHERS)]
        await program.diary.goes_on()
        yield program
        program.stopping = True
        await asyncio.gather(*publishing)
        for task in receiving:
            task.cancel()


async def read_back(
    cluster: str, servers: str | list[str], channel: str, count: int
) -> list[bytes]:
    """What a fresh subscription finds in a channel, if that is at least so many messages."""
    async with stan.connect(cluster, "auditor", servers=servers) as connection:
        sub = await connection.subscribe(channel, start_at="first")
        found = [(await sub.next_msg(PATIENCE_S)).data for _ in range(count)]
        return found + [message.data for message in await sub.fetch(1 << 20, 0.3)]


def _longest_pause_s(moments: Any, from_s: float) -> float:
    known = sorted(moments)
    pairs = itertools.pairwise(known)
    return max((after - before for before, after in pairs if after >= from_s), default=0.0)
