"""What a database still holds after the process that wrote it is gone, politely or not."""

import asyncio
import os
import pwd
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stan.engine.records import ServerRecord, Trim
from stan.errors import StoreRefusedError
from stan.wire.messages import unframe_message
from stan.wire.stan_pb2 import MsgProto

from .conftest import Place
from .records import Writer, a_client, a_subscription, bounds_of, read_all, time_load

CRASHING = Path(__file__).with_name("crashing.py")


async def test_everything_is_there_after_a_restart(sql_place: Place) -> None:
    store = await sql_place.opened()
    writer = Writer(store)
    await store.initialize(ServerRecord("test-cluster", "_STAN.acks"))
    await writer.create(1)
    await writer.append(1, [b"a"] * 30, 1000, replies=["r"] * 30)
    await writer.append(1, [b"b"] * 30, 2000)
    await writer.commit(
        clients_put=[a_client()],
        subscriptions_put=[a_subscription(4, 1, in_flight=(31, 32))],
        trims=[Trim(1, min_sequence=11)],
    )
    before, messages = await store.recover(), await read_all(store, 1)
    await store.close()
    again = await sql_place.opened()
    assert await again.recover() == before
    assert await read_all(again, 1) == messages
    assert await again.outcome() == writer.number


async def test_the_last_sequence_survives_expiry_and_restart(sql_place: Place) -> None:
    store = await sql_place.opened()
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"a"] * 30, 1000)
    await writer.commit(trims=[Trim(1, min_timestamp_ns=1 << 60)])
    bounds = await bounds_of(store, 1)
    await store.close()
    again = await sql_place.opened()
    assert await bounds_of(again, 1) == bounds
    assert (bounds.first_sequence, bounds.last_sequence, bounds.kept) == (31, 30, 0)


async def test_rows_of_what_was_dropped_go_away(sql_place: Place) -> None:
    store = await sql_place.opened()
    writer = Writer(store)
    for channel_id in (1, 2):
        await writer.create(channel_id)
        for at in range(4):
            await writer.append(channel_id, [b"x"] * 2000, 1000 + at)
    await writer.commit(trims=[Trim(1, min_sequence=7995)], channels_deleted=[2])
    await store.close()  # before the background had time for all of it
    again = await sql_place.opened()
    async with asyncio.timeout(30):
        await again.swept.wait()  # type: ignore[attr-defined]
    assert await count_rows(sql_place, "stan_messages") == 6
    assert await count_rows(sql_place, "stan_channels") == 1
    assert (await again.recover()).next_channel_id == 2


@pytest.mark.parametrize("channels", [1, 3])
async def test_a_batch_at_the_limit_removes_what_it_drops(sql_place: Place, channels: int) -> None:
    store = await sql_place.opened()
    writer = Writer(store)
    ids = range(1, channels + 2)
    for channel_id in ids:
        await writer.create(channel_id)
        await writer.append(channel_id, [b"old"] * 10, 1000)
    for at in range(5):
        result = await writer.commit(
            runs=[writer.run(channel_id, [b"new"] * 3, 2000 + at) for channel_id in ids[1:]],
            trims=[Trim(channel_id, min_sequence=4 + 3 * at) for channel_id in ids[1:]],
        )
        assert set(result.bounds) == set(ids[1:])
        assert not result.unfinished
    expected = {channel_id: (16, 25, 10) if channel_id > 1 else (1, 10, 10) for channel_id in ids}
    for channel_id in ids:
        bounds = await bounds_of(store, channel_id)
        found = bounds.first_sequence, bounds.last_sequence, bounds.kept
        assert found == expected[channel_id]
        first, last, _ = found
        assert list(await read_all(store, channel_id)) == list(range(first, last + 1))
    assert await count_rows(sql_place, "stan_messages") == 10 * len(ids)


