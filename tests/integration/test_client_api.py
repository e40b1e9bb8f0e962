"""What people reach for: fetching, draining, flushing, acks in both forms, wrong arguments."""

import asyncio
from typing import Any

import pytest

import stan
from tests.integration.conftest import Connect

LONG_S = 20


async def fill(connection: stan.Connection, channel: str, count: int) -> None:
    for receipt in [await connection.publish_async(channel, b"%d" % n) for n in range(count)]:
        await receipt


async def test_next_msg_acknowledges_the_one_before(connect: Connect, channel: str) -> None:
    connection = await connect()
    await fill(connection, channel, 3)
    sub = await connection.subscribe(channel, start_at="first", durable="d")
    assert (await sub.next_msg(LONG_S)).sequence == 1
    assert (await sub.next_msg(LONG_S)).sequence == 2
    await sub.close()
    again = await connection.subscribe(channel, durable="d")
    message = await again.next_msg(LONG_S)
    assert (message.sequence, message.redelivered) == (2, True)


async def test_next_msg_without_a_message(connect: Connect, channel: str) -> None:
    connection = await connect()
    sub = await connection.subscribe(channel)
    with pytest.raises(stan.MessageTimeoutError, match="stan: no message in time"):
        await sub.next_msg(0.01)
    with pytest.raises(TimeoutError):
        await sub.next_msg(timeout=0)
    await fill(connection, channel, 1)
    assert (await sub.next_msg(LONG_S)).sequence == 1
    await sub.close()
    with pytest.raises(stan.InvalidSubscriptionError):
        await sub.next_msg(0.01)
    with pytest.raises(stan.InvalidSubscriptionError):
        await sub.fetch(1, 0.01)


async def test_fetch_gives_what_comes_in_time(connect: Connect, channel: str) -> None:
    connection = await connect()
    await fill(connection, channel, 5)
    sub = await connection.subscribe(channel, start_at="first", durable="d")
    assert [m.sequence for m in await sub.fetch(3, LONG_S)] == [1, 2, 3]
    assert [m.sequence for m in await sub.fetch(10, 0.2)] == [4, 5]
    assert await sub.fetch(10, 0.01) == []
    assert await sub.fetch(0) == []
    await connection.flush()
    await sub.close()
    again = await connection.subscribe(channel, durable="d")
    assert await again.fetch(1, 0.2) == []  # all acknowledged


async def test_fetching_is_not_for_callbacks(connect: Connect, channel: str) -> None:
    connection = await connect()
    sub = await connection.subscribe(channel, lambda message: None)
    for call in (sub.next_msg(1), sub.fetch(1, 1)):
        with pytest.raises(stan.ConfigError):
            await call


async def test_acks_in_both_forms(connect: Connect, channel: str) -> None:
    connection = await connect()
    await fill(connection, channel, 2)
    sub = await connection.subscribe(channel, start_at="first", durable="d", manual_acks=True)
    first, second = await sub.fetch(2, LONG_S)
    first.ack()
    await second.ack()
    await connection.flush()
    await sub.close()
    again = await connection.subscribe(channel, durable="d")
    assert await again.fetch(1, 0.2) == []


@pytest.mark.parametrize("kind", ["plain", "async", "iterated"])
async def test_draining_a_subscription_finishes_what_arrived(
    connect: Connect, channel: str, kind: str
) -> None:
    connection = await connect()
    await fill(connection, channel, 20)
    seen: list[int] = []
    release = asyncio.Event()

    async def slowly(message: stan.Message) -> None:
        await release.wait()
        seen.append(message.sequence)

    async def iterate(sub: stan.Subscription) -> None:
        async for message in sub:
            await slowly(message)

    callback: Any = {"plain": lambda m: seen.append(m.sequence), "async": slowly}.get(kind)
    sub = await connection.subscribe(channel, callback, start_at="first", durable="d")
    iterating = asyncio.create_task(iterate(sub)) if callback is None else None
    await connection.flush()  # by now all of them are here
    draining = asyncio.create_task(sub.drain(LONG_S))
    await asyncio.sleep(0)
    await connection.publish(channel, b"too late")
    release.set()
    async with asyncio.timeout(LONG_S):
        await draining
        if iterating is not None:
            await iterating
    assert seen == list(range(1, 21))
    again = await connection.subscribe(channel, durable="d")
    assert [m.sequence for m in await again.fetch(2, 1)] == [21]


