"""What a database goes through in its life, each with the real one: cut connections, lost
answers, restarts, full disks, locks, wrong passwords, missing rights."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stan.engine.records import Batch, Run
from stan.errors import (
    LeaseLostError,
    StoreOutcomeUnknownError,
    StoreRefusedError,
    StoreUnavailableError,
)
from stan.store.contract import Store
from stan.store.sql import store as sql_store
from stan.store.sql.lease import read_holder
from stan.store.sql.running import Step
from stan.store.sql.store import SqlStore
from tests.tools.proxy import Proxy

from .conftest import Place
from .records import Writer, a_client, bounds_of, range_load, read_all


@pytest.fixture
async def proxy(networked_place: Place) -> AsyncIterator[Proxy]:
    """Between the store that `behind` opens and its database."""
    assert networked_place.server is not None
    proxy = Proxy(networked_place.server.port)
    await proxy.open()
    yield proxy
    await networked_place.close()
    await proxy.close()


async def behind(place: Place, proxy: Proxy, **options: object) -> Store:
    assert place.server is not None
    source = place.server.source(place.database, port=proxy.port)
    return await place.opened(sql_source=source, **options)


def in_steps(number: int, run: Run) -> Batch:
    """A batch that takes a transaction of several exchanges on every database."""
    return Batch(number, runs=[run], clients_put=[a_client()])


def lose_commit_answer(place: Place, proxy: Proxy, *, at_once: bool) -> None:
    """Lose the answer to the next commit; the database has made it true."""
    if place.kind == "mysql":
        proxy.lose_answer_to(b"COMMIT")
    else:
        proxy.lose_answer(b"SELECT 1\x00" if at_once else b"COMMIT\x00")


@pytest.mark.parametrize("count", [1, 400])
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_commit_whose_answer_is_lost_is_found_to_be_true(
    networked_place: Place, proxy: Proxy, count: int, at_once: bool
) -> None:
    store = await behind(networked_place, proxy)
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"a"], 1000)
    run = writer.run(1, [b"b"] * count, 2000)
    batch = writer.batch(runs=[run]) if at_once else in_steps(writer.batch().number, run)
    lose_commit_answer(networked_place, proxy, at_once=at_once)
    with pytest.raises(StoreOutcomeUnknownError, match="no answer to COMMIT"):
        await store.commit(batch)
    assert proxy.fired.is_set()
    assert await store.outcome() == batch.number
    assert list(await read_all(store, 1)) == list(range(1, count + 2))
    await writer.append(1, [b"c"], 3000)
    bounds = await bounds_of(store, 1)
    assert (bounds.last_sequence, bounds.kept) == (count + 2, count + 2)


@pytest.mark.parametrize("words", [b"COMMIT", b"BEGIN"])
async def test_a_commit_that_never_arrived_is_found_to_be_not_true(
    networked_place: Place, proxy: Proxy, words: bytes
) -> None:
    store = await behind(networked_place, proxy)
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"a"], 1000)
    before = writer.number
    run = writer.run(1, [b"b"] * 400, 2000)
    proxy.lose_request(words)
    # Before COMMIT was sent the store knows; after that it must ask.
    error = StoreOutcomeUnknownError if words == b"COMMIT" else StoreUnavailableError
    with pytest.raises(error):
        await store.commit(in_steps(before + 1, run))
    assert proxy.fired.is_set()
    assert await store.outcome() == before
    assert list(await read_all(store, 1)) == [1]
    await store.commit(in_steps(before + 1, run))
    assert list(await read_all(store, 1)) == list(range(1, 402))
    assert await store.outcome() == before + 1


async def test_a_commit_on_its_way_while_its_fate_is_asked_cannot_surprise(
    networked_place: Place, proxy: Proxy
) -> None:
    """The COMMIT is held up on the way; when it arrives, the answer has been given."""
    store = await behind(networked_place, proxy, timeout_s=1.0, lease_s=3)
    assert networked_place.server is not None
    writer = Writer(store)
    await writer.create(1)
    before = writer.number
    run = writer.run(1, [b"b"] * 400, 2000)
    proxy.stall_on(b"COMMIT")
    with pytest.raises(StoreOutcomeUnknownError):
        await store.commit(in_steps(before + 1, run))
    proxy.restore()
    number = await until_settled(store)
    expected = list(range(1, 401)) if number == before + 1 else []
    assert list(await read_all(store, 1)) == expected
    await writer.commit()
    assert list(await read_all(store, 1)) == expected


async def until_settled(store: Store) -> int:
    """`outcome`, as often as it takes a database to notice that a connection is gone."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.outcome()
            except StoreUnavailableError:
                await asyncio.sleep(0.1)


