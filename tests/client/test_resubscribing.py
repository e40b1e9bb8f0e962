"""Subscriptions that come back to a server that forgot them, and what cannot be made good,
decided without any I/O. The test plays the server, and turns the clock."""

import pytest

from stan.client.events import Gap, Interrupted, Resumed
from stan.client.feed import STALE, Feed
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import (
    First,
    NewOnly,
    SequenceStart,
    SubscriptionRequest,
    SubscriptionResponse,
    TimeDeltaStart,
    UnsubscribeRequest,
)
from tests.client.stage import CONNECT, PINGS, SUB_CLOSE, SUBSCRIBE, UNKNOWN, Sent, Stage, opened


def back(stage: Stage, seconds: float = 10) -> SubscriptionRequest:
    """The server goes, forgets, and is there again; returns how the feed was asked for."""
    stage.lose_nats()
    stage.pass_time(seconds)
    stage.regain_nats()
    stage.registered()
    return stage.accept_subscription()


def test_a_plain_subscription_goes_on_behind_the_last_message() -> None:
    stage = opened()
    feed = stage.subscribe(start_at="first")
    old_inbox = feed.inbox
    stage.deliver(feed, 1, 2, 3)
    stage.deliver(feed, 1, redelivered=True)
    request = back(stage)
    assert (request.startPosition, request.startSequence) == (SequenceStart, 4)
    assert request.inbox == feed.inbox != old_inbox
    assert stage.handed_out(feed) == [1, 2, 3, 1]
    stage.deliver(feed, 4)
    assert stage.handed_out(feed) == [4]
    [_, resumed] = stage.events()
    assert (resumed.registered_again, resumed.gaps) == (True, {})


@pytest.mark.parametrize(
    ("asked", "position", "delta_s"),
    [
        ({}, TimeDeltaStart, 12),
        ({"start_at": "last"}, TimeDeltaStart, 12),
        ({"start_at": "first"}, First, 0),
        ({"delta": 60}, TimeDeltaStart, 72),
        ({"sequence": 7}, SequenceStart, 0),
        ({"durable": "d"}, TimeDeltaStart, 12),
    ],
)
def test_what_got_nothing_yet_is_asked_for_as_it_was(
    asked: dict[str, object], position: int, delta_s: int
) -> None:
    stage = opened()
    stage.subscribe(**asked)
    stage.pass_time(1.9)
    request = back(stage)
    assert request.startPosition == position
    assert request.startTimeDelta == delta_s * SECOND_NS
    assert request.durableName == asked.get("durable", "")


@pytest.mark.parametrize("shared", [{"durable": "d"}, {"queue": "q"}])
def test_where_the_server_keeps_the_position_the_start_counts_only_if_it_forgot(
    shared: dict[str, str],
) -> None:
    stage = opened()
    feed = stage.subscribe(**shared)
    stage.pass_time(100)
    stage.known()
    stage.deliver(feed, 5)
    request = back(stage)
    assert (request.durableName, request.qGroup) == (
        shared.get("durable", ""),
        shared.get("queue", ""),
    )
    assert request.startPosition == TimeDeltaStart
    assert 10 * SECOND_NS <= request.startTimeDelta < 11 * SECOND_NS


def test_subscriptions_come_back_in_the_order_in_which_they_were_made() -> None:
    stage = opened()
    for _ in range(3):
        stage.subscribe()
    stage.pass_time(5)
    stage.registered()
    requests = stage.sent(SUBSCRIBE)
    assert len(requests) == 3
    assert stage.events()[-1] == Interrupted(UNKNOWN)
    for number, request in enumerate(requests):
        stage.answer(request, SubscriptionResponse(ackInbox=f"_INBOX.{number}"))
    assert isinstance(stage.events()[-1], Resumed)


def test_an_ack_belongs_to_the_registration_of_its_message() -> None:
    stage = opened()
    feed = stage.subscribe(durable="d")
    stage.deliver(feed, 1, 2)
    feed.take()
    in_hand = feed.epoch
    back(stage)
    stage.deliver(feed, 2, redelivered=True)
    assert in_hand != feed.epoch
    feed.take()
    assert feed.stale  # the second message of the old registration
    feed.take()
    assert not feed.stale
    assert feed.epoch != STALE


