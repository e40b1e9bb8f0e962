"""Subscribing and leaving: validation in order, start positions, durables, limits."""

from typing import Any

import pytest

from stan.engine.settings import Settings
from stan.engine.subscriptions import COLON_IN_DURABLE, INVALID_REQUEST
from stan.errors import StoreRefusedError, StoreUnavailableError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import StartPosition, SubscriptionResponse
from stan.wire.subjects import MAX_SUBJECT_BYTES
from tests.tools.rig import Rig, limited, subscription

ACK_WAIT = "stan: invalid ack wait time, should be >= 1s"
MAX_IN_FLIGHT = "stan: invalid MaxInflight, should be >= 1"


# The faults of one request, each with its refusal, in the order in which they are found: a
# request that has all of them is refused for the first, without that one for the second.
FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("nobody asks", {"client_id": ""}, "stan: clientID missing"),
    ("no ack wait", {"ackWaitInSecs": 0}, ACK_WAIT),
    ("nothing in flight", {"maxInFlight": 0}, MAX_IN_FLIGHT),
    ("no such position", {"startPosition": 5}, "stan: invalid start position"),
    ("no such channel", {"channel": "foo*.bar"}, "stan: invalid subject"),
    ("a stranger asks", {"client_id": "nobody"}, "stan: unknown clientID"),
    ("a channel too many", {"channel": "another"}, "too many channels"),
    ("a colon", {"qGroup": "g", "durableName": "a:b"}, COLON_IN_DURABLE),
    ("taken", {"qGroup": "", "durableName": "d"}, "stan: duplicate durable registration"),
    ("a member too many", {"durableName": ""}, "too many subscriptions per channel"),
    ("no inbox", {"inbox": ""}, INVALID_REQUEST),
]


@pytest.mark.parametrize("at", range(len(FAULTS)), ids=[name for name, _, _ in FAULTS])
def test_of_several_faults_the_first_is_told_034(at: int) -> None:
    rig = Rig(limited(max_channels=1, max_subscriptions=1))
    rig.connect()
    rig.subscribe(durableName="d")
    fields: dict[str, Any] = {}
    for _, fault, _ in reversed(FAULTS[at:]):
        fields |= fault
    if FAULTS[at][2] == INVALID_REQUEST:
        rig.unsubscribe("in")
    assert rig.subscribe(**fields).error == FAULTS[at][2]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"ackWaitInSecs": -1}, ACK_WAIT),
        ({"maxInFlight": -1}, MAX_IN_FLIGHT),
        ({"startPosition": -1}, "stan: invalid start position"),
        ({"channel": "foo.>.*"}, "stan: invalid subject"),
        ({"client_id": "nobody"}, "stan: unknown clientID"),
    ],
)
def test_what_is_refused_creates_no_channel_034(
    rig: Rig, fields: dict[str, Any], error: str
) -> None:
    assert rig.subscribe(**fields).error == error
    assert not rig.engine.channels.by_name


@pytest.mark.parametrize("inbox", ["", "in\r\nPUB x 0", "x" * (MAX_SUBJECT_BYTES + 1)])
def test_an_inbox_that_nats_cannot_carry_is_refused_and_changes_nothing(inbox: str) -> None:
    rig = Rig(Settings(replace_durable=True))
    rig.connect()
    rig.subscribe(inbox="old", durableName="d")
    for fields in ({}, {"durableName": "d"}, {"qGroup": "g"}):
        assert rig.subscribe(inbox=inbox, **fields).error == INVALID_REQUEST
    (member,) = rig.engine.subscriptions.by_ack_inbox.values()
    assert (member.inbox, member.active) == ("old", True)


def test_the_durable_of_a_group_has_no_colon_but_the_channel_exists_036(rig: Rig) -> None:
    refused = rig.subscribe(inbox="", qGroup="g", durableName="a:b")
    assert "can't contain the character ':'" in refused.error
    assert list(rig.engine.channels.by_name) == ["foo"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"startPosition": StartPosition.NewOnly}, "new-only, seq=3"),
        ({"startPosition": StartPosition.LastReceived}, "last message, seq=2"),
        ({"startPosition": StartPosition.First}, "from beginning, seq=1"),
        (
            {"startPosition": StartPosition.SequenceStart, "startSequence": 7},
            "from sequence, asked_seq=7 actual_seq=3",
        ),
        (
            {"startPosition": StartPosition.TimeDeltaStart, "startTimeDelta": SECOND_NS},
            "from time time='2023-11-14 22:13:19.000000 +0000 UTC' seq=1",
        ),
        (
            {"startPosition": StartPosition.TimeDeltaStart, "startTimeDelta": 2**63 - 1},
            "from time time='1731-08-05 22:26:03.145224 +0000 UTC' seq=1",
        ),
    ],
)
def test_the_log_says_where_a_subscription_starts(
    rig: Rig, fields: dict[str, Any], words: str
) -> None:
    rig.publish(b"a", b"b")
    rig.subscribe(**fields)
    line = "[Client:me] Started new subscription, subject=foo, inbox=in, subid=1, sending "
    assert ("debug", line + words) in rig.notices


