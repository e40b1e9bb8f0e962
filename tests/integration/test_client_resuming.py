"""Connections that come back: a server that is killed, NATS that goes, and what goes on then."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest

import stan
from stan.client import uplink
from tests.integration.conftest import fresh_name
from tests.tools.processes import NatsServer
from tests.tools.proxy import Proxy
from tests.tools.servers import StartServer
from tests.tools.streaming_server import (
    StreamingServer,
    implementation_under_test,
)

LONG_S = 20


class Told:
    """What the callbacks of a connection were told."""

    def __init__(self) -> None:
        self.interruptions: asyncio.Queue[str] = asyncio.Queue()
        self.returns: asyncio.Queue[stan.Resumed] = asyncio.Queue()
        self.losses: asyncio.Queue[stan.ClientError] = asyncio.Queue()

    def options(self) -> dict[str, Any]:
        async def resumed(connection: stan.Connection, report: stan.Resumed) -> None:
            self.returns.put_nowait(report)

        return {
            "interrupted_cb": lambda connection, reason: self.interruptions.put_nowait(reason),
            "resumed_cb": resumed,
            "connection_lost_cb": lambda connection, error: self.losses.put_nowait(error),
        }

    async def interrupted(self) -> str:
        async with asyncio.timeout(LONG_S):
            return await self.interruptions.get()

    async def resumed(self) -> stan.Resumed:
        async with asyncio.timeout(LONG_S):
            return await self.returns.get()

    async def lost(self) -> stan.ClientError:
        async with asyncio.timeout(LONG_S):
            return await self.losses.get()


class Publisher:
    """Publishes numbers one at a time, for as long as it lives, and knows those stored."""

    def __init__(self, connection: stan.Connection, channel: str) -> None:
        self.stored: list[bytes] = []
        self._connection = connection
        self._channel = channel
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        for number in itertools.count():
            data = b"%d" % number
            await self._connection.publish(self._channel, data)
            self.stored.append(data)
            self._changed.set()

    async def more(self, count: int) -> None:
        """Wait until so many more are stored."""
        wanted = len(self.stored) + count
        async with asyncio.timeout(LONG_S):
            while len(self.stored) < wanted:
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait({changed, self._task}, return_when="FIRST_COMPLETED")
                changed.cancel()
                if self._task.done():
                    await self._task

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@asynccontextmanager
async def connected(
    server: StreamingServer, url: str, *, is_lent: bool = False, **options: Any
) -> AsyncIterator[tuple[stan.Connection, Told]]:
    """A connection of its own, or on one that is lent."""
    told = Told()
    lent = None
    if is_lent:
        lent = await nats.connect(
            url,
            reconnect_time_wait=0.1,
            max_reconnect_attempts=-1,
            error_cb=_ignore,  # type: ignore[arg-type]
        )
        options["nats"] = lent
    else:
        options["servers"] = url
    try:
        async with stan.connect(
            server.cluster, fresh_name("client"), **told.options(), **options
        ) as connection:
            yield connection, told
    finally:
        if lent is not None:
            await lent.close()


async def _ignore(_: Exception) -> None:
    return


@pytest.mark.parametrize("is_lent", [False, True], ids=["own", "lent"])
async def test_a_server_that_is_killed_and_comes_back(
    start_server: StartServer, nats_server: NatsServer, is_lent: bool
) -> None:
    server = start_server(store=implementation_under_test().persistent_store)
    async with connected(server, nats_server.url, is_lent=is_lent, resend="always") as (sc, told):
        plain, durable = [], []
        await sc.subscribe("foo", lambda m: plain.append(m.data), start_at="first")
        await sc.subscribe("foo", lambda m: durable.append(m.data), start_at="first", durable="d")
        publisher = Publisher(sc, "foo")
        await publisher.more(20)
        server.kill()
        await told.interrupted()
        assert not sc.is_connected
        server.start()
        report = await told.resumed()
        assert not report.registered_again
        await publisher.more(20)
        await publisher.stop()
        await sc.flush()
        reader = await sc.subscribe("foo", start_at="first")
        messages = []
        while not messages or messages[-1].data != publisher.stored[-1]:
            messages.append(await reader.next_msg(LONG_S))
        stored = [message.data for message in messages]
        assert set(publisher.stored) <= set(stored)
        assert list(dict.fromkeys(stored)) == sorted(set(stored), key=int)  # in order
        assert set(stored) <= set(plain)
        assert set(stored) <= set(durable)


@pytest.mark.parametrize("is_lent", [False, True], ids=["own", "lent"])
async def test_a_memory_server_that_is_killed_knows_nobody_and_everything_goes_on(
    start_server: StartServer, nats_server: NatsServer, is_lent: bool
) -> None:
    server = start_server()
    async with connected(server, nats_server.url, is_lent=is_lent) as (sc, told):
        got: dict[str, list[int]] = {name: [] for name in ("plain", "durable", "group")}
        await sc.subscribe("foo", lambda m: got["plain"].append(m.sequence))
        await sc.subscribe("foo", lambda m: got["durable"].append(m.sequence), durable="d")
        await sc.subscribe("foo", lambda m: got["group"].append(m.sequence), queue="g")
        quiet: asyncio.Queue[int] = asyncio.Queue()
        await sc.subscribe("quiet", lambda m: quiet.put_nowait(m.sequence))
        iterated = await sc.subscribe("foo")
        for _ in range(3):
            await sc.publish("foo", b"x")
        assert [(await iterated.next_msg(LONG_S)).sequence for _ in range(3)] == [1, 2, 3]
        server.kill()
        await told.interrupted()
        publishing = asyncio.create_task(sc.publish("foo", b"held"))
        server.start()
        await publishing
        report = await told.resumed()
        assert report.registered_again
        await sc.publish("quiet", b"x")
        await sc.publish("foo", b"x")
        async with asyncio.timeout(LONG_S):
            assert await quiet.get() == 1
            assert [(await iterated.next_msg()).sequence for _ in range(2)] == [1, 2]
        await sc.flush()
        assert [sequences[3:] for sequences in got.values()] == [[1, 2]] * 3
        assert sc.is_connected


async def test_a_channel_begun_anew_is_told(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    async with connected(server, nats_server.url) as (sc, told):
        events = sc.events()
        sub = await sc.subscribe("foo", start_at="first")
        for _ in range(3):
            await sc.publish("foo", b"old")
            await sub.next_msg(LONG_S)
        server.kill()
        server.start()
        await sc.publish("foo", b"new")
        message = await sub.next_msg(LONG_S)
        assert (message.sequence, message.data) == (1, b"new")
        await sc.publish("foo", b"newer")
        assert (await sub.next_msg(LONG_S)).sequence == 2
        report = await told.resumed()
        gap = stan.Gap("foo", 4, 0, begun_anew=True)
        assert report.gaps in ({"foo": [gap]}, {})
        async with asyncio.timeout(LONG_S):
            async for event in events:
                if event == gap:
                    break


@pytest.mark.usefixtures("tidied_nats")
@pytest.mark.parametrize("is_lent", [False, True], ids=["own", "lent"])
async def test_nats_that_is_killed_and_comes_back(
    start_server: StartServer, restartable_nats: NatsServer, is_lent: bool
) -> None:
    server = start_server(nats_url=restartable_nats.url)
    async with connected(server, restartable_nats.url, is_lent=is_lent, resend="always") as (
        sc,
        told,
    ):
        got = set()
        await sc.subscribe("foo", lambda m: got.add(m.data), start_at="first")
        publisher = Publisher(sc, "foo")
        await publisher.more(20)
        restartable_nats.kill()
        await told.interrupted()
        restartable_nats.start()
        report = await told.resumed()
        assert not report.registered_again
        await publisher.more(20)
        await publisher.stop()
        assert sc.is_connected


@pytest.mark.usefixtures("tidied_nats")
@pytest.mark.parametrize("is_lent", [False, True], ids=["own", "lent"])
async def test_closing_while_nats_is_away_is_an_error_of_ours(
    start_server: StartServer, restartable_nats: NatsServer, is_lent: bool
) -> None:
    server = start_server(nats_url=restartable_nats.url)

    async def leave_while_nats_is_away() -> stan.Connection:
        async with connected(server, restartable_nats.url, is_lent=is_lent, connect_wait=0.3) as (
            sc,
            told,
        ):
            await sc.subscribe("foo", lambda m: None)
            await sc.publish("foo", b"x")
            seen.append(sc)
            restartable_nats.kill()
            if is_lent:
                await told.interrupted()  # else nobody noticed yet
        return sc

    seen: list[stan.Connection] = []
    with pytest.raises(stan.RequestTimeoutError, match="stan: close request timeout"):
        await leave_while_nats_is_away()
    assert seen[0].is_closed
    assert seen[0].nats is None


async def test_closing_while_a_registration_is_under_way_is_answered(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    for _ in range(2):  # the second time the client ID is free again
        sc = await stan.connect(server.cluster, "me", servers=nats_server.url)
        session = sc._driver.session
        session._ask_to_register(time.monotonic_ns(), session._take_registered)
        await sc.close()
        assert not session.is_up


async def test_a_lent_connection_that_is_closed_is_the_end(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server, told = start_server(), Told()
    lent = await nats.connect(nats_server.url)
    sc = await stan.connect(server.cluster, "me", nats=lent, **told.options())
    sub = await sc.subscribe("foo")
    await lent.close()
    assert str(await told.lost()) == "nats: connection closed"
    with pytest.raises(stan.ConnectionLostError):
        await sub.next_msg(LONG_S)
    with pytest.raises(stan.ConnectionClosedError):
        await sc.publish("foo", b"x")
    await sc.close()


async def test_an_own_connection_that_its_server_closed_is_made_anew(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    async with connected(server, nats_server.url) as (sc, told):
        sub = await sc.subscribe("foo")
        link = sc.nats
        assert link is not None
        await link._process_err("'Maximum Connections Exceeded'")
        assert await told.interrupted()
        await sc.publish("foo", b"x")
        assert (await sub.next_msg(LONG_S)).data == b"x"
        assert sc.nats is not link
        assert not (await told.resumed()).registered_again


async def test_nats_that_goes_on_refusing_who_we_are_is_the_end(
    start_server: StartServer, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, told = start_server(), Told()
    sc = await stan.connect(server.cluster, "me", servers=nats_server.url, **told.options())
    tries = 0

    async def refuse(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise stan.ConnectError("nats: Authorization Violation")

    monkeypatch.setattr(uplink, "dial", refuse)
    monkeypatch.setattr(uplink, "_REFUSED_NS", 300_000_000)
    assert sc.nats is not None
    await sc.nats._process_err("'User Authentication Expired'")
    assert await told.interrupted() == "nats: connection closed"
    assert str(await told.lost()) == "nats: Authorization Violation"
    assert tries > 1
    assert sc.is_closed


async def test_giving_up_is_the_end(start_server: StartServer, nats_server: NatsServer) -> None:
    server, told = start_server(), Told()
    sc = await stan.connect(
        server.cluster, "me", servers=nats_server.url, give_up_after=0.2, **told.options()
    )
    events = sc.events()
    server.kill()
    with pytest.raises(stan.ConnectionClosedError):
        await sc.publish("foo", b"x")
    error = await told.lost()
    assert str(error) == "stan: no streaming server for 0.2 seconds"
    kinds = [type(event) async for event in events]
    assert kinds == [stan.Interrupted, stan.Lost]


async def test_what_is_asked_for_during_an_interruption_waits(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server(store=implementation_under_test().persistent_store)
    async with connected(server, nats_server.url) as (sc, told):
        old = await sc.subscribe("foo", durable="old")
        durable = await sc.subscribe("foo", durable="d")
        server.kill()
        tasks = [
            asyncio.create_task(sc.subscribe("foo", start_at="first")),
            asyncio.create_task(old.close()),
            asyncio.create_task(durable.unsubscribe()),
        ]
        await told.interrupted()
        receipt = await sc.publish_async("foo", b"x")
        assert not any(task.done() for task in tasks)
        assert not receipt.done
        server.start()
        async with asyncio.timeout(LONG_S):
            sub, _, _ = await asyncio.gather(*tasks)
            await receipt  # it never left before, so every server gets it
            assert (await sub.next_msg()).data == b"x"


async def test_a_durable_is_unsubscribed_from_a_server_that_forgot_the_client(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    async with connected(server, nats_server.url) as (sc, _):
        plain = await sc.subscribe("foo")
        durable = await sc.subscribe("foo", durable="d")
        server.kill()
        closing = asyncio.gather(plain.unsubscribe(), durable.unsubscribe())
        server.start()
        async with asyncio.timeout(LONG_S):
            await closing
        for sub in (plain, durable):
            with pytest.raises(stan.InvalidSubscriptionError):
                await sub.close()


async def test_an_interruption_that_lasts_ends_requests_in_time(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    async with connected(server, nats_server.url, pub_ack_wait=0.3) as (sc, told):
        sub = await sc.subscribe("foo")
        server.kill()
        with pytest.raises(stan.PublishTimeoutError):
            await sc.publish("foo", b"x")
        with pytest.raises(stan.RequestTimeoutError, match="stan: subscribe request timeout"):
            await sc.subscribe("foo")
        with pytest.raises(stan.RequestTimeoutError, match="stan: unsubscribe request timeout"):
            await sub.unsubscribe()
        with pytest.raises(stan.RequestTimeoutError, match="stan: flush timeout"):
            await sc.flush(0.1)
        server.start()
        await told.resumed()


async def test_a_frozen_connection_does_not_hold_up_closing(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    proxy = Proxy(int(nats_server.url.rpartition(":")[2]))
    await proxy.open()
    sc = await stan.connect(
        server.cluster, "me", servers=f"nats://127.0.0.1:{proxy.port}", connect_wait=0.3
    )
    proxy.stall()
    for _ in range(40):
        await sc.publish_async("foo", bytes(100_000))
    async with asyncio.timeout(LONG_S):
        with pytest.raises(stan.RequestTimeoutError):
            await sc.close()
    await proxy.close()


async def test_a_window_that_is_full_waits_as_well(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server(store=implementation_under_test().persistent_store)
    async with connected(server, nats_server.url, max_pub_acks_inflight=4, resend="always") as (
        sc,
        told,
    ):
        await sc.publish("foo", b"first")
        server.kill()
        tasks = [asyncio.create_task(sc.publish("foo", b"%d" % n)) for n in range(50)]
        await told.interrupted()
        server.start()
        async with asyncio.timeout(LONG_S):
            await asyncio.gather(*tasks)
        sub = await sc.subscribe("foo", start_at="first")
        data = [message.data for message in await sub.fetch(51, 5)]
        assert list(dict.fromkeys(data))[1:] == [b"%d" % n for n in range(50)]
