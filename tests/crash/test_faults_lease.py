"""Two servers, one database: only one of them ever writes, and only one of them speaks."""

import asyncio
import signal
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

import stan
from tests.crash.trial import Plan, Trial
from tests.tools.crash_site import Ground, ServedData, SqliteData
from tests.tools.databases import DatabaseServer
from tests.tools.servers import RestartableNats
from tests.tools.streaming_server import LoggedProcess, StartFailed

TIMEOUT_S = 60
_REFUSED = 1
_REFUSALS = (b"stan: invalid", b"replaced", b"another server")


async def test_a_second_server_on_the_database_refuses(tmp_path: Path) -> None:
    ground = Ground(SqliteData(tmp_path))
    other = RestartableNats()
    await ground.open()
    await asyncio.to_thread(other.start)
    try:
        ground.spawn()
        await ground.ready()
        first = ground.process
        ground.nats_url = other.url  # elsewhere, so that only the database can tell
        ground.spawn()
        assert ground.process is not None
        with pytest.raises(StartFailed, match=r"the store is in use by another server: .* pid"):
            await ground.ready()
        assert await asyncio.to_thread(ground.process.wait) == _REFUSED
        assert "Traceback" not in ground.output
        ground.process = first
        async with stan.connect(ground.cluster, "x", servers=ground.nats.url) as sc:
            await sc.publish("foo", b"the first one goes on")
        await ground.kill()
        assert (await ground.read_channels())["foo"][1:] == (1, 1, 1)
    finally:
        await ground.close()
        await asyncio.to_thread(other.stop)


async def test_a_second_server_of_the_cluster_refuses(tmp_path: Path) -> None:
    ground = Ground(SqliteData(tmp_path))
    await ground.open()
    try:
        ground.spawn()
        await ground.ready()
        first = ground.process
        ground.source = str(tmp_path / "other.db")
        ground.spawn()
        with pytest.raises(StartFailed, match="discovered another streaming server"):
            await ground.ready()
        ground.process = first
    finally:
        await ground.close()


async def test_a_frozen_server_is_replaced_and_wakes_up_silent(
    postgres_server: DatabaseServer,
) -> None:
    ground = Ground(ServedData(postgres_server, await postgres_server.create_database()))
    deposed: list[LoggedProcess] = []

    async def freeze() -> None:
        former = await ground.freeze()
        await trial.hand_over()
        ground.spawn()
        await ground.ready()
        former.process.send_signal(signal.SIGCONT)
        deposed.append(former)
        assert await asyncio.to_thread(former.wait, TIMEOUT_S) == _REFUSED

    plan = Plan(kills=2, seed=51, fault=freeze, lossy=True)
    trial = Trial(ground, plan, lambda line: None)
    try:
        report = await trial.run()
    finally:
        for former in deposed:
            await asyncio.to_thread(former.stop)
    print(report)
    assert report.faults == [], str(report)
    for former in deposed:
        assert "another server took the store over" in former.output
        assert "Traceback" not in former.output
    assert len(deposed) == 2


async def test_a_frozen_server_says_nothing_to_strangers(
    postgres_server: DatabaseServer,
) -> None:
    """Clients that the deposed server never met must not be refused by it."""
    ground = Ground(ServedData(postgres_server, await postgres_server.create_database()))
    await ground.open()
    try:
        ground.spawn()
        await ground.ready()
        former = await ground.freeze()
        try:
            ground.spawn()
            await ground.ready()
            lost: list[str] = []
            refusals: list[bytes] = []
            pinged = asyncio.Event()
            ear = await nats.connect(ground.nats.url)

            async def overhear(message: Msg) -> None:
                if message.subject.endswith(".pings"):
                    pinged.set()
                elif any(words in message.data for words in _REFUSALS):
                    refusals.append(message.data)

            await ear.subscribe("_INBOX.>", cb=overhear)
            await ear.subscribe("_STAN.discover.*.pings", cb=overhear)
            await ear.flush()
            sc = await stan.connect(
                ground.cluster,
                "stranger",
                servers=ground.nats.url,
                ping_interval=1,
                connection_lost_cb=lambda _, error: lost.append(str(error)),
            )
            for number in range(5):
                await sc.publish("foo", b"%d" % number)
            async with asyncio.timeout(TIMEOUT_S):
                await pinged.wait()
        finally:
            former.process.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(former.wait, TIMEOUT_S) == _REFUSED
        await sc.publish("foo", b"goes on")
        await ear.flush()
        assert lost == []
        assert refusals == []
        await ear.close()
        await sc.close()
    finally:
        await ground.close()
