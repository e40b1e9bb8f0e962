"""A relay: rows of one database become messages of a server elsewhere, each once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine

import stan
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer, start_server
from tests.tools.streaming_server import StreamingServer

from .test_outbox import receive

__all__ = ["start_server"]


@pytest.fixture
async def tables(engine: AsyncEngine) -> AsyncEngine:
    """A database with the tables, made by the application."""
    mine = MetaData()
    stan.outbox_table(mine)
    stan.outbox_parked_table(mine)
    async with engine.begin() as db:
        await db.run_sync(mine.create_all)
    return engine


@pytest.fixture
def elsewhere(start_server: StartServer) -> StreamingServer:
    return start_server("-mc", "0")


@pytest.fixture
async def connection(
    elsewhere: StreamingServer, nats_server: NatsServer
) -> AsyncIterator[stan.Connection]:
    async with await stan.connect(
        elsewhere.cluster, "relay", servers=nats_server.url
    ) as connection:
        yield connection


async def write(engine: AsyncEngine, *rows: bytes, **options: Any) -> None:
    async with engine.begin() as db:
        for row in rows:
            await stan.outbox(db).publish("orders", row, **options)


async def count(engine: AsyncEngine, table: str = "stan_outbox") -> int:
    async with engine.connect() as db:
        return int(await db.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


async def test_rows_become_messages_in_order(
    tables: AsyncEngine, connection: stan.Connection
) -> None:
    await write(tables, *[b"%d" % number for number in range(20)])
    relay = stan.OutboxRelay(tables, connection, batch_rows=8)
    running = asyncio.create_task(relay.run())
    messages = await receive(connection, "orders", 20)
    assert [message.data for message in messages] == [b"%d" % number for number in range(20)]
    await write(tables, b"more")
    relay.wake()
    assert (await receive(connection, "orders", 21))[-1].data == b"more"
    for _ in range(2000):  # it is removed a moment later
        if relay.published == 21:
            break
        await asyncio.sleep(0.01)
    running.cancel()
    assert relay.published == 21
    assert await count(tables) == 0


class Amnesiac:
    """A connection that publishes, after which the relay dies."""

    def __init__(self, connection: stan.Connection) -> None:
        self._connection = connection
        self.published: list[Awaitable[Any]] = []

    async def publish_async(self, channel: str, data: bytes, *, msg_id: str = "") -> Awaitable[Any]:
        self.published.append(await self._connection.publish_async(channel, data, msg_id=msg_id))
        if len(self.published) == 3:
            await asyncio.gather(*self.published)
            raise RuntimeError("killed")
        return self.published[-1]


async def test_what_was_published_before_the_relay_died_is_not_stored_again(
    tables: AsyncEngine, connection: stan.Connection
) -> None:
    await write(tables, b"1", b"2")
    await write(tables, b"3", msg_id="three")
    await write(tables, b"4", b"again", msg_id="four")
    with pytest.raises(RuntimeError, match="killed"):
        await stan.OutboxRelay(tables, Amnesiac(connection)).relay_once()
    assert await count(tables) == 5
    relays = [stan.OutboxRelay(tables, connection) for _ in range(3)]
    await asyncio.gather(*[relay.relay_once() for relay in relays])
    await connection.publish("orders", b"end")
    messages = await receive(connection, "orders", 5)
    assert [message.data for message in messages] == [b"1", b"2", b"3", b"4", b"end"]
    assert await count(tables) == 0


async def test_a_row_that_cannot_be_published_is_parked(
    tables: AsyncEngine, connection: stan.Connection
) -> None:
    async with tables.begin() as db:
        for channel in ("orders", "a..b", "orders"):
            await db.execute(
                text("INSERT INTO stan_outbox (channel, data) VALUES (:c, :d)"),
                {"c": channel, "d": b"x"},
            )
    relay = stan.OutboxRelay(tables, connection)
    assert await relay.relay_once() == 3
    assert (relay.published, relay.parked) == (2, 1)
    assert len(await receive(connection, "orders", 2)) == 2
    async with tables.connect() as db:
        row = (await db.execute(text("SELECT channel, reason FROM stan_outbox_parked"))).one()
    assert tuple(row) == ("a..b", "stan: invalid publish request")
    assert await count(tables) == 0


async def test_text_as_sqlite_keeps_it_is_published(
    tables: AsyncEngine, connection: stan.Connection
) -> None:
    async with tables.begin() as db:
        await db.execute(
            text("INSERT INTO stan_outbox (channel, data) VALUES ('orders', 'as text')")
        )
    relay = stan.OutboxRelay(tables, connection)
    assert await relay.relay_once() == 1
    messages = await receive(connection, "orders", 1)
    assert [message.data for message in messages] == [b"as text"]


async def test_another_relay_takes_the_place_of_one_that_ended(
    tables: AsyncEngine, connection: stan.Connection
) -> None:
    relays = [stan.OutboxRelay(tables, connection) for _ in range(2)]
    running = [asyncio.create_task(relay.run()) for relay in relays]
    await write(tables, b"1")
    await receive(connection, "orders", 1)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    last = asyncio.create_task(stan.OutboxRelay(tables, connection).run())
    await write(tables, b"2")
    assert [one.data for one in await receive(connection, "orders", 2)] == [b"1", b"2"]
    last.cancel()
