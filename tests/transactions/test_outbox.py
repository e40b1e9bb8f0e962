"""An outbox: what is written into a transaction is published with it, or never."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

import stan
from stan.store.sql.tables import metadata
from tests.tools.processes import NatsServer

from .conftest import Home, Serve


async def receive(connection: stan.Connection, channel: str, count: int) -> list[stan.Message]:
    """The first messages of a channel."""
    subscription = await connection.subscribe(channel, start_at="first")
    async with asyncio.timeout(20):
        messages = [await anext(subscription) for _ in range(count)]
    await subscription.unsubscribe()
    return messages


async def test_sessions_and_connections_that_are_awaited(
    home: Home, engine: AsyncEngine, serve: Serve, nats_server: NatsServer
) -> None:
    server = serve(home)
    async with AsyncSession(engine) as db, db.begin():
        await stan.outbox(db).publish("orders", b"1", msg_id="one")
        await stan.outbox(db).publish("orders", b"2")
    async with engine.begin() as db_connection:
        await stan.outbox(db_connection).publish("orders", bytearray(b"3"))
        await stan.outbox(db_connection).publish("orders", b"again", msg_id="one")
    async with AsyncSession(engine) as db:
        await stan.outbox(db).publish("orders", b"never")
        await db.rollback()
    async with AsyncSession(engine) as db, db.begin():
        await stan.outbox(db).publish("orders", b"4")
    async with await stan.connect(server.cluster, "reader", servers=nats_server.url) as reader:
        messages = await receive(reader, "orders", 4)
    assert [message.data for message in messages] == [b"1", b"2", b"3", b"4"]
    assert [message.sequence for message in messages] == [1, 2, 3, 4]
    async with engine.connect() as db_connection:
        assert await db_connection.scalar(text("SELECT count(*) FROM stan_outbox")) == 0


async def test_sessions_that_are_not_awaited(
    tmp_path: Any, serve: Serve, nats_server: NatsServer
) -> None:
    home = Home("sqlite", str(tmp_path / "shared.db"))
    server = serve(home)
    engine = create_engine(f"sqlite:///{home.source}")
    with Session(engine) as db, db.begin():
        stan.outbox(db).publish("orders", b"1")
    with engine.begin() as db_connection:
        stan.outbox(db_connection).publish("orders", memoryview(b"2"))
    engine.dispose()
    async with await stan.connect(server.cluster, "reader", servers=nats_server.url) as reader:
        messages = await receive(reader, "orders", 2)
    assert [message.data for message in messages] == [b"1", b"2"]


async def test_a_server_that_is_told_not_to_look_does_not(
    tmp_path: Any, serve: Serve, nats_server: NatsServer
) -> None:
    home = Home("sqlite", str(tmp_path / "shared.db"))
    server = serve(home, "--sql_outbox=false")
    engine = home.engine()
    async with engine.begin() as db:
        await stan.outbox(db).publish("orders", b"waits")
    async with await stan.connect(server.cluster, "reader", servers=nats_server.url) as reader:
        await reader.publish("orders", b"published")
        [message] = await receive(reader, "orders", 1)
    assert message.data == b"published"
    async with engine.connect() as db:
        assert await db.scalar(text("SELECT count(*) FROM stan_outbox")) == 1
    await engine.dispose()


class Recorder:
    """Stands where a connection would."""

    dialect = None

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def execute(self, statement: object, row: object) -> None:
        self.rows.append(row)


@pytest.mark.parametrize(
    ("channel", "data", "options", "error", "words"),
    [
        ("a..b", b"", {}, stan.PublishError, "'a..b' is no valid channel name"),
        ("", b"", {}, stan.PublishError, "no valid channel name"),
        ("a b", b"", {}, stan.PublishError, "no valid channel name"),
        ("a.*", b"", {}, stan.PublishError, "no valid channel name"),
        ("x" * 2000, b"", {}, stan.PublishError, "no valid channel name"),
        ("\udc80", b"", {}, stan.ConfigError, "a channel is not valid text"),
        (7, b"", {}, stan.ConfigError, "a channel is text, not int"),
        ("a", "text", {}, stan.ConfigError, "data must be bytes, not str"),
        ("a", b"", {"msg_id": 7}, stan.ConfigError, "msg_id is text, not int"),
        ("a", b"", {"msg_id": "x" * 70_000}, stan.ConfigError, "msg_id is too long"),
        ("a", b"", {"reply": "a\0"}, stan.ConfigError, "reply holds a NUL"),
        ("a", bytes(1 << 20), {}, stan.PayloadTooLargeError, "has 1048576 bytes"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(
    channel: Any, data: Any, options: Any, error: type[Exception], words: str
) -> None:
    db: Any = Recorder()
    with pytest.raises(error, match=words):
        stan.outbox(db).publish(channel, data, **options)
    assert db.rows == []


def test_only_sessions_and_connections_have_an_outbox() -> None:
    for nothing in (None, 7, "db"):
        with pytest.raises(stan.ConfigError, match="needs a SQLAlchemy session or connection"):
            stan.outbox(nothing)  # type: ignore[call-overload]


def test_the_tables_are_those_of_the_server() -> None:
    mine = MetaData()
    tables = (stan.outbox_table(mine), stan.outbox_parked_table(mine))
    assert stan.outbox_table(mine) is tables[0]
    for table in tables:
        theirs = metadata.tables[table.name]
        assert [
            (column.name, repr(column.type), column.nullable, column.primary_key)
            for column in table.columns
        ] == [
            (column.name, repr(column.type), column.nullable, column.primary_key)
            for column in theirs.columns
        ]


async def test_the_tables_can_be_made_by_an_application(home: Home, engine: AsyncEngine) -> None:
    mine = MetaData()
    stan.outbox_table(mine)
    stan.outbox_parked_table(mine)
    async with engine.begin() as db:
        await db.run_sync(mine.create_all)
        await stan.outbox(db).publish("orders", b"x")
    async with engine.connect() as db:
        row = (await db.execute(text("SELECT id, created_at FROM stan_outbox"))).one()
    assert row[0] == 1
    assert row[1] is not None
