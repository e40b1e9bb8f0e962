"""Two servers, one database: only one of them ever writes, and only one of them speaks."""

import asyncio
import signal
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

import stan
from tests.crash.trial import Plan, Trial
from tests.tools.crash_site import CrashSite, ServedData, SqliteData
from tests.tools.databases import DatabaseServer
from tests.tools.processes import LoggedProcess, NatsServer, StartFailed

TIMEOUT_S = 60
_REFUSED = 1
_REFUSALS = (b"stan: invalid", b"replaced", b"another server")


async def test_a_second_server_on_the_database_refuses(tmp_path: Path) -> None:
    site = CrashSite(SqliteData(tmp_path))
    other = NatsServer()
    await site.open()
    await asyncio.to_thread(other.start)
    try:
        site.spawn()
        await site.ready()
        first = site.process
        site.nats_url = other.url  # elsewhere, so that only the database can tell
        site.spawn()
        assert site.process is not None
        with pytest.raises(StartFailed, match=r"the store is in use by another server: .* pid"):
            await site.ready()
        assert await asyncio.to_thread(site.process.wait) == _REFUSED
        assert "Traceback" not in site.output
        site.process = first
        async with stan.connect(site.cluster, "x", servers=site.nats.url) as sc:
            await sc.publish("foo", b"the first one goes on")
        await site.kill()
        assert (await site.read_channels())["foo"][1:] == (1, 1, 1)
    finally:
        await site.close()
        await asyncio.to_thread(other.stop)


async def test_a_second_server_of_the_cluster_refuses(tmp_path: Path) -> None:
    site = CrashSite(SqliteData(tmp_path))
    await site.open()
    try:
        site.spawn()
        await site.ready()
        first = site.process
        site.source = str(tmp_path / "other.db")
        site.spawn()
        with pytest.raises(StartFailed, match="discovered another streaming server"):
            await site.ready()
        site.process = first
    finally:
        await site.close()


async def test_a_frozen_server_is_replaced_and_wakes_up_silent(
    postgres_server: DatabaseServer,
) -> None:
    site = CrashSite(ServedData(postgres_server, await postgres_server.create_database()))
    deposed: list[LoggedProcess] = []

    async def freeze() -> None:
        former = await site.freeze()
        await trial.hand_over()
        site.spawn()
        await site.ready()
        former.process.send_signal(signal.SIGCONT)
        deposed.append(former)
        assert await asyncio.to_thread(former.wait, TIMEOUT_S) == _REFUSED

    plan = Plan(kills=2, seed=51, fault=freeze, lossy=True)
    trial = Trial(site, plan, lambda line: None)
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
    site = CrashSite(ServedData(postgres_server, await postgres_server.create_database()))
    await site.open()
    try:
        site.spawn()
        await site.ready()
        former = await site.freeze()
        try:
            site.spawn()
            await site.ready()
            lost: list[str] = []
            refusals: list[bytes] = []
            pinged = asyncio.Event()
            ear = await nats.connect(site.nats.url)

            async def overhear(message: Msg) -> None:
                if message.subject.endswith(".pings"):
                    pinged.set()
                elif any(words in message.data for words in _REFUSALS):
                    refusals.append(message.data)

            await ear.subscribe("_INBOX.>", cb=overhear)
            await ear.subscribe("_STAN.discover.*.pings", cb=overhear)
            await ear.flush()
            sc = await stan.connect(
                site.cluster,
                "stranger",
                servers=site.nats.url,
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
        await site.close()