async def test_draining_waits_no_longer_than_it_is_told(connect: Connect, channel: str) -> None:
    connection = await connect()
    await fill(connection, channel, 2)
    sub = await connection.subscribe(channel, start_at="first", durable="d")
    await sub.next_msg(LONG_S)
    await sub.drain(0.05)
    again = await connection.subscribe(channel, durable="d")
    assert [m.sequence for m in await again.fetch(2, LONG_S)] == [1, 2]


async def test_draining_a_connection_finishes_both_ways(connect: Connect, channel: str) -> None:
    connection = await connect()
    await fill(connection, channel, 10)
    seen: list[int] = []

    async def handle(message: stan.Message) -> None:
        await asyncio.sleep(0)
        seen.append(message.sequence)
        await connection.publish_async(f"{channel}.answers", b"%d" % message.sequence)

    await connection.subscribe(channel, handle, start_at="first")
    await connection.flush()
    receipts = [await connection.publish_async(f"{channel}.other", b"x") for _ in range(10)]
    await connection.drain(LONG_S)
    assert connection.is_closed
    assert [receipt.error for receipt in receipts] == [None] * 10
    assert seen == list(range(1, 11))
    reader = await connect()
    answers = await reader.subscribe(f"{channel}.answers", start_at="first")
    assert len(await answers.fetch(10, LONG_S)) == 10


async def test_flush_waits_for_what_was_published(connect: Connect, channel: str) -> None:
    connection = await connect()
    receipts = [await connection.publish_async(channel, b"x") for _ in range(100)]
    await connection.flush()
    assert all(receipt.done for receipt in receipts)
    await connection.close()
    with pytest.raises(stan.ConnectionClosedError):
        await connection.flush()


async def test_events_end_with_the_connection(connect: Connect) -> None:
    connection = await connect()
    events = connection.events()
    await connection.close()
    assert [event async for event in events] == []
    assert [event async for event in connection.events()] == []


@pytest.mark.parametrize(
    "arguments",
    [(5, b"x"), ("foo", "text"), ("foo", None), (None, b"x"), (["foo"], b"x"), ("foo", 5)],
)
async def test_arguments_of_another_kind_are_told(
    connect: Connect, arguments: tuple[Any, Any]
) -> None:
    connection = await connect()
    with pytest.raises(stan.ConfigError, match=r"data must be bytes|a channel is text"):
        await connection.publish(*arguments)
    with pytest.raises(stan.ConfigError, match="a channel is text"):
        await connection.subscribe(5)  # type: ignore[arg-type]
    with pytest.raises(stan.ConfigError, match="channel"):
        await connection.subscribe("\udcff")


async def test_a_nats_connection_that_is_none() -> None:
    with pytest.raises(stan.ConfigError, match="nats is a connected nats-py client"):
        await stan.connect("c", "me", nats="nats://127.0.0.1")  # type: ignore[arg-type]


async def test_options_of_nats_of_another_kind() -> None:
    with pytest.raises(stan.StanError):
        await stan.connect("c", "me", servers="nats://127.0.0.1:1", tls="yes")  # type: ignore[arg-type]
    with pytest.raises(stan.StanError):
        await stan.connect("c", "me", servers="not a url at all")


def test_the_version_is_that_of_the_package() -> None:
    assert stan.__version__.count(".") == 2


async def test_what_is_at_hand_shows_itself(connect: Connect, channel: str) -> None:
    connection = await connect()
    cluster = connection.cluster_id
    shown = f"<Connection {connection.client_id!r} to {cluster!r}, "
    assert repr(connection) == shown + "connected>"
    sub = await connection.subscribe(channel, durable="d")
    assert repr(sub) == f"<Subscription {channel!r} durable='d', 0 delivered>"
    await sub.close()
    assert repr(sub) == f"<Subscription {channel!r} durable='d', ended>"
    await connection.close()
    assert repr(connection) == shown + "closed>"
