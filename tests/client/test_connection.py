"""A connection in the hands of the user; the test plays NATS and the server."""

import asyncio

import pytest

import stan
from stan.client import driver
from stan.client.driver import Driver
from stan.client.options import ConnectOptions
from stan.errors import ConnectionLostError
from stan.wire.stan_pb2 import CloseResponse
from tests.client.lent import CLOSE, CONNECT, NOBODY, PINGS, SILENCE, LentNats, connected
from tests.client.test_publishers import settle


async def test_an_answer_after_connecting_was_given_up_is_for_nobody() -> None:
    nats = LentNats()
    nats.answers[CONNECT] = [SILENCE]
    connecting = asyncio.create_task(connected(nats))
    request = await nats.asked(CONNECT)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    sent = len(nats.sent)
    await nats.deliver(request.reply, nats.connected)
    await settle()
    assert len(nats.sent) == sent


async def test_publishing_waits_for_a_socket_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_CONGESTED_BYTES", 0)
    nats = LentNats()
    async with stan.connect("c", "me", nats=nats) as connection:
        nats.gate.clear()
        first = await connection.publish_async("foo", b"1")
        await settle()
        second = asyncio.create_task(connection.publish_async("foo", b"2"))
        await settle()
        assert not second.done()
        nats.gate.set()
        await (await second)
        await first


async def test_a_socket_that_has_emptied_meanwhile_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "_CONGESTED_BYTES", 0)
    nats = LentNats()
    async with stan.connect("c", "me", nats=nats) as connection:
        for data in (b"1", b"2"):
            await connection.publish("foo", data)
    assert len(nats.to("_STAN.pub.c.foo")) == 2


async def test_who_does_not_wait_is_told_that_the_server_is_away() -> None:
    nats = LentNats()
    async with stan.connect("c", "me", nats=nats, while_disconnected="fail") as connection:
        nats.answers[PINGS] = [SILENCE]
        await nats.deliver("_INBOX.me.acks", NOBODY)
        with pytest.raises(stan.InvalidConnectionError, match="stan: reconnecting"):
            await connection.publish("foo", b"x")
        with pytest.raises(stan.InvalidConnectionError, match="stan: reconnecting"):
            await connection.subscribe("foo")
    assert nats.to("_STAN.pub.c.foo") == []


async def test_who_waits_for_a_place_is_sent_away_when_the_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "_CONGESTED_BYTES", 0)
    nats = LentNats()
    connection = await connected(nats)
    await connection.publish("foo", b"x")
    await connection.close()
    with pytest.raises(stan.ConnectionClosedError):
        await connection.publish("foo", b"x")


async def test_a_close_that_is_cancelled_still_gives_nats_back() -> None:
    nats = LentNats()
    nats.answers[CLOSE] = [SILENCE]
    connection = await connected(nats)
    closing = asyncio.create_task(connection.close())
    await nats.asked(CLOSE)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert connection.nats is None
    await connection.close()
    assert len(nats.to(CLOSE)) == 1


async def test_what_was_written_leaves_before_nats_is_given_back() -> None:
    nats = LentNats()
    connection = await connected(nats)
    nats.gate.clear()
    closing = asyncio.create_task(connection.close())
    await settle()
    closing.cancel()
    await settle()
    assert not closing.done()
    nats.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert len(nats.to(CLOSE)) == 1


@pytest.mark.parametrize("resume", [False, True])
async def test_a_close_that_the_server_refuses_is_an_error_only_without_resuming(
    resume: bool,
) -> None:
    nats = LentNats()
    nats.answers[CLOSE] = [CloseResponse(error="stan: unknown clientID")]
    connection = await connected(nats, resume=resume)
    if resume:
        await connection.close()
    else:
        with pytest.raises(stan.ConnectionLostError, match="unknown clientID"):
            await connection.close()
    assert connection.is_closed
    assert connection.nats is None


async def test_what_nats_does_before_there_is_a_session_matters_to_nobody() -> None:
    told: list[object] = []
    early = Driver(ConnectOptions("c", "me"), told.append)
    early.down("nats: disconnected")
    early.up()
    early.gone(ConnectionLostError("nats: connection closed"))
    assert told == []
    assert not early.is_lost
