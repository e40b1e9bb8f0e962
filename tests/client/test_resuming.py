"""Coming back: what the session does when the server or NATS goes and returns, decided without
any I/O. The test plays the server, and time is turned by hand."""

import itertools

import pytest

from stan.client.events import Gap, Interrupted, Lost, Resumed
from stan.client.feed import STALE, Feed
from stan.client.pulse import wait_ns
from stan.errors import ClientIDTakenError, ConnectionLostError, PublishError, PublishTimeoutError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import (
    ConnectRequest,
    ConnectResponse,
    First,
    NewOnly,
    SequenceStart,
    SubscriptionRequest,
    SubscriptionResponse,
    TimeDeltaStart,
    UnsubscribeRequest,
)
from tests.client.stage import CONNECT, PINGS, SUB_CLOSE, SUBSCRIBE, UNKNOWN, Stage

DEDUPE = {"dedupeWindow": 120_000}
NO_SERVER = "stan: no streaming server listens"
REFUSED = "stan: invalid publish request"


def opened(**options: object) -> Stage:
    """Toward a server that recognises what is sent again."""
    stage = Stage(**options)
    stage.open(**DEDUPE)
    return stage


# Noticing.


def test_nats_that_goes_is_seen_at_once_and_asked_when_it_is_back() -> None:
    stage = opened()
    stage.lose_nats()
    assert not stage.session.is_up
    assert stage.events() == [Interrupted("nats: disconnected")]
    stage.pass_time(60)
    assert stage.sent() == []
    stage.regain_nats()
    stage.known()
    assert stage.session.is_up
    assert stage.events() == [Resumed(pytest.approx(60.1), 0, False)]  # type: ignore[arg-type]


def test_nobody_listens_to_a_ping() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.answer(stage.sent(PINGS)[0], None)
    assert stage.events() == [Interrupted(NO_SERVER)]


def test_nobody_listens_to_a_publish() -> None:
    stage = opened()
    stage.publish()
    stage.sent()
    stage.receive("_INBOX.x.acks", None)
    assert not stage.session.is_up
    assert [one.subject for one in stage.sent()] == [PINGS]


def test_a_dead_server_is_noticed_within_ten_seconds() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.known()
    stage.pass_time(9.9)
    assert stage.events() == [Interrupted("stan: connection lost due to PING failure")]


def test_a_loop_that_stood_still_is_no_dead_server() -> None:
    stage = opened()
    stage.pass_time(5)
    for _ in range(20):
        stage.pass_time(0.5)
        stage.now_ns += 30 * SECOND_NS  # nothing runs, answers included
        stage.session.tick(stage.now_ns)
        stage.session.tick(stage.now_ns)
        stage.known()
    assert stage.events() == []
    assert stage.session.is_up


def test_a_slow_answer_is_no_dead_server() -> None:
    stage = opened()
    for _ in range(10):
        stage.pass_time(5)
        ping = stage.sent(PINGS)[0]
        stage.pass_time(2.5)
        stage.pong(ping)
    assert stage.events() == []


def test_waits_grow_and_are_random() -> None:
    longest = [wait_ns(gone_s * SECOND_NS, lambda: 1.0) for gone_s in (0, 3, 60, 3600)]
    assert longest == sorted(longest)
    assert longest[1] <= 0.4 * SECOND_NS
    assert longest[3] == 5 * SECOND_NS
    assert wait_ns(60 * SECOND_NS, lambda: 0.0) == longest[2] // 2


def test_a_server_that_is_away_is_asked_ever_more_rarely() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.answer(stage.sent(PINGS)[0], None)
    counts = []
    for _ in range(3):
        stage.pass_time(20)
        counts.append(len(stage.sent(PINGS)))
    assert counts[0] > counts[1] > counts[2] >= 4


def test_a_loss_is_final_only_when_it_is_given_up() -> None:
    stage = opened(give_up_after=3.0)
    stage.lose_nats()
    stage.pass_time(2.9)
    assert not stage.session.ended
    stage.pass_time(0.2)
    assert isinstance(stage.session.lost, ConnectionLostError)
    assert [type(event) for event in stage.events()] == [Interrupted, Lost]


# Publishing.