async def test_connections_cut_while_idle_cost_one_error_at_most(
    networked_place: Place, proxy: Proxy
) -> None:
    store = await behind(networked_place, proxy)
    writer = Writer(store)
    await writer.create(1)
    run = await writer.append(1, [b"a"], 1000)
    for _ in range(3):
        await store.load(range_load(1))
        proxy.cut()
        batch = writer.batch(runs=[])
        try:
            await store.commit(batch)
        except (StoreUnavailableError, StoreOutcomeUnknownError):
            assert await store.outcome() in (batch.number - 1, batch.number)
            await store.commit(batch)
        assert await store.outcome() == batch.number
        assert (await store.load(range_load(1))).framed == run.framed


async def test_a_stalled_database_is_an_error_in_time_and_then_works_again(
    networked_place: Place, proxy: Proxy
) -> None:
    store = await behind(networked_place, proxy, timeout_s=1.0)
    writer = Writer(store)
    await writer.create(1)
    proxy.stall()
    batch = writer.batch(runs=[writer.run(1, [b"a"] * 400, 1000)])
    async with asyncio.timeout(20):
        with pytest.raises((StoreUnavailableError, StoreOutcomeUnknownError)):
            await store.commit(batch)
        with pytest.raises(StoreUnavailableError):
            await store.load(range_load(1))
    proxy.restore()
    if await until_settled(store) < batch.number:
        await store.commit(batch)
    assert len(await read_all(store, 1)) == 400


@pytest.mark.parametrize("words", [b"COMMIT", b"too late"])
async def test_a_server_frozen_in_a_transaction_does_not_keep_others_out(
    networked_place: Place, proxy: Proxy, words: bytes
) -> None:
    first = await behind(networked_place, proxy, timeout_s=2.0, lease_s=1)
    writer = Writer(first)
    await writer.create(1)
    is_spelled = networked_place.kind == "mysql" and words != b"COMMIT"
    proxy.stall_on(words.hex().encode() if is_spelled else words)
    run = writer.run(1, [b"too late"] * 400, 1000)
    frozen = asyncio.create_task(first.commit(in_steps(99, run)))
    async with asyncio.timeout(30):
        await proxy.fired.wait()
    async with asyncio.timeout(30):
        second = await networked_place.opened(timeout_s=2.0, lease_s=10)
    with pytest.raises((StoreOutcomeUnknownError, StoreUnavailableError)):
        await frozen
    proxy.restore()
    with pytest.raises(LeaseLostError):
        await until_settled(first)
    assert await read_all(second, 1) == {}
    assert await second.outcome() == writer.number


async def test_a_restarted_database_is_used_again(networked_place: Place) -> None:
    server = networked_place.server
    assert server is not None
    store = await networked_place.opened(timeout_s=5.0)
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"a"] * 10, 1000)
    await asyncio.to_thread(server.stop)
    run = writer.run(1, [b"b"], 2000)
    batch = writer.batch(runs=[run])
    try:
        with pytest.raises((StoreUnavailableError, StoreOutcomeUnknownError)):
            await store.commit(batch)
        with pytest.raises(StoreUnavailableError):
            await store.commit(batch)
        with pytest.raises(StoreUnavailableError):
            await store.outcome()
    finally:
        await asyncio.to_thread(server.start)
    assert await until_settled(store) == batch.number - 1
    await store.commit(batch)
    assert (await store.load(range_load(1))).framed[-1] == run.framed[0]


async def test_a_database_that_is_not_there_is_one_clear_line(networked_place: Place) -> None:
    server = networked_place.server
    assert server is not None
    source = server.source(networked_place.database, port=1)
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1/") as caught:
        await networked_place.opened(sql_source=source)
    assert "\n" not in str(caught.value)


async def test_a_wrong_database_name_is_refused(networked_place: Place) -> None:
    assert networked_place.server is not None
    source = networked_place.server.source("nowhere")
    with pytest.raises(StoreRefusedError, match="there is no such database"):
        await networked_place.opened(sql_source=source)


async def test_a_wrong_password_is_refused_and_not_shown(networked_place: Place) -> None:
    server = networked_place.server
    assert server is not None
    if networked_place.kind == "postgres":
        hba = server.folder / "data" / "pg_hba.conf"
        lines = hba.read_text()
        await server.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + lines)
        await server.execute("SELECT pg_reload_conf()")
    else:
        await server.execute("CREATE USER guarded@'127.0.0.1' IDENTIFIED BY 'right'")
        await server.execute("CREATE USER guarded@localhost IDENTIFIED BY 'right'")
    source = server.source(networked_place.database, login="guarded:sesame")
    with pytest.raises(StoreRefusedError, match="password is wrong") as caught:
        await networked_place.opened(sql_source=source)
    assert "sesame" not in str(caught.value)


async def test_missing_rights_are_refused(networked_place: Place) -> None:
    server = networked_place.server
    assert server is not None
    await (await networked_place.opened()).close()
    name = f"reader_{networked_place.database}"
    if networked_place.kind == "postgres":
        await server.execute(f"CREATE ROLE {name} LOGIN")
        await server.execute(  # type: ignore[call-arg]
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}", networked_place.database
        )
    else:
        await server.execute(f"CREATE USER {name}@localhost")
        await server.execute(f"GRANT SELECT ON {networked_place.database}.* TO {name}@localhost")
    source = server.source(networked_place.database, login=name)
    with pytest.raises(StoreRefusedError, match="rights are missing"):
        await networked_place.opened(sql_source=source)