def test_acks_wait_for_nats_and_are_dropped_when_the_server_forgot() -> None:
    for knows in (True, False):
        stage = opened()
        feed = stage.subscribe()
        stage.deliver(feed, 1)
        stage.session.operations.append(feed.ack(1))
        stage.lose_nats()
        stage.session.operations.append(feed.ack(2))
        ack_inbox = feed.ack_inbox
        stage.session.reconnected(stage.now_ns)
        acks = list(stage.session.operations)
        assert len(acks) == 2
        stage.pass_time(0.1)
        if knows:
            stage.known()
            assert len(stage.sent(ack_inbox)) == 2
        else:
            stage.registered()
            assert stage.sent(ack_inbox) == []


def test_a_subscription_request_that_was_lost_is_repeated_on_another_inbox() -> None:
    stage = opened()
    feed = stage.subscribe()
    stage.pass_time(5)
    stage.registered()
    [lost] = stage.sent(SUBSCRIBE)
    stage.pass_time(2.1)
    [closing] = stage.sent(SUB_CLOSE)
    first = SubscriptionRequest.FromString(lost.payload)
    assert UnsubscribeRequest.FromString(closing.payload).inbox == first.inbox
    second = stage.accept_subscription()
    assert second.inbox not in ("", first.inbox)
    assert feed.is_open


def test_an_interruption_on_the_way_back_begins_again() -> None:
    stage = opened()
    feed = stage.subscribe(start_at="first")
    stage.deliver(feed, 1)
    stage.pass_time(5)
    stage.registered()
    stage.sent(SUBSCRIBE)
    stage.lose_nats()
    stage.regain_nats()
    stage.known()
    assert len(stage.sent(SUB_CLOSE)) == 1
    assert stage.accept_subscription().startSequence == 2
    assert feed.is_open
    stage.pass_time(0.3)
    assert isinstance(stage.events()[-1], Resumed)


def test_a_server_that_forgets_again_in_between_is_told_again() -> None:
    stage = opened()
    feed = stage.subscribe()
    stage.pass_time(5)
    stage.registered()
    stage.answer(stage.sent(SUBSCRIBE)[0], SubscriptionResponse(error="stan: unknown clientID"))
    stage.pass_time(0)
    stage.answer(stage.sent(CONNECT)[0], stage.accepted())
    stage.accept_subscription()
    assert feed.is_open


def test_a_refusal_may_pass() -> None:
    stage = opened()
    feed = stage.subscribe(durable="d")
    stage.pass_time(5)
    stage.registered()
    refusal = SubscriptionResponse(error="stan: duplicate durable registration")
    stage.answer(stage.sent(SUBSCRIBE)[0], refusal)
    stage.pass_time(1)
    stage.accept_subscription()
    assert feed.is_open
    assert stage.session.failed == []


def test_a_lasting_refusal_ends_the_subscription_with_the_words_of_the_server() -> None:
    stage = opened()
    feed = stage.subscribe()
    stage.pass_time(5)
    stage.registered()
    text = "too many subscriptions per channel"
    for _ in range(100):
        for ping in stage.sent(PINGS):
            stage.pong(ping)
        for request in stage.sent(SUBSCRIBE):
            stage.answer(request, SubscriptionResponse(error=text))
        stage.pass_time(1)
    [(failed, error)] = stage.session.failed
    assert failed is feed
    assert str(error) == text
    assert isinstance(stage.events()[-1], Resumed)


def test_one_that_is_closed_meanwhile_does_not_come_back() -> None:
    stage = opened()
    feed = stage.subscribe()
    stage.lose_nats()
    stage.session.close_feed(feed)
    stage.regain_nats()
    stage.registered()
    assert stage.sent(SUBSCRIBE) == []
    assert isinstance(stage.events()[-1], Resumed)


# What cannot be made good.


def returned(stage: Stage) -> Feed:
    """A plain feed that got 1 to 3, and was subscribed again."""
    feed = stage.subscribe(start_at="first")
    stage.deliver(feed, 1, 2, 3)
    back(stage)
    stage.handed_out(feed)
    return feed


def test_messages_that_limits_removed_are_told() -> None:
    stage = opened()
    feed = returned(stage)
    stage.deliver(feed, 10, 11)
    gap = Gap("foo", 4, 9)
    [_, told, resumed] = stage.events()
    assert told == gap
    assert resumed.gaps == {"foo": [gap]}
    assert stage.handed_out(feed) == [10, 11]
    stage.deliver(feed, 20)
    assert stage.events() == []


def test_a_gap_that_shows_late_is_told_late() -> None:
    stage = opened()
    feed = returned(stage)
    stage.pass_time(1)
    [_, resumed] = stage.events()
    assert resumed.gaps == {}
    stage.deliver(feed, 10)
    assert stage.events() == [Gap("foo", 4, 9)]


