"""A naive program on default options, while what it depends on goes away and comes back.

Without a retry, a reconnect or an except in it, it pauses and goes on: nothing that was acked
is lost, nothing is stored twice, and everything that it published is acked in the end.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import stan
from tests.tools.crash_site import Data, ServedData, SqliteData
from tests.tools.databases import DatabaseServer
from tests.tools.naive_program import Program, read_back, run_program
from tests.tools.outages import NatsCluster, Outage, Scene
from tests.tools.processes import NatsServer

TOLD_S = 10.0
"""How soon a program is told that its server is dead, on default options."""


@pytest.fixture(params=["sqlite", "postgres"])
async def data(request: pytest.FixtureRequest, tmp_path: Path) -> Data:
    """An empty database."""
    if request.param == "sqlite":
        return SqliteData(tmp_path)
    server: DatabaseServer = request.getfixturevalue("postgres_server")
    return ServedData(server, await server.create_database())


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    """A NATS server that stays until a test kills it."""
    server = NatsServer().start()
    yield server
    server.stop()


@pytest.fixture
def nats_cluster() -> Iterator[NatsCluster]:
    """Three NATS servers."""
    cluster = NatsCluster()
    try:
        yield cluster.start()
    finally:
        cluster.stop()


async def assert_nothing_lost_and_nothing_twice(program: Program, data: Data) -> None:
    """Look into the database behind the server's back."""
    rows = await data.query(
        "SELECT m.data FROM stan_messages m JOIN stan_channels c ON c.channel_id = m.channel_id "
        f"WHERE c.name = '{program.channel}'"
    )
    stored = Counter(bytes(row[0]) for row in rows)
    diary = program.diary
    assert set(diary.begun) == set(diary.acked)
    assert set(diary.acked) == set(stored)
    assert {data: times for data, times in stored.items() if times > 1} == {}
    assert diary.missing(set(stored)) == {}


async def everything_received(program: Program) -> None:
    """Let the program come to its end."""
    program.stopping = True
    diary = program.diary
    await diary.until(lambda: set(diary.begun) == set(diary.acked))
    await diary.until(lambda: not diary.missing(set(diary.acked)))


async def test_a_program_outlives_sigterm_and_a_restart_with_nothing_lost_or_twice(
    tmp_path: Path,
) -> None:
    data = SqliteData(tmp_path)
    async with Scene(tmp_path, data.source) as scene:
        async with run_program(scene.cluster, "me", scene.urls) as program:
            await scene.terminate_and_restart()
            await program.diary.goes_on()
            await everything_received(program)
        await assert_nothing_lost_and_nothing_twice(program, data)


async def test_a_program_outlives_kill_9_and_a_restart_with_nothing_lost_or_twice(
    tmp_path: Path,
) -> None:
    data = SqliteData(tmp_path)
    async with Scene(tmp_path, data.source) as scene:
        async with run_program(scene.cluster, "me", scene.urls) as program:
            await scene.kill_and_restart()
            await program.diary.goes_on()
            await everything_received(program)
        await assert_nothing_lost_and_nothing_twice(program, data)


async def test_a_program_outlives_kill_9_beside_nats_with_nothing_lost_or_twice(
    tmp_path: Path, data: Data, nats: NatsServer
) -> None:
    async with Scene(tmp_path, data.source, [nats]) as scene:
        async with run_program(scene.cluster, "me", scene.urls) as program:
            await scene.kill_and_restart()
            await program.diary.goes_on()
            await everything_received(program)
        await assert_nothing_lost_and_nothing_twice(program, data)


async def test_a_program_outlives_its_nats_server_with_nothing_lost_or_twice(
    tmp_path: Path, nats_cluster: NatsCluster
) -> None:
    data = SqliteData(tmp_path)
    async with Scene(tmp_path, data.source, nats_cluster.servers) as scene:
        async with run_program(scene.cluster, "me", scene.urls[1:]) as program:
            lost = nats_cluster.find(program.connection)
            await asyncio.to_thread(lost.kill)
            await program.diary.goes_on()
            assert nats_cluster.find(program.connection) is not lost
            await everything_received(program)
        await assert_nothing_lost_and_nothing_twice(program, data)


async def test_a_program_outlives_a_memory_server_and_what_comes_after_is_whole(
    tmp_path: Path,
) -> None:
    async with Scene(tmp_path) as scene:
        async with run_program(scene.cluster, "me", scene.urls) as program:
            outage = await scene.kill_and_restart()
            diary = program.diary
            await diary.goes_on()
            program.stopping = True
            await diary.until(lambda: set(diary.begun) == set(diary.acked))
            kept = acked_after(program, outage)
            await diary.until(lambda: not diary.missing(kept))
        stored = await read_back(scene.cluster, scene.urls, program.channel, len(kept))
    assert kept <= set(stored)
    assert len(stored) == len(set(stored))


def acked_after(program: Program, outage: Outage) -> set[bytes]:
    """What only the second server can have acknowledged."""
    return {data for data, when_s in program.diary.acked.items() if when_s > outage.ended_s}


async def test_closing_while_nats_is_away_ends_in_time_with_an_error_of_ours(
    tmp_path: Path, nats: NatsServer
) -> None:
    async with Scene(tmp_path, nats=[nats]) as scene:
        sc = await stan.connect(scene.cluster, "me", servers=scene.urls)
        await sc.subscribe("orders", durable="mine")
        await asyncio.to_thread(nats.kill)
        async with asyncio.timeout(TOLD_S):
            with pytest.raises(stan.StanError, match="close request timeout"):
                await sc.close()
        assert sc.is_closed


async def test_leaving_while_nats_is_away_ends_in_time_with_an_error_of_ours(
    tmp_path: Path, nats: NatsServer
) -> None:
    async def leave() -> None:
        async with stan.connect(scene.cluster, "me", servers=scene.urls) as sc:
            await sc.subscribe("orders", durable="mine")
            await asyncio.to_thread(nats.kill)

    async with Scene(tmp_path, nats=[nats]) as scene, asyncio.timeout(2 * TOLD_S):
        with pytest.raises(stan.StanError, match="close request timeout"):
            await leave()


@pytest.fixture
async def scene(tmp_path: Path, nats: NatsServer) -> AsyncIterator[Scene]:
    """A streaming server on a NATS server that stays."""
    async with Scene(tmp_path, nats=[nats]) as scene:
        yield scene


async def test_a_dead_server_is_told_within_ten_seconds(scene: Scene) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    async with stan.connect(
        scene.cluster,
        "me",
        servers=scene.urls,
        interrupted_cb=lambda connection, reason: told.put_nowait(reason),
    ) as sc:
        await sc.subscribe("orders")
        await asyncio.to_thread(scene.server.kill)
        async with asyncio.timeout(TOLD_S):
            assert await told.get()
        await asyncio.to_thread(scene.server.start)


async def test_a_server_that_hangs_is_told_within_ten_seconds(scene: Scene) -> None:
    async with stan.connect(scene.cluster, "me", servers=scene.urls) as sc:
        await sc.subscribe("orders")
        events = sc.events()
        scene.freeze()
        try:
            async with asyncio.timeout(TOLD_S):
                assert isinstance(await anext(events), stan.Interrupted)
        finally:
            scene.thaw()
