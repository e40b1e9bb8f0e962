"""Subscribing: where it begins, who acknowledges, what the end leaves."""

import asyncio
import time
from typing import Any

import pytest

from stan.aio.client import Client as STAN
from stan.aio.client import Msg
from stan.aio.errors import StanError
from tests.aio.conftest import Connect, fill, fresh_name, sequences


class Inbox:
    """A callback that keeps what it gets."""

    def __init__(self) -> None:
        self.msgs: asyncio.Queue[Msg] = asyncio.Queue()

    async def cb(self, msg: Msg) -> None:
        await self.msgs.put(msg)

    async def take(self, count: int = 1) -> list[Msg]:
        """Wait for that many messages."""
        async with asyncio.timeout(15):
            return [await self.msgs.get() for _ in range(count)]


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ({}, 6),
        ({"start_at": "new_only"}, 6),
        ({"start_at": "first"}, 1),
        ({"deliver_all_available": True}, 1),
        ({"deliver_all_available": True, "start_at": "last_received"}, 1),
        ({"start_at": "last_received"}, 5),
        ({"start_at": "sequence", "sequence": 3}, 3),
        ({"sequence": 3}, 6),
        ({"start_at": "time", "time": time.time() - 3600}, 1),
        ({"start_at": "time", "time": time.time() + 3600}, 6),
    ],
)
async def test_where_a_subscription_begins(
    sc: STAN, channel: str, start: dict[str, Any], first: int
) -> None:
    await fill(sc, channel, 5)
    inbox = Inbox()
    await sc.subscribe(channel, cb=inbox.cb, **start)
    await sc.publish(channel, b"6")
    assert sequences(await inbox.take(7 - first)) == list(range(first, 7))


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ({"start_at": "everything"}, "start_at is new_only"),
        ({"start_at": "sequence"}, "needs sequence="),
        ({"start_at": "time"}, "needs time="),
    ],
)
async def test_a_beginning_that_makes_no_sense(
    sc: STAN, channel: str, start: dict[str, Any], words: str
) -> None:
    with pytest.raises(StanError, match=words):
        await sc.subscribe(channel, **start)


async def test_a_message_and_its_subscription(sc: STAN, channel: str) -> None:
    inbox = Inbox()
    sub = await sc.subscribe(channel, cb=inbox.cb, queue="workers", durable_name="d")
    await sc.publish(channel, b"payload")
    [msg] = await inbox.take()
    assert (msg.data, msg.seq, msg.sequence) == (b"payload", 1, 1)
    assert (msg.subject, msg.proto.subject) == (channel, channel)
    assert (msg.redelivered, msg.proto.redelivered) == (False, False)
    assert abs(msg.timestamp / 1e9 - time.time()) < 3600
    assert repr(msg) == f"<nats streaming msg sequence=1, time={msg.timestamp}>"
    assert msg.sub is sub
    assert (sub.subject, sub.queue, sub.durable_name) == (channel, "workers", "d")
    assert sub.inbox
    assert sub.ack_inbox
    assert sub.pending_queue_size == 0
    await sub.close()
    assert sub.pending_queue_size == 0


async def test_a_durable_goes_on_after_close_and_starts_anew_after_unsubscribe(
    connect: Connect, channel: str
) -> None:
    client_id = fresh_name("durable")
    sc = await connect(client_id)
    await fill(sc, channel, 3)
    begin: dict[str, Any] = {"deliver_all_available": True, "durable_name": "d"}
    inbox = Inbox()
    sub = await sc.subscribe(channel, cb=inbox.cb, **begin)
    assert sequences(await inbox.take(3)) == [1, 2, 3]
    await sub.close()
    await fill(sc, channel, 1)
    await sc.close()

    sc = await connect(client_id)
    sub = await sc.subscribe(channel, cb=inbox.cb, **begin)
    assert sequences(await inbox.take()) == [4]
    await sub.unsubscribe()
    sub = await sc.subscribe(channel, cb=inbox.cb, **begin)
    assert sequences(await inbox.take(4)) == [1, 2, 3, 4]
    with pytest.raises(StanError, match="duplicate durable"):
        await sc.subscribe(channel, cb=inbox.cb, **begin)