async def count_rows(place: Place, table: str) -> int:
    sql = f"SELECT COUNT(*) FROM {table}"
    if place.server is None:
        with sqlite3.connect(place.source) as connection:
            rows = connection.execute(sql).fetchall()
        connection.close()
    else:
        rows = await place.server.execute(sql, place.database)  # type: ignore[call-arg]
    return int(rows[0][0])


async def test_ids_are_not_used_again_while_rows_stand(sql_place: Place) -> None:
    store = await sql_place.opened()
    writer = Writer(store)
    await writer.create(1)
    await writer.create(5)
    await writer.append(5, [b"x"] * 5000, 1000)
    await writer.commit(channels_deleted=[5], subscriptions_put=[a_subscription(9, 1)])
    recovered = await store.recover()
    assert recovered.next_subscription_id == 10
    assert recovered.next_channel_id in (2, 6)
    if recovered.next_channel_id == 2:
        assert await count_rows(sql_place, "stan_messages") == 0


@pytest.mark.parametrize("batches", [3, 40])
async def test_a_killed_process_loses_no_batch_it_reported(sql_place: Place, batches: int) -> None:
    reported = 0
    for _ in range(2):
        reported = await run_and_kill(sql_place, batches)
        assert reported >= batches
    store = await sql_place.opened()
    number = await store.outcome()
    assert number >= reported
    found = await read_all(store, 1)
    bounds = await bounds_of(store, 1)
    assert list(found) == list(range(bounds.first_sequence, bounds.last_sequence + 1))
    assert bounds.kept == len(found)
    size = sum(len(unframe_message(message)) for message in found.values())
    assert bounds.end_position - bounds.first_position == size
    last = MsgProto.FromString(unframe_message(found[bounds.last_sequence]))
    assert last.data == b"batch %d" % number
    assert bounds.last_sequence == 3 * (number - 1)
    assert (await store.load(time_load(1, last.timestamp))).sequences == [bounds.last_sequence - 2]


async def run_and_kill(place: Place, batches: int) -> int:
    """Let a process commit until it reported so many batches, then SIGKILL it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CRASHING), place.kind, place.source),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    last = 0
    for _ in range(batches):
        last = int(await process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    for line in (await process.stdout.read()).splitlines():
        last = int(line)
    await process.wait()
    return last


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stan.db"
    path.write_text("certainly not a database\n" * 100)
    place = Place("sqlite", str(path), None, "")
    with pytest.raises(StoreRefusedError, match="not an SQLite database"):
        await place.opened()
    assert path.read_text().startswith("certainly")
    await place.close()


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder into which this process, even if it was root's, may write nothing, with a
    file that anybody may write and one that nobody may."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "open.db").touch()
        (folder / "open.db").chmod(0o666)
        (folder / "closed.db").touch()
        (folder / "closed.db").chmod(0o000)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(pwd.getpwnam("nobody").pw_uid)
        yield folder
        os.seteuid(user)
        folder.chmod(0o755)


async def refusal(path: Path) -> str:
    """How opening this file ends."""
    place = Place("sqlite", str(path), None, "")
    with pytest.raises(StoreRefusedError) as caught:
        await place.opened(timeout_s=3600)  # nobody waits for what waiting does not mend
    await place.close()
    return str(caught.value)


async def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "stan.db"
    assert await refusal(path) == f"cannot open {path}: No such file or directory"
    assert os.listdir(tmp_path) == []


async def test_a_file_without_rights_is_refused_with_the_reason(closed_folder: Path) -> None:
    for name in ("new.db", "closed.db"):
        path = closed_folder / name
        assert await refusal(path) == f"cannot open {path}: Permission denied"


async def test_a_file_that_can_have_no_log_beside_it_is_refused(closed_folder: Path) -> None:
    path = closed_folder / "open.db"
    expected = f"cannot open {path}: no file can be created in {closed_folder}"
    assert await refusal(path) == expected


async def test_what_is_no_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "stan.db"
    assert await refusal(path) == f"cannot open {path}: Not a directory"
    assert await refusal(tmp_path) == f"cannot open {tmp_path}: Is a directory"
