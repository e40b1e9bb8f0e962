"""The outbox table on every database: what a batch takes from it, and what it leaves."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from stan.engine.records import Batch, OutboxLoad, OutboxRow
from stan.errors import LeaseLostError
from stan.store.contract import Store
from stan.store.sql.sources import parse_source

from .conftest import Place
from .records import Writer, bounds_of

LOAD = OutboxLoad(1, 100, 1 << 20, 1 << 20)
INSERT = "INSERT INTO stan_outbox (channel, data, reply, msg_id) VALUES (:c, :d, :r, :m)"


def engine_of(place: Place) -> AsyncEngine:
    """An application's own connections to the store's database."""
    source = parse_source(place.kind, place.source)
    url = source.url
    if place.kind == "sqlite":
        url = url.set(drivername="sqlite+aiosqlite")
    return create_async_engine(url, connect_args=source.connect_args)


@pytest.fixture
async def store(sql_place: Place) -> Store:
    return await sql_place.opened()


@pytest.fixture
async def application(sql_place: Place):  # type: ignore[no-untyped-def]
    engine = engine_of(sql_place)
    yield engine
    await engine.dispose()


async def write(engine: AsyncEngine, *rows: tuple[str, bytes, str | None, str | None]) -> None:
    async with engine.begin() as connection:
        for channel, data, reply, message_id in rows:
            values = {"c": channel, "d": data, "r": reply, "m": message_id}
            await connection.execute(text(INSERT), values)


async def read(store: Store, load: OutboxLoad = LOAD) -> list[OutboxRow]:
    return (await store.load(load)).rows


async def test_visible_rows_are_read_in_order(store: Store, application: AsyncEngine) -> None:
    assert await read(store) == []
    whole = bytes(range(256))
    await write(application, ("orders", b"1", None, None), ("größe", whole, "re.ply", "id-1"))
    assert await read(store) == [
        OutboxRow(1, "orders", b"1", 1),
        OutboxRow(2, "größe", whole, 256, "re.ply", "id-1"),
    ]


async def test_what_was_rolled_back_was_never_there(store: Store, application: AsyncEngine) -> None:
    async with application.connect() as connection:
        values = {"c": "orders", "d": b"x", "r": None, "m": None}
        await connection.execute(text(INSERT), values)
        assert await read(store) == []
        await connection.rollback()
    assert await read(store) == []


async def test_a_load_is_bounded(store: Store, application: AsyncEngine) -> None:
    await write(application, *[("orders", b"x" * 100, None, None)] * 5)
    assert [row.row_id for row in await read(store, OutboxLoad(1, 3, 1 << 20, 1 << 20))] == [
        1,
        2,
        3,
    ]
    assert [row.row_id for row in await read(store, OutboxLoad(1, 9, 150, 1 << 20))] == [1, 2]
    assert [row.row_id for row in await read(store, OutboxLoad(1, 9, 1, 1 << 20))] == [1]
    await write(application, ("orders", b"y" * 101, None, None))
    rows = await read(store, OutboxLoad(1, 9, 1 << 20, 100))
    assert [(len(row.data), row.size) for row in rows[4:]] == [(100, 100), (0, 101)]


async def test_taking_and_storing_are_one(store: Store, application: AsyncEngine) -> None:
    writer = Writer(store)
    await writer.create(1)
    await write(application, *[("orders", b"x", None, None)] * 4)
    run = writer.run(1, [b"a", b"b"], 1000)
    await writer.commit(runs=[run], outbox_taken=[1, 3])
    assert [row.row_id for row in await read(store)] == [2, 4]
    assert (await bounds_of(store, 1)).last_sequence == 2
    await writer.commit(outbox_taken=[2], outbox_parked=[(4, "a reason")])
    assert await read(store) == []
    async with application.connect() as connection:
        rows = await connection.execute(text("SELECT id, channel, reason FROM stan_outbox_parked"))
        assert [tuple(row) for row in rows] == [(4, "orders", "a reason")]


async def test_a_server_that_lost_the_store_takes_nothing(
    sql_place: Place, store: Store, application: AsyncEngine
) -> None:
    writer = Writer(store)
    await writer.create(1)
    await write(application, ("orders", b"x", None, None))
    other = sql_place.store()
    assert await other.take(await other.read_holder())
    with pytest.raises(LeaseLostError):
        await writer.commit(runs=[writer.run(1, [b"x"], 1000)], outbox_taken=[1])
    assert [row.row_id for row in await read(other)] == [1]


async def test_thousands_of_rows_go_at_once(store: Store, application: AsyncEngine) -> None:
    writer = Writer(store)
    await writer.create(1)
    await write(application, *[("orders", b"x", None, None)] * 2048)
    rows = await read(store, OutboxLoad(1, 5000, 1 << 20, 1 << 20))
    ids = [row.row_id for row in rows]
    assert len(ids) == 2048
    await writer.commit(runs=[writer.run(1, [b"x"] * 2048, 1000)], outbox_taken=ids)
    assert await read(store) == []


async def test_postgres_tells_at_once(place_of_postgres: Place) -> None:
    store = await place_of_postgres.opened(outbox=True)
    engine = engine_of(place_of_postgres)
    async with asyncio.timeout(20):
        await store.outbox_written()  # it listens from now on
        assert await read(store) == []  # it sleeps from now on
        assert await count_locks(engine) == 1
        told = asyncio.create_task(store.outbox_written())
        await write(engine, ("orders", b"x", None, None))
        await told
    await engine.dispose()


async def test_postgres_is_told_only_while_the_server_sleeps(place_of_postgres: Place) -> None:
    store = await place_of_postgres.opened(outbox=True)
    engine = engine_of(place_of_postgres)
    async with asyncio.timeout(20):
        await store.outbox_written()
        await write(engine, ("orders", b"1", None, None))
        assert len(await read(store)) == 1
        assert await count_locks(engine) == 0  # awake
        async with engine.begin() as db:
            await db.execute(text("INSERT INTO stan_outbox (channel, data) VALUES ('orders', 'x')"))
            await store.commit(Batch(1, outbox_taken=[1]))
            await asyncio.sleep(0.15)  # long enough to fall asleep
            assert await read(store) == []
            assert await count_locks(engine, "ExclusiveLock") == 0  # one did not notify
        assert len(await read(store)) == 1
    await engine.dispose()


async def count_locks(engine: AsyncEngine, mode: str = "%") -> int:
    sql = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode LIKE '{mode}'"
    async with engine.connect() as db:
        return int(await db.scalar(text(sql)) or 0)


@pytest.fixture
async def place_of_postgres(request: pytest.FixtureRequest, tmp_path):  # type: ignore[no-untyped-def]
    from .conftest import _place

    place = await _place("postgres", request, tmp_path)
    yield place
    await place.close()


async def test_plain_sql_with_text_is_understood(store: Store, application: AsyncEngine) -> None:
    async with application.begin() as connection:
        await connection.execute(
            text("INSERT INTO stan_outbox (channel, data) VALUES ('orders', '{\"a\"\\:1}')")
        )
    assert await read(store) == [OutboxRow(1, "orders", b'{"a":1}', 7)]


async def test_a_table_that_an_application_made_first_is_used(sql_place: Place) -> None:
    engine = engine_of(sql_place)
    blob = {"postgres": "BYTEA", "mysql": "LONGBLOB", "sqlite": "BLOB"}[sql_place.kind]
    key = {
        "postgres": "BIGSERIAL PRIMARY KEY",
        "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
        "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    }[sql_place.kind]
    async with engine.begin() as connection:
        await connection.execute(
            text(
                f"CREATE TABLE stan_outbox (id {key}, channel TEXT NOT NULL, data {blob} NOT NULL,"
                " reply TEXT, msg_id TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"
            )
        )
    await write(engine, ("orders", b"early", None, None))
    assert [row.data for row in await read(await sql_place.opened())] == [b"early"]
    await engine.dispose()
