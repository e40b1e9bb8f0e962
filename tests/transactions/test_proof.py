"""Exactly once while everything dies: fifty transactions at a time, servers that are killed.

Applications commit in any order, late, or roll back; the active server is killed again and again
and another one takes over. Then the channel holds each committed row once and nothing else, and a
reader that was there all the time saw no gap.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import stan
from tests.failover.group import Group, Member
from tests.tools.processes import NatsServer

from .conftest import Home

WRITERS = 50
TRANSACTIONS = 6
KILLS = 3
FLAGS = ("-mc", "0", "-ft_lease", "1s")


@pytest.fixture
async def group(home: Home, tmp_path: Path, nats_server: NatsServer) -> AsyncIterator[Group]:
    group = Group(home.source, tmp_path, nats_server)
    yield group
    await group.close()


class Applications:
    """What they wrote and committed, in the order of each."""

    def __init__(self, engine: AsyncEngine, is_file: bool) -> None:
        self.committed: dict[int, list[bytes]] = {writer: [] for writer in range(WRITERS)}
        self.rolled_back = 0
        self._engine = engine
        # A file has one writer at a time: long transactions there are ones that read for long.
        self._longest_s = 0.02 if is_file else 0.4

    async def run(self) -> None:
        await asyncio.gather(*[self._write(writer) for writer in range(WRITERS)])

    async def _write(self, writer: int) -> None:
        rng = Random(f"writer {writer}")
        for number in range(TRANSACTIONS):
            await asyncio.sleep(rng.random() * 0.8)
            rows = [b"%d-%d-%d" % (writer, number, row) for row in range(rng.randrange(1, 5))]
            async with self._engine.connect() as db:
                for row in rows:
                    await stan.outbox(db).publish("orders", row)
                    await asyncio.sleep(rng.random() ** 3 * self._longest_s)
                if rng.random() < 0.25:
                    await db.rollback()
                    self.rolled_back += len(rows)
                else:
                    await db.commit()
                    self.committed[writer] += rows


async def read_all(subscription: stan.Subscription, received: list[stan.Message]) -> None:
    async for message in subscription:
        received.append(message)


async def disturb(group: Group, active: Member, standby: Member) -> None:
    """Kill whoever serves; another one takes over and a third stands by."""
    for _ in range(KILLS):
        await asyncio.sleep(0.7)
        await active.kill()
        await standby.leads()
        active, standby = standby, group.spawn(*FLAGS)
        await standby.stands_by()


async def test_every_committed_row_is_exactly_one_message(
    home: Home, group: Group, nats_server: NatsServer
) -> None:
    active, standby = await group.pair(*FLAGS)
    engine = home.engine(pool_size=WRITERS, max_overflow=0)
    applications = Applications(engine, home.kind == "sqlite")
    received: list[stan.Message] = []
    async with await stan.connect(group.cluster, "reader", servers=nats_server.url) as reader:
        subscription = await reader.subscribe("orders", start_at="first")
        reading = asyncio.create_task(read_all(subscription, received))
        async with asyncio.timeout(120):
            await asyncio.gather(applications.run(), disturb(group, active, standby))
        expected = [row for rows in applications.committed.values() for row in rows]
        await reader.publish("orders", b"the end")
        async with asyncio.timeout(30):
            await until_moved(engine, received, len(expected) + 1)
        reading.cancel()
    first = {message.sequence: message.data for message in received}
    assert sorted(first) == list(range(1, len(expected) + 2))
    messages = [first[sequence] for sequence in sorted(first) if first[sequence] != b"the end"]
    assert sorted(messages) == sorted(expected)
    for writer, rows in applications.committed.items():
        assert [one for one in messages if one.startswith(b"%d-" % writer)] == rows
    assert applications.rolled_back > 0
    assert await count(engine, "stan_messages") == len(expected) + 1
    assert await count(engine, "stan_outbox_parked") == 0
    last = 0  # a new leader may send again what the last one had sent, but leaves nothing out
    for message in received:
        assert message.sequence <= last + 1
        last = max(last, message.sequence)
    await engine.dispose()


async def until_moved(engine: AsyncEngine, received: list[stan.Message], messages: int) -> None:
    """Nothing waits in the table, and the reader has seen so many messages."""
    while (  # noqa: ASYNC110
        await count(engine, "stan_outbox") or not seen_all(received, messages)
    ):
        await asyncio.sleep(0.05)


def seen_all(received: list[stan.Message], count: int) -> bool:
    return len({message.sequence for message in received}) >= count


async def count(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as db:
        return int(await db.scalar(text(f"SELECT count(*) FROM {table}")) or 0)
