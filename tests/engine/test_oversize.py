"""Messages larger than NATS carries: stopped to the byte, said once, and tried again."""

import pytest

from stan.engine.publishing import PAYLOAD_TOO_LARGE
from stan.engine.settings import Settings
from stan.units import SECOND_NS
from stan.wire.messages import frame_message, framed_bytes
from stan.wire.stan_pb2 import StartPosition
from tests.tools.rig import Rig, limited, publish

WAIT_NS = SECOND_NS
ALL = {"startPosition": StartPosition.First}
GROUPS = pytest.mark.parametrize("group", ["", "g"])


def stored(*sizes: int) -> tuple[Rig, int]:
    """An engine with messages of these payloads, and the size of the last one delivered."""
    rig = Rig(Settings(load_messages=2))
    rig.connect()
    rig.subscribe(inbox="probe")
    rig.publish(*(b"%d" % number + b"x" * size for number, size in enumerate(sizes)))
    encoded = len(rig.take_payloads("probe")[-1])
    rig.unsubscribe("probe")
    rig.sent.clear()
    rig.notices.clear()
    return rig, encoded


def oversize_lines(rig: Rig) -> list[str]:
    return [text for level, text in rig.notices if "exceeds the maximum payload" in text]


@pytest.mark.parametrize("size", [0, 1, 9, 10, 99, 100, 999, 1000, 99_999, 100_000])
def test_the_size_of_a_framed_message_is_known_before(size: int) -> None:
    assert framed_bytes(size) == len(frame_message(b"x" * size))


@GROUPS
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("over", [-1, 0, 1, 3, 6, 7, 14, 20])
@pytest.mark.parametrize("size", [50, 70, 900, 1950, 9950])
def test_a_new_message_over_the_limit_is_not_sent(
    size: int, over: int, cached: bool, group: str
) -> None:
    rig, encoded = stored(3, size)
    rig.engine.change_max_payload(encoded - over, rig.now_ns)
    if not cached:
        rig.engine.cache.limit_bytes = 0
        rig.engine.cache.evict()
    rig.subscribe(qGroup=group, **ALL)
    assert rig.sequences() == ([1] if over > 0 else [1, 2])
    assert len(oversize_lines(rig)) == (1 if over > 0 else 0)


@GROUPS
@pytest.mark.parametrize("over", [-20, 0, 1, 3, 6, 7])
def test_a_message_over_the_limit_is_not_sent_again(over: int, group: str) -> None:
    rig, encoded = stored(3, 2000)
    rig.subscribe(qGroup=group, **ALL)
    assert rig.sequences() == [1, 2]
    rig.engine.change_max_payload(encoded - over, rig.now_ns)
    rig.wait(5 * WAIT_NS)
    assert set(rig.sequences()) == ({1} if over > 0 else {1, 2})
    assert len(oversize_lines(rig)) == (1 if over > 0 else 0)


@GROUPS
def test_one_line_for_each_subscription_that_stops(group: str) -> None:
    rig, encoded = stored(3, 500)
    rig.engine.change_max_payload(encoded - 1, rig.now_ns)
    rig.subscribe(qGroup=group, **ALL)
    rig.subscribe(inbox="other", channel="foo", **ALL)
    for number in range(100):
        rig.publish(b"%d" % number)
    assert rig.sequences() == rig.sequences("other") == [1]
    first, second = oversize_lines(rig)
    assert (
        first
        == second
        == (
            f"[Client:me] Message 2 of channel foo exceeds the maximum payload of {encoded - 1} "
            "bytes and cannot be delivered"
        )
    )


def test_who_resumes_hears_of_it_again() -> None:
    rig, encoded = stored(500)
    rig.engine.change_max_payload(encoded - 1, rig.now_ns)
    inbox = rig.subscribe(durableName="d", **ALL).ackInbox
    rig.unsubscribe(inbox, close=True)
    rig.subscribe(durableName="d")
    assert len(oversize_lines(rig)) == 2


@GROUPS
def test_what_was_stopped_is_tried_again_within_another_limit(group: str) -> None:
    rig, _ = stored(3, 500, 4, 900)
    rig.subscribe(qGroup=group, maxInFlight=2, **ALL)
    rig.engine.change_max_payload(600, rig.now_ns)
    rig.wait(3 * WAIT_NS)
    (member,) = rig.engine.subscriptions.by_ack_inbox.values()
    rig.ack(member.ack_inbox, 1, 2)
    rig.sent.clear()
    assert member.in_flight.keys() == {3}
    rig.engine.change_max_payload(1 << 20, rig.now_ns)
    rig.run()
    assert rig.sequences() == [4]


@GROUPS
def test_what_was_in_flight_is_sent_again_at_once_within_another_limit(group: str) -> None:
    rig, encoded = stored(500)
    rig.subscribe(qGroup=group, ackWaitInSecs=30, **ALL)
    assert rig.sequences() == [1]
    rig.engine.change_max_payload(encoded - 1, rig.now_ns)
    rig.wait(30 * SECOND_NS)
    assert rig.sequences() == []
    rig.engine.change_max_payload(encoded, rig.now_ns)
    rig.run()
    assert rig.sequences() == [1]


def test_the_same_limit_again_changes_nothing() -> None:
    rig, encoded = stored(500)
    rig.engine.change_max_payload(encoded - 1, rig.now_ns)
    rig.subscribe(**ALL)
    rig.engine.change_max_payload(encoded - 1, rig.now_ns)
    rig.publish(b"x")
    assert len(oversize_lines(rig)) == 1


def test_a_stopped_subscription_goes_on_when_limits_drop_the_message() -> None:
    rig, encoded = stored(500)
    rig.engine.change_max_payload(encoded - 1, rig.now_ns)
    rig.subscribe(**ALL)
    rig.engine.change_limits(limited(max_messages=1).limits, rig.now_ns)
    rig.publish(b"x")
    assert rig.sequences() == [2]
    (member,) = rig.engine.subscriptions.by_ack_inbox.values()
    assert not member.cursor.oversize


def test_publishes_are_looked_at_with_the_new_limit() -> None:
    rig = Rig()
    rig.connect()
    rig.hold = True
    rig.publish(b"sealed")
    rig.receive(*(publish(b"x" * 500, guid=f"early{number}") for number in range(3)))
    rig.engine.change_max_payload(300, rig.now_ns)
    rig.receive(publish(b"x" * 500, guid="late"))
    assert rig.acks() == [("late", PAYLOAD_TOO_LARGE)]
