"""A subscription in the hands of the user; the test plays NATS and the server."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

import stan
from stan.client import returning
from stan.wire.stan_pb2 import Ack, PingResponse, SubscriptionRequest, SubscriptionResponse
from tests.client.lent import (
    ACKS,
    NOBODY,
    PINGS,
    SILENCE,
    SUB_CLOSE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    LentNats,
    connected,
)
from tests.client.stage import UNKNOWN, Sent

UNREADABLE = b"\xff"
INVALID = SubscriptionResponse(error="stan: invalid subscription")
FORGOTTEN = SubscriptionResponse(error="stan: unknown clientID")


class Party:
    """A connection, the NATS below it, and what the event loop was told."""

    def __init__(self, nats: LentNats, connection: stan.Connection) -> None:
        self.nats = nats
        self.connection = connection
        self.reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.reported.append(context)
        )

    async def acked(self, count: int) -> list[int]:
        """Wait for so many acks; returns the sequences."""
        while len(self.nats.to(ACKS)) < count:
            await self.nats.asked(ACKS)
        return [Ack.FromString(one.payload).sequence for one in self.nats.to(ACKS)]


@pytest.fixture
async def party() -> AsyncIterator[Party]:
    nats = LentNats()
    party = Party(nats, await connected(nats))
    yield party
    await party.connection.close()


async def test_a_plain_callback_is_spared_what_cannot_be_read(party: Party) -> None:
    seen: list[int] = []
    await party.connection.subscribe("foo", lambda message: seen.append(message.sequence))
    await party.nats.feed(1, UNREADABLE, 2)
    assert seen == [1, 2]
    assert await party.acked(2) == [1, 2]
    assert len(party.reported) == 1


async def test_an_async_callback_is_spared_what_cannot_be_read(party: Party) -> None:
    seen: asyncio.Queue[int] = asyncio.Queue()

    async def take(message: stan.Message) -> None:
        seen.put_nowait(message.sequence)

    await party.connection.subscribe("foo", take)
    await party.nats.feed(1, UNREADABLE, 2)
    assert [await seen.get(), await seen.get()] == [1, 2]
    assert await party.acked(2) == [1, 2]
    assert len(party.reported) == 1


async def test_who_iterates_is_spared_what_cannot_be_read(party: Party) -> None:
    subscription = await party.connection.subscribe("foo")
    await party.nats.feed(UNREADABLE, 1)
    assert (await subscription.next_msg()).sequence == 1
    assert len(party.reported) == 1


async def test_a_partial_of_an_async_function_is_awaited(party: Party) -> None:
    seen: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    async def take(name: str, message: stan.Message) -> None:
        seen.put_nowait((name, message.sequence))

    await party.connection.subscribe("foo", partial(take, "mine"))
    await party.nats.feed(1)
    assert await seen.get() == ("mine", 1)
    assert await party.acked(1) == [1]


async def test_what_a_plain_callback_returns_does_not_matter(party: Party) -> None:
    await party.connection.subscribe("foo", lambda message: message)  # type: ignore[arg-type, return-value]
    await party.nats.feed(1)
    assert await party.acked(1) == [1]
    assert party.reported == []


async def test_a_task_that_is_cancelled_ends_without_an_ack(party: Party) -> None:
    running: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()

    async def endless(_: stan.Message) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.put_nowait(task)
        await asyncio.Event().wait()

    await party.connection.subscribe("foo", endless)
    await party.nats.feed(1)
    task = await running.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert party.reported == []
    assert party.nats.to(ACKS) == []


# Ending


async def test_a_server_that_closes_no_subscriptions_is_told_of() -> None:
    nats = LentNats()
    nats.connected.subCloseRequests = ""
    async with stan.connect("c", "me", nats=nats) as connection:
        subscription = await connection.subscribe("foo")
        with pytest.raises(stan.SubscribeError, match="not supported by server"):
            await subscription.close()
        await subscription.unsubscribe()


async def test_one_that_the_server_does_not_have_cannot_be_closed(party: Party) -> None:
    subscription = await party.connection.subscribe("foo")
    party.nats.answers[SUB_CLOSE] = [INVALID]
    with pytest.raises(stan.InvalidSubscriptionError):
        await subscription.close()


async def test_one_whose_first_answer_was_lost_may_be_closed_already(party: Party) -> None:
    subscription = await party.connection.subscribe("foo")
    party.nats.answers[SUB_CLOSE] = [NOBODY, INVALID]
    await subscription.close()
    assert len(party.nats.to(SUB_CLOSE)) == 2


async def test_another_refusal_is_told_in_the_words_of_the_server(party: Party) -> None:
    subscription = await party.connection.subscribe("foo")
    party.nats.answers[UNSUBSCRIBE] = [SubscriptionResponse(error="not today")]
    with pytest.raises(stan.SubscribeError, match="not today"):
        await subscription.unsubscribe()


def forget(party: Party) -> None:
    """From the next ping on the server knows us not, until we register."""
    party.nats.answers[PINGS] = [PingResponse(error=UNKNOWN)]


async def test_a_durable_that_the_server_forgot_is_taken_up_to_be_unsubscribed(
    party: Party,
) -> None:
    subscription = await party.connection.subscribe("foo", durable="d")
    forget(party)
    party.nats.answers[UNSUBSCRIBE] = [FORGOTTEN]
    party.nats.answers[SUBSCRIBE] = [NOBODY]  # and there is an interruption on the way
    await subscription.unsubscribe()
    assert len(party.nats.to(SUBSCRIBE)) == 3
    assert len(party.nats.to(UNSUBSCRIBE)) == 2
    with pytest.raises(stan.InvalidSubscriptionError):
        await subscription.unsubscribe()


async def test_a_plain_one_that_the_server_forgot_needs_no_end(party: Party) -> None:
    subscription = await party.connection.subscribe("foo")
    forget(party)
    party.nats.answers[UNSUBSCRIBE] = [FORGOTTEN]
    await subscription.unsubscribe()
    assert len(party.nats.to(UNSUBSCRIBE)) == 1
    assert len(party.nats.to(SUBSCRIBE)) == 1


# Beginning


async def test_a_client_that_the_server_forgot_subscribes_after_registering(party: Party) -> None:
    forget(party)
    party.nats.answers[SUBSCRIBE] = [FORGOTTEN]
    subscription = await party.connection.subscribe("foo")
    assert len(party.nats.to(SUBSCRIBE)) == 2
    await party.nats.feed(1)
    assert (await subscription.next_msg()).sequence == 1


async def test_a_refusal_of_a_server_that_knows_us_means_what_it_says(party: Party) -> None:
    party.nats.answers[SUBSCRIBE] = [FORGOTTEN, FORGOTTEN]
    with pytest.raises(stan.SubscribeError, match="unknown clientID"):
        await party.connection.subscribe("foo")
    assert len(party.nats.to(SUBSCRIBE)) == 2
    assert len(party.nats.to(PINGS)) == 1


async def test_a_refusal_of_a_server_that_goes_at_once_is_no_last_word(party: Party) -> None:
    async def refuse_and_go(sent: Sent) -> object:
        await party.nats.deliver(sent.reply, FORGOTTEN)
        await party.nats.deliver("_INBOX.me.acks", NOBODY)
        return SILENCE

    party.nats.answers[SUBSCRIBE] = [refuse_and_go]
    subscription = await party.connection.subscribe("foo")
    assert subscription.is_valid
    assert len(party.nats.to(SUBSCRIBE)) == 2


async def test_a_request_that_nats_cannot_carry_is_not_sent(party: Party) -> None:
    party.nats.payload_limit = 10
    with pytest.raises(stan.SubscribeError, match="maximum payload"):
        await party.connection.subscribe("foo")
    assert party.nats.to(SUBSCRIBE) == []


async def test_one_that_the_server_does_not_take_back_ends_with_its_words(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returning, "_PATIENCE_NS", 0)
    subscription = await party.connection.subscribe("foo")
    forget(party)
    party.nats.answers[SUBSCRIBE] = [SubscriptionResponse(error="no room")]
    await party.nats.deliver("_INBOX.me.acks", NOBODY)
    with pytest.raises(stan.SubscribeError, match="no room"):
        await subscription.next_msg(10)
    assert not subscription.is_valid
    [_, request] = party.nats.to(SUBSCRIBE)
    assert SubscriptionRequest.FromString(request.payload).subject == "foo"
