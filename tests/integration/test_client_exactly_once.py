"""Exactly once: what our client publishes while our server is killed and started again.

The server answers how long it recognises what is sent again, so by default nothing that was
published is stored twice, and nothing that was acknowledged is lost.
"""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

import stan
from tests.integration.conftest import fresh_name
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer
from tests.tools.streaming_server import StreamingServer, implementation_under_test

LONG_S = 20
KILLS = 3

pytestmark = pytest.mark.skipif(
    "SQL" not in implementation_under_test().stores, reason="needs a server that recognises"
)


@pytest.fixture
async def sql_server(start_server: StartServer) -> StreamingServer:
    return start_server(store="SQL")


@pytest.fixture
async def sc(
    sql_server: StreamingServer, nats_server: NatsServer
) -> AsyncIterator[stan.Connection]:
    async with stan.connect(sql_server.cluster, "me", servers=nats_server.url) as connection:
        yield connection


async def read_all(sc: stan.Connection, channel: str = "foo") -> list[bytes]:
    """What a fresh subscription is given, and one more message that ends it."""
    await sc.publish(channel, b"end")
    async with asyncio.timeout(LONG_S):
        sub = await sc.subscribe(channel, start_at="first")
        data: list[bytes] = []
        async for message in sub:
            if message.data == b"end":
                break
            data.append(message.data)
        await sub.close()
    return data


def count_rows(directory: Path, server: StreamingServer) -> int:
    """How many messages the database itself holds, once nothing writes any more."""
    server.stop()
    with closing(sqlite3.connect(directory / "stan.db")) as database:
        [(count,)] = database.execute("SELECT count(*) FROM stan_messages")
    return int(count)


async def test_awaited_publishes_are_stored_once_while_the_server_is_killed(
    sql_server: StreamingServer, sc: stan.Connection
) -> None:
    acked: list[bytes] = []
    grew = asyncio.Event()

    async def publish() -> None:
        for number in itertools.count():
            await sc.publish("foo", b"%d" % number)
            acked.append(b"%d" % number)
            grew.set()
            if is_over:
                return

    is_over = False
    publishing = asyncio.create_task(publish())
    async with asyncio.timeout(LONG_S):
        for _ in range(KILLS):
            wanted = len(acked) + 30
            while len(acked) < wanted:
                grew.clear()
                await grew.wait()
            sql_server.kill()
            sql_server.start()
        is_over = True
        await publishing
    assert len(acked) > 30 * KILLS
    assert await read_all(sc) == acked


async def test_a_window_of_publishes_is_stored_once_while_the_server_is_killed(
    sql_server: StreamingServer, sc: stan.Connection, tmp_path: Path
) -> None:
    receipts: list[stan.Receipt] = []
    async with asyncio.timeout(LONG_S):
        for _ in range(KILLS):
            start = len(receipts)
            receipts += [
                await sc.publish_async("foo", b"%d" % number)
                for number in range(start, start + 500)
            ]
            await receipts[start + 20]  # the others are on their way
            sql_server.kill()
            sql_server.start()
        guids = [await receipt for receipt in receipts]
    assert len(set(guids)) == len(receipts)
    # In any order: what left before anybody noticed a kill comes behind what left after it.
    data = sorted(await read_all(sc), key=int)
    assert data == [b"%d" % number for number in range(len(receipts))]
    await sc.close()
    assert count_rows(tmp_path, sql_server) == len(receipts) + 1


async def test_a_message_id_counts_once_for_all_connections_and_across_a_kill(
    sql_server: StreamingServer, sc: stan.Connection, nats_server: NatsServer
) -> None:
    async with (
        asyncio.timeout(LONG_S),
        stan.connect(sql_server.cluster, fresh_name("other"), servers=nats_server.url) as other,
    ):
        first = await sc.publish_async("foo", b"x", msg_id="order 1")
        await first
        second = await other.publish_async("foo", b"x", msg_id="order 1")
        await second
        sql_server.kill()
        sql_server.start()
        third = await other.publish_async("foo", b"x", msg_id="order 1")
        await third
        assert await other.publish("foo", b"y", msg_id="order 2")
    assert [one.duplicate for one in (first, second, third)] == [False, True, True]
    assert len({first.guid, second.guid, third.guid}) == 3
    assert await read_all(sc) == [b"x", b"y"]


async def test_a_publish_that_was_stored_before_looks_like_any_other(
    sql_server: StreamingServer, sc: stan.Connection
) -> None:
    told: list[tuple[str, Exception | None]] = []
    await sc.publish("foo", b"x", msg_id="1")
    async with asyncio.timeout(LONG_S):
        again = await sc.publish_async(
            "foo", b"x", msg_id="1", callback=lambda guid, error: told.append((guid, error))
        )
        guid = await again
    assert told == [(guid, None)]
    assert again.error is None
    assert await read_all(sc) == [b"x"]


async def test_a_memory_server_that_is_started_again_goes_on(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    async with (
        asyncio.timeout(LONG_S),
        stan.connect(server.cluster, "me", servers=nats_server.url) as sc,
    ):
        before = [await sc.publish_async("foo", b"old %d" % number) for number in range(20)]
        await before[-1]
        server.kill()
        held = [await sc.publish_async("foo", b"new %d" % number) for number in range(20)]
        server.start()
        for receipt in held:
            await receipt
        assert await read_all(sc) == [b"new %d" % number for number in range(20)]