def test_what_has_no_ack_is_sent_again_in_order_and_what_was_never_sent_for_the_first_time() -> (
    None
):
    stage = opened()
    first, acked, second = (stage.publish(data) for data in (b"1", b"2", b"3"))
    stage.sent()
    stage.ack(acked)
    stage.pass_time(0.25)
    stage.lose_nats()
    held = stage.publish(b"4")
    assert stage.sent() == []
    stage.regain_nats()
    assert stage.published() == []  # asked first
    stage.known()
    again = stage.published()
    assert [one.guid for one in again] == [first.guid, second.guid, held.guid]
    assert [one.data for one in again] == [b"1", b"3", b"4"]
    assert [one.resentAfter for one in again] == [350, 350, 0]
    [_, resumed] = stage.events()
    assert (resumed.resent, resumed.registered_again) == (2, False)
    stage.ack(first, duplicate=True)
    stage.ack(first)
    assert first.duplicate
    assert first.error is None


def test_what_was_not_written_when_nats_went_is_sent_for_the_first_time() -> None:
    stage = opened()
    stage.publish(b"written")
    stage.sent()
    stage.publish(b"not written")
    stage.lose_nats()
    stage.regain_nats()
    stage.known()
    assert [(one.data, one.resentAfter > 0) for one in stage.published()] == [
        (b"written", True),
        (b"not written", False),
    ]


@pytest.mark.parametrize(
    ("resend", "dedupe", "expected"),
    [
        ("safe", {}, [(b"held", False)]),
        ("never", DEDUPE, [(b"held", False)]),
        ("always", {}, [(b"sent", False), (b"held", False)]),
        ("always", DEDUPE, [(b"sent", True), (b"held", False)]),
    ],
)
def test_what_is_sent_again_where(
    resend: str, dedupe: dict[str, int], expected: list[tuple[bytes, bool]]
) -> None:
    stage = Stage(resend=resend)
    stage.open(**dedupe)
    sent = stage.publish(b"sent")
    stage.sent()
    stage.lose_nats()
    stage.publish(b"held")
    stage.regain_nats()
    stage.known()
    assert [(one.data, one.resentAfter > 0) for one in stage.published()] == expected
    assert not sent.done
    stage.pass_time(30)
    stage.settle()
    assert isinstance(sent.error, PublishTimeoutError)


def test_what_is_older_than_the_server_remembers_is_not_sent_again() -> None:
    stage = Stage(pub_ack_wait=300.0)
    stage.open(dedupeWindow=10_000)
    stage.publish(b"old")
    stage.sent()
    stage.lose_nats()
    stage.pass_time(10)
    stage.regain_nats()
    stage.known()
    assert stage.published() == []


def test_an_interruption_does_not_move_the_deadline() -> None:
    stage = opened(pub_ack_wait=30.0)
    receipt = stage.publish()
    stage.sent()
    stage.lose_nats()
    stage.pass_time(29.9)
    stage.settle()
    assert not receipt.done
    stage.pass_time(0.2)
    stage.settle()
    assert isinstance(receipt.error, PublishTimeoutError)


def test_a_publish_that_an_unknowing_server_refused_is_sent_again_after_registering() -> None:
    stage = Stage()
    stage.open()  # even where nothing is recognised: a refused publish is not stored
    receipt = stage.publish()
    stage.sent()
    stage.ack(receipt, REFUSED)
    assert not receipt.done
    stage.registered()
    [again] = stage.published()
    assert (again.guid, again.resentAfter) == (receipt.guid, 0)
    stage.ack(receipt)
    assert receipt.done
    assert receipt.error is None


def test_a_publish_that_a_knowing_server_refused_is_refused() -> None:
    stage = opened()
    receipt = stage.publish()
    stage.sent()
    stage.ack(receipt, REFUSED)
    stage.known()
    stage.settle()
    assert isinstance(receipt.error, PublishError)
    assert str(receipt.error) == REFUSED
    assert stage.published() == []


def test_a_second_interruption_sends_again_what_is_still_open() -> None:
    stage = opened()
    receipts = [stage.publish(b"%d" % n) for n in range(3)]
    stage.sent()
    for done in range(3):
        stage.lose_nats()
        stage.regain_nats()
        stage.known()
        assert [one.guid for one in stage.published()] == [r.guid for r in receipts[done:]]
        stage.ack(receipts[done])


# Acks that do not come.


def test_a_publish_without_an_ack_has_the_server_asked() -> None:
    stage = opened()
    stage.publish()
    stage.sent()
    stage.pass_time(0.29)
    assert stage.sent() == []
    stage.pass_time(0.02)
    [ping] = stage.sent()
    stage.answer(ping, None)  # it died with our publish
    assert stage.events() == [Interrupted(NO_SERVER)]
    stage.pass_time(0.1)
    stage.known()
    assert len(stage.published()) == 1


def test_acks_that_come_are_waited_for() -> None:
    stage = opened()
    receipts = [stage.publish() for _ in range(20)]
    stage.sent()
    for receipt in receipts:
        stage.pass_time(0.2)
        stage.ack(receipt)
    assert stage.sent() == []


