"""An inbox: what a message causes happens once, whatever comes again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

import stan
from stan.transactions.inbox import Inbox, name_consumer
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer, start_server
from tests.tools.streaming_server import StreamingServer

__all__ = ["start_server"]
MINE = MetaData()
INBOX = stan.inbox_table(MINE)
INVOICES = Table(
    "invoices",
    MINE,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("body", LargeBinary, nullable=False),
)
Sessions = async_sessionmaker[Any]


@pytest.fixture
async def sessions(engine: AsyncEngine) -> Sessions:
    async with engine.begin() as db:
        await db.run_sync(MINE.create_all)
    return async_sessionmaker(engine)


@pytest.fixture
def server(start_server: StartServer) -> StreamingServer:
    return start_server("-mc", "0", "-mi", "0", "--test_timers")


@pytest.fixture
async def connection(
    server: StreamingServer, nats_server: NatsServer
) -> AsyncIterator[stan.Connection]:
    async with await stan.connect(server.cluster, "billing", servers=nats_server.url) as one:
        yield one


async def invoices(sessions: Sessions) -> list[bytes]:
    async with sessions() as db:
        rows = await db.execute(select(INVOICES.c.body).order_by(INVOICES.c.id))
        return [bytes(row[0]) for row in rows]


async def bill(db: Any, message: stan.Message) -> None:
    await db.execute(INVOICES.insert(), {"body": message.data})


async def take(subscription: stan.Subscription, sessions: Sessions, count: int) -> list[bytes]:
    """Bill so many messages; all are committed when this returns."""
    taken: list[bytes] = []
    transactions = subscription.transactions(sessions)
    async with asyncio.timeout(30):
        async for message, db in transactions:
            await bill(db, message)
            await db.commit()
            taken.append(message.data)
            if len(taken) == count:
                break
    await transactions.aclose()  # type: ignore[attr-defined]
    return taken


async def test_the_effect_and_the_mark_are_one(
    connection: stan.Connection, sessions: Sessions
) -> None:
    for number in range(5):
        await connection.publish("orders", b"%d" % number)
    subscription = await connection.subscribe("orders", durable="d", start_at="first")
    seen = []
    async with asyncio.timeout(30):
        async for message, db in subscription.transactions(sessions):
            await bill(db, message)
            seen.append(message.data)
            if message.sequence == 5:
                await connection.publish("orders", b"end")
            if message.data == b"end":
                break
    assert seen == [b"0", b"1", b"2", b"3", b"4", b"end"]
    assert await invoices(sessions) == [b"0", b"1", b"2", b"3", b"4"]  # the last was broken off
    async with sessions() as db:
        assert await db.scalar(select(func.count()).select_from(INBOX)) == 5


async def test_a_body_that_raises_is_rolled_back_and_comes_again(
    connection: stan.Connection, sessions: Sessions
) -> None:
    for number in range(3):
        await connection.publish("orders", b"%d" % number)
    subscription = await connection.subscribe("orders", durable="d", start_at="first", ack_wait=1)

    async def fail() -> None:
        async for message, db in subscription.transactions(sessions):
            await bill(db, message)
            raise RuntimeError("no paper")

    with pytest.raises(RuntimeError, match="no paper"):
        await fail()
    assert await invoices(sessions) == []
    assert sorted(await take(subscription, sessions, 3)) == [b"0", b"1", b"2"]
    assert sorted(await invoices(sessions)) == [b"0", b"1", b"2"]


async def test_what_was_committed_and_not_acknowledged_is_not_handed_out(
    server: StreamingServer, nats_server: NatsServer, sessions: Sessions
) -> None:
    url, cluster = nats_server.url, server.cluster
    async with await stan.connect(cluster, "billing", servers=url) as first:
        for number in range(3):
            await first.publish("orders", b"%d" % number)
        subscription = await first.subscribe("orders", durable="d", start_at="first")
        await take(subscription, sessions, 2)  # the second is committed by hand, and not acked
    async with await stan.connect(cluster, "billing", servers=url) as again:
        subscription = await again.subscribe("orders", durable="d")
        assert await take(subscription, sessions, 1) == [b"2"]
    assert await invoices(sessions) == [b"0", b"1", b"2"]


async def test_a_group_does_each_message_once(
    server: StreamingServer, nats_server: NatsServer, sessions: Sessions
) -> None:
    """Messages come to another member while the first still works on them."""
    url, cluster, total = nats_server.url, server.cluster, 12
    done = asyncio.Event()

    async def work(member: str) -> None:
        async with await stan.connect(cluster, member, servers=url) as one:
            options: dict[str, Any] = {"queue": "g", "durable": "d", "start_at": "first"}
            subscription = await one.subscribe("orders", ack_wait=1, max_in_flight=3, **options)
            async for message, db in subscription.transactions(sessions):
                await bill(db, message)
                if message.sequence == 2 and not message.redelivered:
                    await asyncio.sleep(1.5)  # longer than the server waits
                async with sessions() as other:
                    count = await other.scalar(select(func.count()).select_from(INVOICES))
                if count == total - 1:
                    done.set()

    async with await stan.connect(cluster, "shop", servers=url) as shop:
        for number in range(total):
            await shop.publish("orders", b"%02d" % number)
    workers = [asyncio.create_task(work(member)) for member in ("a", "b")]
    async with asyncio.timeout(60):
        while len(await invoices(sessions)) < total:
            await asyncio.wait(workers, timeout=0.2)
            for worker in workers:
                if worker.done():
                    worker.result()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(await invoices(sessions)) == [b"%02d" % number for number in range(total)]


class Old:
    """A message of a channel."""

    def __init__(self, sequence: int, timestamp: int) -> None:
        self.sequence, self.timestamp = sequence, timestamp


async def test_a_channel_that_was_begun_anew_is_another_one(sessions: Sessions) -> None:
    inbox = Inbox(sessions, name_consumer("c", "me", "orders", "d", ""))
    other = Inbox(sessions, name_consumer("c", "you", "orders", "d", ""))
    for box, message, expected in (
        (inbox, Old(1, 1000), True),
        (inbox, Old(1, 1000), False),
        (inbox, Old(1, 2000), True),
        (other, Old(1, 1000), True),
    ):
        async with sessions() as db:
            assert await box.enter(db, message) is expected
            await db.commit()


async def test_what_was_done_long_ago_is_forgotten(sessions: Sessions) -> None:
    inbox = Inbox(sessions, "me", keep_s=0.001)
    async with sessions() as db:
        await inbox.enter(db, Old(1, 1000))
        await db.execute(text("UPDATE stan_inbox SET done_ms = 1"))
        await db.commit()
    await asyncio.sleep(0.01)
    await inbox.prune()
    async with sessions() as db:
        assert await db.scalar(select(func.count()).select_from(INBOX)) == 0
    with pytest.raises(stan.ConfigError, match="keep_s"):
        Inbox(sessions, "me", keep_s=0)
