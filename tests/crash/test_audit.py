"""The auditor itself: whatever is wrong on purpose, it finds."""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from stan.engine.records import ServerRecord
from stan.store.open import open_store
from stan.store.settings import StoreSettings
from tests.crash.audit import Audit
from tests.crash.load import SYNC, Publisher, make_payload
from tests.crash.readers import Reader
from tests.tools.crash_site import CrashSite, SqliteData

COUNT = 5
_CHANNEL = "INSERT INTO stan_channels VALUES (1, 'orders', 0, 1, ?, 0, 999, 1, 1, ?, 1, NULL)"
_MESSAGE = "INSERT INTO stan_messages VALUES (1, ?, 1, 0, NULL, ?)"
_OTHER = "CAST('pub 2 2000 x' AS BLOB)"
_SUBSCRIPTION = (
    "INSERT INTO stan_subscriptions "
    "VALUES (1, 1, 'auto-0', 'i', 'a', 64, 1, 'd', '', 1, 0, ?, '4-5')"
)


def a_publisher() -> Publisher:
    """It was told that everything it sent is stored."""
    publisher = Publisher(
        None,  # type: ignore[arg-type]
        *("orders", "pub", SYNC, random.Random(), asyncio.Event()),
    )
    publisher.sent = COUNT
    publisher.fresh = set(range(1, COUNT + 1))
    return publisher


def a_reader() -> Reader:
    """It got everything and acked the first three."""
    reader = Reader("auto", "orders", durable="d")
    for sequence in range(1, COUNT + 1):
        reader.digests[sequence] = hash(make_payload("pub", sequence, SYNC.largest_bytes))
        reader.fresh.add(sequence)
    reader.acked = dict.fromkeys((1, 2, 3), (0, 0.0))
    return reader


@pytest.fixture
async def site(tmp_path: Path) -> CrashSite:
    """A database with five messages and a durable that has two of them in flight."""
    data = SqliteData(tmp_path)
    store = open_store("SQL", StoreSettings(sql_source=data.source))
    await store.open()
    await store.initialize(ServerRecord("crash", "_INBOX.crash"))
    await store.close()
    with sqlite3.connect(data.source) as connection:
        connection.execute(_CHANNEL, (COUNT, COUNT))
        for number in range(1, COUNT + 1):
            payload = make_payload("pub", number, SYNC.largest_bytes)
            connection.execute(_MESSAGE, (number, payload))
        connection.execute(_SUBSCRIPTION, (COUNT,))
    connection.close()
    return CrashSite(data)


async def find_faults(
    site: CrashSite, publisher: Publisher | None = None, reader: Reader | None = None
) -> str:
    audit = Audit()
    await audit.inspect(site, [publisher or a_publisher()], [reader or a_reader()])
    return "\n".join(audit.faults)


def tamper(site: CrashSite, sql: str, *parameters: object) -> None:
    with sqlite3.connect(site.data.source) as connection:
        assert connection.execute(sql, parameters).rowcount > 0
    connection.close()


async def test_nothing_wrong_is_nothing_found(site: CrashSite) -> None:
    assert await find_faults(site) == ""


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DELETE FROM stan_messages WHERE sequence=5", "pub 5 was acknowledged and is at None"),
        ("DELETE FROM stan_messages WHERE sequence=2", "3 follows 1"),
        ("UPDATE stan_messages SET sequence=9 WHERE sequence=5", "9 follows 4"),
        (f"UPDATE stan_messages SET data={_OTHER} WHERE sequence=2", "was changed"),
        ("UPDATE stan_channels SET last_sequence=4", "bounds end at 4, the rows at 5"),
        ("UPDATE stan_channels SET count=4", "bounds 1-5 4"),
        ("UPDATE stan_subscriptions SET in_flight='5'", "4 counts as acked and never was"),
        ("DELETE FROM stan_subscriptions", "has 0 records"),
    ],
)
async def test_a_database_that_lies_is_found_out(site: CrashSite, sql: str, found: str) -> None:
    tamper(site, sql)
    assert found in await find_faults(site)


async def test_a_message_stored_twice_is_found(site: CrashSite) -> None:
    again = make_payload("pub", 2, SYNC.largest_bytes)
    tamper(site, _MESSAGE, COUNT + 1, again)
    tamper(site, "UPDATE stan_channels SET last_sequence=6, count=6")
    assert "is stored at ('orders', 2) and at 6" in await find_faults(site)


@pytest.mark.parametrize(
    ("returns", "found"), [(0, "orders 3: ('pub', 2) is stored behind 3"), (1, "")]
)
async def test_only_what_is_sent_again_may_be_stored_behind_what_came_later(
    site: CrashSite, returns: int, found: str
) -> None:
    publisher, reader = a_publisher(), a_reader()
    publisher.returns = returns
    for sequence, number in ((2, 3), (3, 2)):
        payload = make_payload("pub", number, SYNC.largest_bytes)
        tamper(site, "UPDATE stan_messages SET data=? WHERE sequence=?", payload, sequence)
        reader.digests[sequence] = hash(payload)
    assert await find_faults(site, publisher, reader) == found
    assert publisher.returns == 0


async def test_a_refused_message_that_is_stored_is_found(site: CrashSite) -> None:
    publisher = a_publisher()
    publisher.fresh.remove(2)
    publisher.refused[2] = "no"
    assert "pub 2 is stored and was refused: no" in await find_faults(site, publisher)


async def test_a_delivery_of_what_is_not_stored_is_found(site: CrashSite) -> None:
    reader = a_reader()
    reader.digests[6] = 1
    reader.fresh.add(6)
    assert "got 6, which is not stored so" in await find_faults(site, reader=reader)


class Arrival:
    """What a reader looks at in a message."""

    def __init__(self, sequence: int, redelivered: bool = False) -> None:
        self.sequence = sequence
        self.redelivered = redelivered
        self.data = b"%d" % sequence


@pytest.mark.parametrize(
    ("arrivals", "found"),
    [
        ([Arrival(5, True), Arrival(7), Arrival(8)], ""),
        ([Arrival(4, True)], "4 came again although its ack was recorded"),
        ([Arrival(5)], "5 was in flight and came without the mark"),
        ([Arrival(8)], "8 was delivered first right after 6"),
        ([Arrival(7), Arrival(7)], "7 was delivered first after 7"),
    ],
)
async def test_a_wrong_delivery_is_found(arrivals: list[Arrival], found: str) -> None:
    reader = Reader("auto", "orders")
    reader.begin_run((6, frozenset({5})), 0.0)
    arrive: Callable[[Arrival], object] = reader._callback(0)  # type: ignore[assignment]
    for arrival in arrivals:
        arrive(arrival)
    faults = "\n".join(reader.faults)
    assert found in faults
    assert bool(faults) == bool(found)