def test_a_server_that_came_back_unnoticed_is_sent_the_publish_again() -> None:
    stage = opened(pub_ack_wait=100.0)
    receipt = stage.publish()
    stage.sent()
    times = []
    for tenth in range(200):
        stage.pass_time(0.1)
        for ping in stage.sent(PINGS):
            stage.pong(ping)
        times += [tenth] * len(stage.published())
    assert 9 <= times[0] <= 13  # after a second
    assert times == sorted(set(times))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps)  # ever more rarely
    assert gaps[-1] >= 2 * gaps[0]
    assert stage.events() == []
    stage.ack(receipt)
    stage.pass_time(4)
    assert stage.published() == []


@pytest.mark.parametrize(("resend", "count"), [("safe", 0), ("never", 0), ("always", 1)])
def test_where_nothing_is_recognised_a_slow_server_is_given_time(resend: str, count: int) -> None:
    stage = Stage(resend=resend)
    stage.open()
    stage.publish()
    stage.sent()
    published = 0
    for tenth in range(80):
        stage.pass_time(0.1)
        for ping in stage.sent(PINGS):
            stage.pong(ping)
        published += len(stage.published())
        assert published == 0 or tenth > 40
    assert published == count


def test_asking_often_makes_no_dead_server() -> None:
    stage = opened()
    stage.publish()
    stage.pass_time(2.9)
    assert len(stage.sent(PINGS)) > 5
    assert stage.events() == []
    stage.pass_time(2)
    assert stage.events() == [Interrupted("stan: connection lost due to PING failure")]


# Registering again.


def test_a_server_that_forgot_us_is_told_again_who_we_are() -> None:
    stage = Stage()
    first = stage.open(**DEDUPE)
    stage.pass_time(5)
    again = stage.registered(**DEDUPE)
    assert (again.clientID, again.connID) == (first.clientID, first.connID)
    assert again.heartbeatInbox != first.heartbeatInbox
    assert again.resends
    stage.receive(first.heartbeatInbox, b"", "who.asks")
    assert stage.sent("who") == []  # who hears of the old registration, is nobody's server
    stage.receive(again.heartbeatInbox, b"", "who.asks")
    assert len(stage.sent("who")) == 1
    assert [type(event) for event in stage.events()] == [Interrupted, Resumed]


def test_a_registration_without_an_answer_is_asked_for_again_and_never_only_pinged() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.pong(stage.sent(PINGS)[0], UNKNOWN)
    stage.pass_time(10)
    requests = stage.sent()
    assert {request.subject for request in requests} == {CONNECT}
    inboxes = [ConnectRequest.FromString(one.payload).heartbeatInbox for one in requests]
    assert len(set(inboxes)) == len(inboxes) >= 3
    stage.lose_nats()
    stage.regain_nats()
    [request] = stage.sent()
    assert request.subject == CONNECT
    stage.answer(request, stage.accepted())
    assert stage.session.is_up


def test_a_late_pong_is_no_answer_to_a_registration() -> None:
    stage = opened()
    stage.pass_time(5)
    [ping] = stage.sent(PINGS)
    stage.pong(ping, UNKNOWN)
    stage.pass_time(0)
    stage.pong(ping)
    assert not stage.session.is_up


def test_a_client_id_that_somebody_else_holds_is_the_end() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.pong(stage.sent(PINGS)[0], UNKNOWN)
    for _ in range(100):
        if stage.session.ended:
            break
        stage.pass_time(0.5)
        for request in stage.sent(CONNECT):
            if request.subject == CONNECT:
                text = "stan: clientID already registered"
                stage.answer(request, ConnectResponse(error=text))
    assert isinstance(stage.session.lost, ClientIDTakenError)


def test_a_client_id_that_is_taken_for_a_moment_is_not() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.pong(stage.sent(PINGS)[0], UNKNOWN)
    stage.pass_time(0)
    for _ in range(2):
        [request] = stage.sent(CONNECT)
        stage.answer(request, ConnectResponse(error="stan: clientID already registered"))
        stage.pass_time(0.2)
    stage.answer(stage.sent(CONNECT)[0], stage.accepted())
    assert stage.session.is_up


def test_a_server_without_pings_is_registered_with_again() -> None:
    stage = Stage()
    stage.open(pingInterval=0)
    stage.publish()
    stage.sent()
    stage.receive("_INBOX.x.acks", None)
    stage.pass_time(0)
    assert [one.subject for one in stage.sent()] == [CONNECT]


# Subscribing again.


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