async def test_a_queue_group_shares(connect: Connect, channel: str) -> None:
    one, two = await connect(), await connect()
    inboxes = [Inbox(), Inbox()]
    for sc, inbox in zip((one, two), inboxes, strict=True):
        # Neither acknowledges, so that each gets its part.
        await sc.subscribe(channel, queue="workers", cb=inbox.cb, manual_acks=True, max_inflight=5)
    await fill(one, channel, 10)
    shares = [sequences(await inbox.take(5)) for inbox in inboxes]
    assert sorted(shares[0] + shares[1]) == list(range(1, 11))


async def test_what_is_not_acknowledged_by_hand_comes_again(sc: STAN, channel: str) -> None:
    inbox = Inbox()
    await sc.subscribe(
        channel, cb=inbox.cb, manual_acks=True, ack_wait=1, max_inflight=2, start_at="first"
    )
    await fill(sc, channel, 3)
    first, second = await inbox.take(2)
    await sc.ack(first)
    [third] = await inbox.take()  # there is a place again
    await sc.ack(third)
    [again] = await inbox.take()
    assert sequences([first, second, third, again]) == [1, 2, 3, 2]
    assert again.redelivered
    assert again.data == second.data
    await sc.ack(again)


async def test_an_error_in_the_callback_is_told_and_nothing_is_acknowledged(
    sc: STAN, channel: str
) -> None:
    inbox, errors = Inbox(), asyncio.Queue[Exception]()

    async def cb(msg: Msg) -> None:
        await inbox.cb(msg)
        if not msg.redelivered:
            raise KeyError(msg.seq)

    async def error_cb(error: Exception) -> None:
        await errors.put(error)
        raise RuntimeError("the log tells this")

    await sc.subscribe(channel, cb=cb, error_cb=error_cb, ack_wait=1)
    await sc.publish(channel, b"x")
    assert [msg.redelivered for msg in await inbox.take(2)] == [False, True]
    async with asyncio.timeout(10):
        error = await errors.get()
    assert isinstance(error, KeyError)
    assert error.args == (1,)
    assert errors.empty()


async def test_a_subscription_without_callback_tells_of_each_message(
    sc: STAN, channel: str
) -> None:
    errors = asyncio.Queue[Exception]()
    sub = await sc.subscribe(channel, error_cb=errors.put)
    await sc.publish(channel, b"x")
    async with asyncio.timeout(10):
        assert isinstance(await errors.get(), TypeError)
    inbox = Inbox()
    sub.cb = inbox.cb
    await sc.publish(channel, b"y")
    assert sequences(await inbox.take()) == [2]


@pytest.mark.parametrize("end", ["close", "unsubscribe"])
async def test_ending_within_the_callback_and_acknowledging_after_it(
    sc: STAN, channel: str, end: str
) -> None:
    done: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def cb(msg: Msg) -> None:
        assert msg.sub is not None
        await getattr(msg.sub, end)()
        await sc.ack(msg)  # too late, and harmless
        done.set_result(msg)

    sub = await sc.subscribe(channel, cb=cb, manual_acks=True)
    await sc.publish(channel, b"x")
    async with asyncio.timeout(10):
        assert (await done).data == b"x"
    with pytest.raises(StanError, match="stan: invalid subscription"):
        await getattr(sub, end)()


async def test_a_program_of_the_old_tutorial(sc: STAN, channel: str) -> None:
    total = 0
    future: asyncio.Future[bool] = asyncio.Future()

    async def cb(msg: Msg) -> None:
        nonlocal total
        total += 1
        if total >= 2:
            future.set_result(True)

    await sc.publish(channel, b"hello")
    await sc.publish(channel, b"world")
    sub = await sc.subscribe(channel, start_at="first", cb=cb)
    await asyncio.wait_for(future, 10)
    await sub.unsubscribe()
    assert total == 2
