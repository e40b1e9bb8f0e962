"""A real server under load while its database restarts, loses connections, or has no room.

Whatever happens, nothing acknowledged is lost, nothing refused is stored, no sequence
repeats, and the server recovers by itself.
"""

import asyncio
import random
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import stan
from tests.crash.trial import Plan, endure
from tests.tools.crash_site import CrashSite, ServedData, SqliteData
from tests.tools.databases import DatabaseServer
from tests.tools.proxy import Proxy

TIMEOUT_S = 60


@pytest.fixture
async def proxy(database_server: DatabaseServer) -> AsyncIterator[Proxy]:
    proxy = Proxy(database_server.port)
    await proxy.open()
    yield proxy
    await proxy.close()


async def place(server: DatabaseServer, proxy: Proxy | None = None) -> CrashSite:
    database = await server.create_database()
    site = CrashSite(ServedData(server, database))
    if proxy is not None:
        site.source = server.source(database, port=proxy.port)
    return site


async def test_all_promises_hold_when_the_database_restarts(
    database_server: DatabaseServer,
) -> None:
    async def restart() -> None:
        await asyncio.to_thread(database_server.stop)
        await asyncio.to_thread(database_server.start)

    await endure(await place(database_server), Plan(kills=2, seed=31, fault=restart))


async def test_all_promises_hold_when_connections_are_cut(
    database_server: DatabaseServer, proxy: Proxy
) -> None:
    async def cut() -> None:
        proxy.cut()

    site = await place(database_server, proxy)
    await endure(site, Plan(kills=8, seed=32, longest_run_s=0.3, fault=cut))


@pytest.mark.parametrize("heavy", [False, True])
async def test_all_promises_hold_when_answers_to_commits_are_lost(
    database_server: DatabaseServer, proxy: Proxy, heavy: bool
) -> None:
    dice = random.Random(33)

    async def lose() -> None:
        if database_server.name == "mysql":
            proxy.lose_answer_to(b"COMMIT")
        else:
            proxy.lose_answer(b"SELECT 1\x00")
        async with asyncio.timeout(TIMEOUT_S):
            await proxy.fired.wait()
        await asyncio.sleep(dice.uniform(0, 0.05))

    site = await place(database_server, proxy)
    await endure(site, Plan(kills=3, seed=33, longest_run_s=0.2, heavy=heavy, fault=lose))


async def test_all_promises_hold_when_commits_are_lost_on_their_way(
    database_server: DatabaseServer, proxy: Proxy
) -> None:
    words = b"COMMIT" if database_server.name == "mysql" else b"fence"

    async def lose() -> None:
        proxy.lose_request(words)
        async with asyncio.timeout(TIMEOUT_S):
            await proxy.fired.wait()

    # Prepared once, the words do not travel again: every cut connection prepares anew.
    async def lose_or_cut() -> None:
        if database_server.name == "postgres":
            proxy.cut()
        await lose()

    site = await place(database_server, proxy)
    await endure(site, Plan(kills=3, seed=34, longest_run_s=0.2, fault=lose_or_cut))


async def test_all_promises_hold_when_the_sqlite_file_is_locked_for_a_while(tmp_path: Path) -> None:
    data = SqliteData(tmp_path)

    async def lock() -> None:
        connection = sqlite3.connect(data.source, isolation_level=None, timeout=30)
        connection.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(1.5)  # how long the lock is held
        connection.execute("ROLLBACK")
        connection.close()

    await endure(CrashSite(data), Plan(kills=2, seed=35, fault=lock))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small filesystem can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_the_disk_is_full_for_a_while(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (2 << 20))
    site = CrashSite(SqliteData(small_disk))
    try:
        await site.open()
        site.spawn()
        await site.ready()
        async with stan.connect(site.cluster, "filler", servers=site.nats.url) as sc:
            stored = await fill(sc)
            assert stored
            with pytest.raises(stan.PublishError, match="no space is left"):
                await sc.publish("filled", b"x" * 100_000)
            ballast.unlink()
            await sc.publish("filled", b"there is room again")
            got: list[bytes] = []
            async with asyncio.timeout(TIMEOUT_S):
                async for message in await sc.subscribe("filled", start_at="first"):
                    got.append(message.data)
                    if len(got) > stored:
                        break
            assert got == [b"x" * 100_000] * stored + [b"there is room again"]
        assert site.process is not None
        await asyncio.to_thread(site.process.wait_for, "no space is left")
        await site.kill()
        channels = await site.read_channels()
        assert channels["filled"][1:] == (1, stored + 1, stored + 1)
    finally:
        await site.close()


async def fill(sc: stan.Connection) -> int:
    """Publish until that fails; how many were stored."""
    stored = 0
    while True:
        try:
            await sc.publish("filled", b"x" * 100_000)
        except stan.PublishError:
            return stored
        stored += 1