def test_a_channel_that_was_begun_anew_is_told_and_read_from_its_beginning() -> None:
    stage = opened()
    feed = returned(stage)
    wrong_inbox, wrong_acks = feed.inbox, feed.ack_inbox
    stage.deliver(feed, 2)  # the next one after we came, but not the first of the channel
    [closing] = stage.sent(SUB_CLOSE)
    assert UnsubscribeRequest.FromString(closing.payload).inbox == wrong_acks
    request = stage.accept_subscription()
    assert request.startPosition == First
    assert request.inbox != wrong_inbox
    assert stage.handed_out(feed) == []
    stage.deliver(feed, 1, 2)
    assert stage.handed_out(feed) == [1, 2]
    [_, gap, resumed] = stage.events()
    assert gap == Gap("foo", 4, 0, begun_anew=True)
    assert resumed.gaps == {"foo": [gap]}
    assert back(stage).startSequence == 3


def test_a_new_only_request_is_what_it_says() -> None:
    stage = opened()
    feed = stage.subscribe()
    assert feed.request.startPosition == NewOnly


def test_a_queue_group_that_began_at_the_first_message_still_does() -> None:
    stage = opened()
    feed = stage.subscribe(queue="q", start_at="first")
    stage.deliver(feed, 1, 2)
    request = back(stage)
    assert (request.startPosition, request.startTimeDelta) == (First, 0)


def test_what_cannot_be_read_proves_nothing() -> None:
    stage = opened()
    feed = returned(stage)
    stage.receive(feed.inbox, b"\xff")
    assert feed.gap is None
    assert feed.awaits_proof
    stage.deliver(feed, 6)
    assert Gap("foo", 4, 5) in stage.events()


def asked_again(stage: Stage, feed: Feed) -> Sent:
    """The server forgot the feed, and is asked for it; returns the request."""
    stage.lose_nats()
    stage.regain_nats()
    stage.registered()
    [request] = stage.sent(SUBSCRIBE)
    assert not feed.is_open
    return request


def test_one_that_is_closed_on_its_way_back_is_not_opened_by_the_answer() -> None:
    stage = opened()
    feed = stage.subscribe()
    request = asked_again(stage, feed)
    stage.session.close_feed(feed)
    stage.answer(request, SubscriptionResponse(ackInbox="_INBOX.late"))
    assert not feed.is_open


def test_an_answer_after_the_end_opens_nothing() -> None:
    stage = opened()
    feed = stage.subscribe()
    request = asked_again(stage, feed)
    stage.session.end()
    stage.answer(request, SubscriptionResponse(ackInbox="_INBOX.late"))
    assert not feed.is_open


def test_nobody_listens_to_one_on_its_way_back() -> None:
    stage = opened()
    feed = stage.subscribe()
    request = asked_again(stage, feed)
    stage.answer(request, None)
    assert not stage.session.is_up
    stage.pass_time(0.1)
    stage.known()
    stage.accept_subscription()
    assert feed.is_open
    assert stage.session.is_up


def test_a_gap_that_shows_before_the_answer_is_told_with_it() -> None:
    stage = opened()
    feed = stage.subscribe(start_at="first")
    stage.deliver(feed, 1, 2, 3)
    request = asked_again(stage, feed)
    stage.events()
    stage.deliver(feed, 6)
    assert stage.events() == []
    stage.answer(request, SubscriptionResponse(ackInbox="_INBOX.back"))
    assert stage.events()[0] == Gap("foo", 4, 5)
    assert stage.handed_out(feed) == [1, 2, 3, 6]


def test_a_channel_that_shows_itself_new_during_an_interruption_is_asked_for_after_it() -> None:
    stage = opened()
    feed = returned(stage)
    stage.publish()
    stage.sent()
    stage.receive("_INBOX.x.acks", None)
    assert not stage.session.is_up
    stage.deliver(feed, 1)
    assert Gap("foo", 4, 0, begun_anew=True) in stage.events()
    [first] = stage.sent(SUBSCRIBE)
    stage.known()
    [second] = stage.sent(SUBSCRIBE)
    inboxes = [SubscriptionRequest.FromString(one.payload).inbox for one in (first, second)]
    assert inboxes[0] != inboxes[1] == feed.inbox
    stage.answer(first, SubscriptionResponse(ackInbox="_INBOX.late"))
    assert not feed.is_open
    stage.answer(second, SubscriptionResponse(ackInbox="_INBOX.back"))
    assert feed.is_open


def test_a_server_that_closes_no_subscriptions_is_not_asked_to() -> None:
    stage = opened()
    feed = stage.subscribe()
    stage.session.subjects.subCloseRequests = ""
    stage.session.abandon(feed)
    assert stage.sent() == []
