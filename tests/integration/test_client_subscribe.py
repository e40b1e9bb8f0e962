"""Subscribing through the client to a running server."""

import asyncio
import datetime
import time
from typing import Any

import nats
import pytest

import stan
from tests.integration.conftest import Connect, fresh_name
from tests.tools.processes import NatsServer


class Inbox:
    """A callback that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[stan.Message] = asyncio.Queue()

    def __call__(self, message: stan.Message) -> None:
        self.messages.put_nowait(message)

    async def take(self, count: int = 1) -> list[stan.Message]:
        """Wait for that many messages."""
        async with asyncio.timeout(10):
            return [await self.messages.get() for _ in range(count)]


def sequences(messages: list[stan.Message]) -> list[int]:
    return [message.sequence for message in messages]


async def fill(connection: stan.Connection, channel: str, count: int) -> None:
    for receipt in [await connection.publish_async(channel, b"%d" % n) for n in range(count)]:
        await receipt


async def test_statement_128_new_only_begins_after_what_was_acked(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    await fill(connection, channel, 50)
    inbox = Inbox()
    await connection.subscribe(channel, inbox)
    await fill(connection, channel, 50)
    assert sequences(await inbox.take(50)) == list(range(51, 101))


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ({"start_at": "first"}, 1),
        ({"start_at": stan.StartPosition.LAST}, 5),
        ({"sequence": 3}, 3),
        ({"delta": 3600}, 1),
        ({"delta": datetime.timedelta(hours=1)}, 1),
        ({"time": time.time() - 3600}, 1),
        ({"start_at": "new"}, 6),
        ({}, 6),
    ],
)
async def test_start_positions(
    connect: Connect, channel: str, start: dict[str, Any], first: int
) -> None:
    connection = await connect()
    await fill(connection, channel, 5)
    inbox = Inbox()
    await connection.subscribe(channel, inbox, **start)
    await connection.publish(channel, b"last")
    assert sequences(await inbox.take(7 - first)) == list(range(first, 7))


async def test_async_callbacks_run_one_at_a_time_in_order(connect: Connect, channel: str) -> None:
    connection = await connect()
    running, seen, done = 0, list[int](), asyncio.Event()

    async def callback(message: stan.Message) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        seen.append(message.sequence)
        running -= 1
        if len(seen) == 200:
            done.set()

    await connection.subscribe(channel, callback, max_in_flight=10)
    await fill(connection, channel, 200)
    async with asyncio.timeout(10):
        await done.wait()
    assert seen == list(range(1, 201))


async def test_an_async_callback_may_publish_and_close_its_subscription(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    done = asyncio.Event()

    async def callback(message: stan.Message) -> None:
        await connection.publish(f"{channel}.answers", message.data)
        await message.subscription.close()
        done.set()

    subscription = await connection.subscribe(channel, callback)
    await connection.publish(channel, b"x")
    async with asyncio.timeout(10):
        await done.wait()
    assert not subscription.is_valid


async def test_iteration_acknowledges_when_the_next_message_is_asked_for(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    await fill(connection, channel, 5)
    subscription = await connection.subscribe(channel, start_at="first", max_in_flight=1)
    got: list[int] = []
    async with asyncio.timeout(10):
        async for message in subscription:
            got.append(message.sequence)
            if len(got) == 5:
                await connection.close()
    assert got == [1, 2, 3, 4, 5]


async def test_a_subscription_with_a_callback_cannot_be_iterated(
    connect: Connect, channel: str
) -> None:
    subscription = await (await connect()).subscribe(channel, lambda message: None)
    with pytest.raises(stan.ConfigError):
        aiter(subscription)


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_failing_callback_is_reported_and_its_message_comes_again(
    connect: Connect, channel: str, is_async: bool
) -> None:
    connection = await connect()
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    again: asyncio.Queue[stan.Message] = asyncio.Queue()

    def plain(message: stan.Message) -> None:
        if not message.redelivered:
            raise ValueError("not today")
        again.put_nowait(message)

    async def later(message: stan.Message) -> None:
        plain(message)

    await connection.subscribe(channel, later if is_async else plain, ack_wait=1)
    await connection.publish(channel, b"x")
    async with asyncio.timeout(10):
        message = await again.get()
    assert (message.sequence, message.redelivery_count) == (1, 1)
    assert [str(context["exception"]) for context in reported] == ["not today"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_callback_that_meets_a_cancelled_future_does_not_end_delivery(
    connect: Connect, channel: str, is_async: bool
) -> None:
    connection = await connect()
    reported: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    cancelled = loop.create_future()
    cancelled.cancel()
    got: asyncio.Queue[int] = asyncio.Queue()

    def plain(message: stan.Message) -> None:
        got.put_nowait(message.sequence)
        if message.sequence == 1:
            cancelled.result()

    async def later(message: stan.Message) -> None:
        got.put_nowait(message.sequence)
        if message.sequence == 1:
            await cancelled

    await connection.subscribe(channel, later if is_async else plain)
    async with asyncio.timeout(10):
        for sequence in (1, 2, 3):
            await connection.publish(channel, b"x")
            assert await got.get() == sequence
    assert [type(context["exception"]) for context in reported] == [asyncio.CancelledError]


async def test_a_plain_function_that_returns_a_coroutine_is_a_mistake(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    reported: asyncio.Queue[Any] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda _, c: reported.put_nowait(c))

    async def work(message: stan.Message) -> None:
        raise AssertionError("must not run")

    await connection.subscribe(channel, lambda message: work(message))
    await connection.publish(channel, b"x")
    async with asyncio.timeout(10):
        assert isinstance((await reported.get())["exception"], TypeError)


async def test_manual_acks_and_redelivery(connect: Connect, channel: str) -> None:
    connection = await connect()
    inbox = Inbox()
    await connection.subscribe(channel, inbox, manual_acks=True, ack_wait=1)
    await fill(connection, channel, 2)
    first, second = await inbox.take(2)
    await first.ack()
    assert not second.redelivered
    [again] = await inbox.take(1)
    assert (again.sequence, again.redelivered, again.redelivery_count) == (2, True, 1)
    again.ack()  # from plain code, without await


async def test_max_in_flight_holds_back_until_an_ack(connect: Connect, channel: str) -> None:
    connection = await connect()
    inbox = Inbox()
    await connection.subscribe(channel, inbox, manual_acks=True, max_in_flight=2)
    await fill(connection, channel, 3)
    first, second = await inbox.take(2)
    assert inbox.messages.empty()
    await second.ack()
    assert sequences(await inbox.take(1)) == [3]
    await first.ack()


async def test_statement_116_the_errors_of_ack(connect: Connect, channel: str) -> None:
    connection = await connect()
    auto, manual = Inbox(), Inbox()
    await connection.subscribe(channel, auto)
    closing = await connection.subscribe(channel, manual, manual_acks=True)
    kept = Inbox()
    await connection.subscribe(channel, kept, manual_acks=True)
    await connection.publish(channel, b"x")
    [message] = await auto.take()
    with pytest.raises(stan.ManualAckError, match="stan: cannot manually ack in auto-ack mode"):
        message.ack()
    [message] = await manual.take()
    await closing.close()
    with pytest.raises(stan.InvalidSubscriptionError, match="stan: invalid subscription"):
        message.ack()
    [message] = await kept.take()
    await connection.close()
    with pytest.raises(stan.InvalidConnectionError, match="stan: invalid connection"):
        message.ack()


async def test_statement_118_an_ack_wait_below_a_second_is_refused(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    with pytest.raises(stan.SubscribeError, match="stan: invalid ack wait time, should be >= 1s"):
        await connection.subscribe(channel, lambda message: None, ack_wait=0.02)


@pytest.mark.parametrize(
    ("channel_name", "options", "text"),
    [
        ("foo.*", {}, "stan: invalid subject"),
        ("foo", {"max_in_flight": 0}, "stan: invalid MaxInflight, should be >= 1"),
    ],
)
async def test_a_refused_subscription_keeps_the_words_and_leaves_nothing(
    connect: Connect, channel_name: str, options: dict[str, Any], text: str
) -> None:
    connection = await connect()
    assert connection.nats is not None
    before = len(connection.nats._subs)
    with pytest.raises(stan.SubscribeError) as raised:
        await connection.subscribe(channel_name, lambda message: None, **options)
    assert str(raised.value) == text
    assert len(connection.nats._subs) - before <= 1  # nats-py's own for requests


async def test_statement_122_the_methods_after_the_end(connect: Connect, channel: str) -> None:
    connection = await connect()
    subscription = await connection.subscribe(channel, lambda message: None)
    assert subscription.is_valid
    assert (subscription.delivered, subscription.dropped) == (0, 0)
    assert subscription.pending() == (0, 0)
    assert subscription.pending_limits() == (-1, -1)
    with pytest.raises(stan.ConfigError):
        subscription.set_pending_limits(0, 1)
    await subscription.unsubscribe()
    assert not subscription.is_valid
    assert (subscription.delivered, subscription.dropped) == (-1, -1)
    for method in (
        subscription.pending,
        subscription.max_pending,
        subscription.clear_max_pending,
        subscription.pending_limits,
        lambda: subscription.set_pending_limits(1, 1),
    ):
        with pytest.raises(stan.InvalidSubscriptionError, match="stan: invalid subscription"):
            method()
    for ending in (subscription.unsubscribe, subscription.close):
        with pytest.raises(stan.InvalidSubscriptionError, match="stan: invalid subscription"):
            await ending()


async def test_pending_limits_drop_and_the_server_sends_again(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    subscription = await connection.subscribe(channel, manual_acks=True, ack_wait=1)
    subscription.set_pending_limits(1, 1 << 20)
    probe = Inbox()
    await connection.subscribe(channel, probe)
    await fill(connection, channel, 2)
    await probe.take(2)
    got: list[int] = []
    async with asyncio.timeout(10):
        async for message in subscription:
            await message.ack()
            got.append(message.sequence)
            if len(got) == 2:
                break
    assert got == [1, 2]
    assert subscription.dropped >= 1


async def test_a_durable_resumes_after_close_and_is_gone_after_unsubscribe(
    connect: Connect, channel: str
) -> None:
    client_id = fresh_name("durable")
    inbox = Inbox()
    async with await connect(client_id) as connection:
        await fill(connection, channel, 3)
        await connection.subscribe(channel, inbox, durable="d", start_at="first")
        assert sequences(await inbox.take(3)) == [1, 2, 3]
    # The acks of the callback left before the close: nothing comes twice.
    async with await connect(client_id) as connection:
        await connection.publish(channel, b"x")
        subscription = await connection.subscribe(channel, inbox, durable="d", start_at="first")
        [message] = await inbox.take(1)
        assert (message.sequence, message.redelivered) == (4, False)
        await subscription.unsubscribe()
        await connection.subscribe(channel, inbox, durable="d", start_at="first")
        assert sequences(await inbox.take(4)) == [1, 2, 3, 4]


async def test_manual_acks_given_before_close_count(connect: Connect, channel: str) -> None:
    client_id = fresh_name("durable")
    inbox = Inbox()
    connection = await connect(client_id)
    await fill(connection, channel, 100)
    await connection.subscribe(channel, inbox, durable="d", start_at="first", manual_acks=True)
    for message in await inbox.take(100):
        message.ack()
    await connection.close()
    connection = await connect(client_id)
    await connection.subscribe(channel, inbox, durable="d")
    await connection.publish(channel, b"x")
    assert sequences(await inbox.take(1)) == [101]


async def test_a_queue_group_shares(connect: Connect, channel: str) -> None:
    inbox, members = Inbox(), []
    for _ in range(3):
        connection = await connect()
        members.append(await connection.subscribe(channel, inbox, queue="g", max_in_flight=5))
    await fill(connection, channel, 60)
    assert sorted(sequences(await inbox.take(60))) == list(range(1, 61))
    assert sum(member.delivered for member in members) == 60


async def test_subscribing_on_a_lent_connection_that_was_closed_leaves_nothing(
    connect: Connect, nats_server: NatsServer, channel: str
) -> None:
    lent = await nats.connect(nats_server.url)
    connection = await connect(nats=lent)
    await lent.close()
    with pytest.raises(stan.InvalidConnectionError, match="nats: connection closed"):
        await connection.subscribe(channel)
    assert not connection._driver.session._feeds