def test_the_log_tells_new_members_from_new_groups(rig: Rig) -> None:
    rig.subscribe(inbox="one", qGroup="g")
    rig.subscribe(inbox="two", qGroup="g")
    rig.unsubscribe("one")
    rig.unsubscribe("two")
    said = [text.split("] ")[1].split(", ")[0] for _, text in rig.notices if "[Client:me]" in text]
    assert said[-4:] == [
        "Started new queue subscription",
        "Added member to queue subscription",
        "Removed member from queue subscription",
        "Removed queue subscription",
    ]


def test_too_many_subscriptions_037() -> None:
    rig = Rig(limited(max_subscriptions=1))
    rig.connect()
    assert rig.subscribe().error == ""
    for fields in ({}, {"durableName": "d"}, {"qGroup": "g"}, {"qGroup": "g", "durableName": "d"}):
        assert rig.subscribe(**fields).error == "too many subscriptions per channel"


def test_the_response_precedes_the_first_message_039(rig: Rig) -> None:
    rig.hold = True
    payload = subscription(startPosition=StartPosition.First).SerializeToString()
    rig.receive((b"_STAN.sub.test-cluster", b"answer", payload))
    rig.publish(b"x")
    rig.hold = False
    rig.commit()
    rig.run()
    subjects = [subject for subject, _, _ in rig.sent]
    assert subjects.index(b"answer") < subjects.index(b"in")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"startPosition": StartPosition.NewOnly}, 21),
        ({"startPosition": StartPosition.LastReceived}, 20),
        ({"startPosition": StartPosition.First}, 11),
        ({"startPosition": StartPosition.SequenceStart, "startSequence": 0}, 11),
        ({"startPosition": StartPosition.SequenceStart, "startSequence": 1}, 11),
        ({"startPosition": StartPosition.SequenceStart, "startSequence": 14}, 14),
        ({"startPosition": StartPosition.SequenceStart, "startSequence": 21}, 21),
        ({"startPosition": StartPosition.SequenceStart, "startSequence": 2**64 - 1}, 21),
        ({"startPosition": StartPosition.TimeDeltaStart, "startTimeDelta": 3600 * SECOND_NS}, 11),
        ({"startPosition": StartPosition.TimeDeltaStart, "startTimeDelta": 5 * SECOND_NS}, 16),
        ({"startPosition": StartPosition.TimeDeltaStart, "startTimeDelta": 0}, 21),
        ({"startPosition": StartPosition.TimeDeltaStart, "startTimeDelta": -SECOND_NS}, 21),
        ({"startPosition": StartPosition.TimeDeltaStart, "startTimeDelta": 2**63 - 1}, 11),
        ({"startPosition": StartPosition.TimeDeltaStart, "startTimeDelta": -(2**63)}, 21),
    ],
)
def test_start_positions_043(fields: dict[str, Any], expected: int) -> None:
    rig = Rig(limited(max_messages=10))
    rig.connect()
    for number in range(20):
        rig.publish(b"%d" % number)
        rig.now_ns += SECOND_NS
    rig.subscribe(**fields)
    rig.publish(b"new")
    assert rig.sequences()[0] == expected


@pytest.mark.parametrize("position", range(5))
def test_an_empty_channel_starts_with_its_first_message_045(rig: Rig, position: int) -> None:
    rig.subscribe(startPosition=position, startSequence=10, startTimeDelta=SECOND_NS)
    rig.publish(b"x")
    assert rig.sequences() == [1]