async def test_a_locked_file_is_unavailable_and_then_works_again(sqlite_place: Place) -> None:
    store = await sqlite_place.opened(timeout_s=0.2)
    writer = Writer(store)
    await writer.create(1)
    batch = writer.batch(runs=[writer.run(1, [b"a"], 1000)])
    other = sqlite3.connect(sqlite_place.source, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="database is locked"):
            await store.commit(batch)
        assert (await store.load(range_load(1))).sequences == []
        other.execute("ROLLBACK")
    finally:
        other.close()
    await store.commit(batch)
    assert list(await read_all(store, 1)) == [1]


@pytest.fixture
def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A filesystem of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a small filesystem can only be mounted by root")
    yield folder  # type: ignore[misc]
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_refuses_and_room_lets_it_go_on(small_disk: Path) -> None:
    place = Place("sqlite", str(small_disk / "stan.db"), None, "")
    ballast = small_disk / "ballast"
    await asyncio.to_thread(ballast.write_bytes, b"x" * (1 << 20))
    store = await place.opened()
    writer = Writer(store)
    await writer.create(1)
    batches: list[Batch] = []
    with pytest.raises(StoreRefusedError, match="no space is left"):
        await fill(writer, batches)
    failed = batches.pop()
    stored = [message for batch in batches for message in batch.runs[0].framed]
    assert stored
    assert list((await read_all(store, 1)).values()) == stored
    assert await store.outcome() == failed.number - 1
    await asyncio.to_thread(ballast.unlink)
    await store.commit(failed)
    assert list((await read_all(store, 1)).values()) == stored + failed.runs[0].framed
    await place.close()


async def fill(writer: Writer, batches: list[Batch]) -> None:
    """Commit until that fails; the last of the batches is the one that did."""
    while True:
        batches.append(writer.batch(runs=[writer.run(1, [os.urandom(20_000)] * 5, 1000)]))
        await writer.store.commit(batches[-1])


async def test_an_oversized_batch_for_the_database_is_refused_whole(sql_place: Place) -> None:
    store = await sql_place.opened()
    writer = Writer(store)
    await writer.create(1)
    run = writer.run(1, [b"fine"], 1000)
    beyond = writer.run(1, [b"beyond"], 1 << 63)
    with pytest.raises(StoreRefusedError):
        await store.commit(Batch(50, runs=[run, beyond]))
    assert await read_all(store, 1) == {}
    await store.commit(Batch(50, runs=[run]))
    assert list(await read_all(store, 1)) == [1]


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> asyncio.Event:
    """Let the next call of a function fail as nobody expects; set once that happened."""
    function = getattr(owner, name)
    failed = asyncio.Event()

    def failing(*args: object, **options: object) -> object:
        if failed.is_set():
            return function(*args, **options)
        failed.set()
        raise LookupError("nobody expects this")

    monkeypatch.setattr(owner, name, failing)
    return failed


async def test_sweeping_outlives_a_defect_and_says_so(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sql_store, "_RETRY_S", 0.0)
    store = await sqlite_place.opened()
    assert isinstance(store, SqlStore)
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"a"] * 3, 1000)
    failed = fail_once(monkeypatch, sql_store, "record_swept")
    await writer.commit(channels_deleted=[1])
    async with asyncio.timeout(30):
        await failed.wait()
        await store.swept.wait()
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "a defect in the store, sweeping: nobody expects this"
    assert record.exc_info is not None
    assert (await store.recover()).channels == []


async def test_the_lease_is_renewed_after_a_defect_that_is_said_once(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = await sqlite_place.opened(lease_s=1)
    assert isinstance(store, SqlStore)
    database = store._database
    write = database.write
    failed, renewed = asyncio.Event(), asyncio.Event()

    async def write_later(step: Step[object], **options: bool) -> object:
        if not failed.is_set():
            failed.set()
            raise LookupError("nobody expects this")
        done = await write(step, **options)
        renewed.set()
        return done

    before = await database.read(read_holder)
    monkeypatch.setattr(database, "write", write_later)
    async with asyncio.timeout(30):
        await renewed.wait()
    assert (await database.read(read_holder)).expires_ms > before.expires_ms
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert lines == ["a defect in the store, renewing the lease: nobody expects this"]


async def test_what_keeps_failing_is_said_once_until_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = StoreRefusedError("the disk is full")
    said = sql_store._report("sweeping", refused, "")
    assert sql_store._report("sweeping", refused, said) == said
    sql_store._report("sweeping", StoreUnavailableError("come back later"), said)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "sweeping: the disk is full"
    ]
