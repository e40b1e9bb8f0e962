"""One writer: a second server refuses, waits or takes over, and a deposed one cannot write."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from stan.engine.records import Batch, ChannelRecord
from stan.errors import LeaseLostError
from stan.store.sql import lease
from stan.store.sql.store import SqlStore

from .conftest import Place
from .records import Writer, read_all

IDLING = Path(__file__).with_name("idling.py")

Start = Callable[[Place, float], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a process that owns the store, and wait until it committed something."""
    processes: list[asyncio.subprocess.Process] = []

    async def start_one(place: Place, lease_s: float) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(IDLING), place.kind, place.source, str(lease_s)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        processes.append(process)
        assert await say(process) == "committed 1"
        return process

    yield start_one
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def say(process: asyncio.subprocess.Process, line: str = "") -> str:
    """What the process says next, after it was told to go on."""
    assert process.stdin is not None
    assert process.stdout is not None
    if line:
        process.stdin.write(line.encode())
    return (await process.stdout.readline()).decode().strip()


async def test_a_second_server_refuses_and_names_the_first(sql_place: Place) -> None:
    await sql_place.opened(lease_s=2)
    with pytest.raises(LeaseLostError, match=rf"in use by another server: .* pid {os.getpid()} "):
        await sql_place.opened(lease_s=2)


async def test_a_refused_server_leaves_the_first_alone(sql_place: Place) -> None:
    first = await sql_place.opened(lease_s=2)
    with pytest.raises(LeaseLostError):
        await sql_place.opened(lease_s=2)
    await Writer(first).create(1)
    assert len((await first.recover()).channels) == 1


async def test_a_waiting_server_follows_at_once_when_the_first_stops(sql_place: Place) -> None:
    first = await sql_place.opened(lease_s=60)
    writer = Writer(first)
    await writer.create(1)
    second = sql_place.store(lease_s=60, wait_for_lease=True)
    waiting = asyncio.create_task(second.open())
    await writer.append(1, [b"still here"], 1000)
    assert not waiting.done()
    await first.close()
    async with asyncio.timeout(10):  # far less than the lease
        await waiting
    assert list(await read_all(second, 1)) == [1]


async def test_a_killed_server_on_this_machine_is_followed_at_once(
    sql_place: Place, start: Start
) -> None:
    process = await start(sql_place, 600)
    process.kill()
    await process.wait()
    async with asyncio.timeout(10):  # far less than the lease
        second = await sql_place.opened()
    assert len((await second.recover()).channels) == 1


async def test_a_frozen_server_is_followed_and_cannot_write_when_it_wakes(
    sql_place: Place, start: Start
) -> None:
    process = await start(sql_place, 1)
    process.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(20):
        second = await sql_place.opened()
    await Writer(second, 1).create(2, "second's")
    process.send_signal(signal.SIGCONT)
    answer = await say(process, "go on\n")
    assert answer.startswith("lost another server took the store over")
    assert f"pid {os.getpid()}" in answer
    assert await process.wait() == 0
    recovered = await second.recover()
    assert [channel.name for channel, _ in recovered.channels] == ["second's", "idling"]
    assert recovered.batch_number == 2
    await Writer(second, 2).create(3, "and goes on")


async def depose(store: SqlStore) -> None:
    """Take the store over, as another server would."""

    def step(session: object) -> None:
        holder = lease.read_holder(session)  # type: ignore[arg-type]
        assert lease.take(session, holder, "elsewhere pid 1 (x/1/y)", 60_000)  # type: ignore[arg-type]

    await store._database.read(step)


async def test_a_deposed_server_writes_nothing_of_a_batch(sql_place: Place) -> None:
    store = await sql_place.opened(lease_s=60)
    assert isinstance(store, SqlStore)
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"mine"], 1000)
    await depose(store)
    for count in (1, 5, 500):
        run = writer.run(1, [b"too late"] * count, 2000)
        with pytest.raises(LeaseLostError, match="elsewhere pid 1"):
            await store.commit(Batch(99, runs=[run]))
        assert list(await read_all(store, 1)) == [1]
        store._lost = None  # it must not depend on having been told already
    with pytest.raises(LeaseLostError):
        await store.commit(Batch(99, channels_created=[ChannelRecord(2, "x")]))
    with pytest.raises(LeaseLostError):
        await store.outcome()


async def test_a_deposed_server_does_not_release_the_lease_of_another(sql_place: Place) -> None:
    store = await sql_place.opened(lease_s=60)
    assert isinstance(store, SqlStore)
    await depose(store)
    await store.close()
    other = sql_place.store()
    assert isinstance(other, SqlStore)
    holder = await other._database.read(lease.read_holder)
    assert holder.owner.startswith("elsewhere")
    assert not holder.free


async def test_the_lease_is_renewed_while_nothing_happens(sql_place: Place) -> None:
    store = await sql_place.opened(lease_s=1)
    assert isinstance(store, SqlStore)
    seen = {(await store._database.read(lease.read_holder)).expires_ms}
    async with asyncio.timeout(10):
        while len(seen) < 4:
            await asyncio.sleep(0.05)
            holder = await store._database.read(lease.read_holder)
            assert not holder.free
            seen.add(holder.expires_ms)
    assert holder.epoch == 1


def test_an_owner_is_gone_only_when_that_is_certain() -> None:
    mine = lease.owner_name()
    assert not lease.is_gone(mine)
    assert mine != lease.owner_name()
    host, _, rest = mine.partition(" pid ")
    _, _, mark = rest.partition(" ")
    machine, start, nonce = mark.strip("()").split("/")
    assert lease.is_gone(f"{host} pid {os.getpid()} ({machine}/{int(start) + 1}/{nonce})")
    assert lease.is_gone(f"{host} pid {2**22 - 1} ({machine}/{start}/{nonce})")
    assert not lease.is_gone(f"{host} pid {2**22 - 1} (other/{start}/{nonce})")
    assert not lease.is_gone("whatever")


async def test_a_store_that_was_taken_over_and_left_says_so(sqlite_place: Place) -> None:
    store = await sqlite_place.opened()
    assert isinstance(store, SqlStore)
    taken = "UPDATE stan_server SET epoch=epoch + 1, lease_owner=NULL"
    await store._database.write(lambda session: session.run_alone(taken))
    with pytest.raises(LeaseLostError, match="took the store over, and left it"):
        await store.outcome()
    with pytest.raises(LeaseLostError, match="took the store over, and left it"):
        await store.commit(Batch(1))


async def test_without_its_row_there_is_no_lease(sqlite_place: Place) -> None:
    store = await sqlite_place.opened()
    assert isinstance(store, SqlStore)
    await store._database.write(lambda session: session.run_alone("DELETE FROM stan_server"))
    with pytest.raises(LeaseLostError, match="the row of the server is missing"):
        await store.outcome()


def test_whether_an_owner_is_gone_is_only_said_when_it_is_certain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = lease.owner_name()
    assert not lease.is_gone(ours)
    assert lease.is_gone(ours.replace(f"pid {os.getpid()} ", "pid 99999999 "))
    assert not lease.is_gone("somebody else")

    def forbid(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbid)  # somebody else's process has that ID
    assert not lease.is_gone(ours)
    monkeypatch.setattr(lease, "_start_ticks", lambda pid: -1)
    assert not lease.is_gone(ours)
    monkeypatch.setattr(lease, "_machine", lambda: "")
    assert not lease.is_gone(ours)


def test_where_the_system_tells_nothing_nobody_is_known_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert lease._machine() == ""
    assert lease._start_ticks(os.getpid()) == -1
    assert not lease.is_gone(lease.owner_name())