def test_a_seek_that_fails_is_an_error_and_nothing_else(rig: Rig) -> None:
    rig.publish(b"a")
    rig.now_ns += SECOND_NS
    rig.publish(b"b")
    rig.hold_loads = True
    payload = subscription(startPosition=2, startTimeDelta=SECOND_NS // 2).SerializeToString()
    rig.receive((b"_STAN.sub.test-cluster", b"answer", payload))
    (load,) = rig.loads
    rig.loads = []
    rig.engine.load_failed(load, StoreUnavailableError("away"), rig.now_ns)
    rig.run()
    (answer,) = rig.take_payloads("answer")
    assert SubscriptionResponse.FromString(answer).error == "away"
    assert not rig.engine.subscriptions.by_ack_inbox


def test_a_durable_resumes_after_what_was_sent_063(rig: Rig) -> None:
    first = rig.subscribe(durableName="d").ackInbox
    rig.publish(b"a", b"b", b"c")
    rig.ack(first, 1, 3)
    assert rig.unsubscribe(first, close=True).error == ""
    rig.publish(b"d")
    rig.sent.clear()
    second = rig.subscribe(inbox="again", durableName="d", startPosition=0)
    assert second.ackInbox != first
    got = [(message.sequence, message.redelivered) for message in rig.messages("again")]
    assert got == [(2, True), (4, False)]


def test_pending_messages_are_resent_whatever_max_in_flight_says_069(rig: Rig) -> None:
    first = rig.subscribe(durableName="d").ackInbox
    rig.publish(*(b"%d" % n for n in range(5)))
    rig.unsubscribe(first, close=True)
    rig.subscribe(inbox="again", durableName="d", maxInFlight=1)
    assert rig.sequences("again") == [1, 2, 3, 4, 5]


def test_what_waited_to_be_resent_is_resent_once_after_a_resume(rig: Rig) -> None:
    first = rig.subscribe(durableName="d").ackInbox
    rig.publish(b"a", b"b", b"c")
    rig.engine.cache.limit_bytes = 0
    rig.engine.cache.evict()
    rig.hold_loads = True
    rig.wait(SECOND_NS)
    rig.unsubscribe(first, close=True)
    rig.subscribe(inbox="again", durableName="d")
    rig.hold_loads = False
    rig.run()
    assert rig.sequences("again") == [1, 2, 3]


def test_a_durable_resumes_in_order_whatever_waited_before_068(rig: Rig) -> None:
    first = rig.subscribe(durableName="d").ackInbox
    rig.publish(b"a")
    rig.wait(SECOND_NS // 2)
    rig.publish(b"b")
    rig.wait(SECOND_NS // 2)
    rig.engine.cache.limit_bytes = 0
    rig.engine.cache.evict()
    rig.hold_loads = True
    rig.wait(SECOND_NS // 2)  # b waits for history
    rig.unsubscribe(first, close=True)
    rig.subscribe(inbox="again", durableName="d")
    rig.hold_loads = False
    rig.run()
    assert rig.sequences("again") == [1, 2]


def test_an_active_durable_is_not_shared_065(rig: Rig) -> None:
    rig.subscribe(durableName="d")
    assert rig.subscribe(durableName="d").error == "stan: duplicate durable registration"


def test_an_active_durable_may_be_replaced_066() -> None:
    rig = Rig(Settings(replace_durable=True))
    rig.connect()
    first = rig.subscribe(durableName="d").ackInbox
    rig.subscribe(inbox="second", durableName="d")
    rig.publish(b"x")
    assert (rig.sequences("in"), rig.sequences("second")) == ([], [1])
    assert rig.unsubscribe(first, close=True).error == "stan: invalid subscription"


def test_an_unsubscribed_durable_is_forgotten_067(rig: Rig) -> None:
    first = rig.subscribe(durableName="d").ackInbox
    rig.publish(b"a")
    rig.unsubscribe(first)
    rig.subscribe(inbox="again", durableName="d")
    rig.publish(b"b")
    assert rig.sequences("again") == [2]


def test_a_durable_group_outlives_its_members_079(rig: Rig) -> None:
    only = rig.subscribe(qGroup="g", durableName="d").ackInbox
    rig.publish(b"a", b"b")
    rig.ack(only, 1)
    rig.unsubscribe(only, close=True)
    rig.publish(b"c")
    rig.connect("you")
    rig.subscribe(inbox="next", client_id="you", qGroup="g", durableName="d")
    assert rig.sequences("next") == [2, 3]


def test_a_group_ends_with_its_last_member_078(rig: Rig) -> None:
    only = rig.subscribe(qGroup="g").ackInbox
    rig.publish(b"a", b"b")
    rig.unsubscribe(only, close=True)
    rig.subscribe(inbox="next", qGroup="g", startPosition=StartPosition.First)
    assert rig.sequences("next") == [1, 2]


@pytest.mark.parametrize(
    ("inbox", "channel", "client_id", "error"),
    [
        ("x", "none", "me", "stan: unknown channel"),
        ("x", "foo", "me", "stan: invalid subscription"),
        ("in", "foo", "you", "stan: unknown clientID"),
    ],
)
def test_unsubscribing_what_is_not_there_090(
    rig: Rig, inbox: str, channel: str, client_id: str, error: str
) -> None:
    rig.subscribe()
    for close in (False, True):
        assert rig.unsubscribe(inbox, channel, client_id, close).error == error
    assert len(rig.engine.subscriptions.by_ack_inbox) == 1


def test_the_delivery_inbox_will_do_091(rig: Rig) -> None:
    rig.subscribe()
    assert rig.unsubscribe("in", close=True).error == ""
    assert not rig.engine.subscriptions.by_ack_inbox


def test_a_refused_subscription_leaves_nothing_behind(rig: Rig) -> None:
    rig.hold = True
    payload = subscription(durableName="d").SerializeToString()
    rig.receive((b"_STAN.sub.test-cluster", b"answer", payload))
    rig.fail(StoreRefusedError("disk full"))
    (answer,) = rig.take_payloads("answer")
    assert SubscriptionResponse.FromString(answer).error == "disk full"
    assert not rig.engine.subscriptions.by_ack_inbox
    rig.hold = False
    rig.wait(SECOND_NS)
    assert rig.subscribe(durableName="d").error == ""
