"""Delivery: max-in-flight, acks, redelivery, history, groups; and faults that once were."""

from typing import Any

import pytest

from stan.engine import invariants
from stan.engine.records import History, RangeLoad
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import StartPosition
from tests.tools.rig import Rig, ack, limited, publish, subscription

ALL: dict[str, Any] = {"startPosition": StartPosition.First}


def numbers(count: int) -> list[bytes]:
    return [b"%d" % n for n in range(1, count + 1)]


def test_max_in_flight_holds_and_acks_release_more_049(rig: Rig) -> None:
    inbox = rig.subscribe(maxInFlight=10).ackInbox
    rig.publish(*numbers(101))
    assert rig.sequences() == list(range(1, 11))
    rig.ack(inbox, 1, 2, 3)
    assert rig.sequences() == [11, 12, 13]


def test_redelivery_comes_every_ack_wait_and_counts_051(rig: Rig) -> None:
    rig.subscribe()
    rig.publish(b"x")
    (first,) = rig.messages()
    assert (first.redelivered, first.redeliveryCount) == (False, 0)
    for count in (1, 2, 3):
        rig.wait(SECOND_NS - MILLISECOND_NS)
        assert rig.messages() == []
        rig.wait(MILLISECOND_NS)
        (again,) = rig.messages()
        assert (again.sequence, again.redelivered, again.redeliveryCount) == (1, True, count)


def test_messages_are_redelivered_each_in_its_own_time_053(rig: Rig) -> None:
    rig.subscribe()
    rig.publish(b"a")
    rig.wait(100 * MILLISECOND_NS)
    rig.publish(b"b")
    rig.sent.clear()
    rig.wait(900 * MILLISECOND_NS)
    assert rig.sequences() == [1]
    rig.wait(100 * MILLISECOND_NS)
    assert rig.sequences() == [2]


def test_all_acked_means_silence_054(rig: Rig) -> None:
    inbox = rig.subscribe().ackInbox
    rig.publish(*numbers(3))
    rig.sent.clear()
    rig.ack(inbox, 1, 2, 3)
    rig.wait(3 * SECOND_NS)
    assert rig.sequences() == []


def test_an_evicted_message_is_not_sent_again_057() -> None:
    rig = Rig(limited(max_messages=1))
    rig.connect()
    rig.subscribe()
    rig.publish(b"a")
    rig.publish(b"b")
    rig.sent.clear()
    rig.wait(SECOND_NS)
    assert rig.sequences() == [2]
    (member,) = rig.engine.subscriptions.by_ack_inbox.values()
    assert list(member.in_flight) == [2]


@pytest.mark.parametrize("cache_bytes", [0, 200, 1 << 20])
def test_a_backlog_is_read_in_ranges(cache_bytes: int) -> None:
    rig = Rig(Settings(cache_bytes=cache_bytes, load_messages=3))
    rig.connect()
    rig.publish(*numbers(50))
    rig.subscribe(maxInFlight=100, **ALL)
    assert rig.sequences() == list(range(1, 51))


@pytest.mark.parametrize("payload", [b"", b"dummy", b"\x0a\x03bar\x10\x01", b"\x0a\x03foo"])
def test_acks_that_mean_nothing_are_ignored_059(rig: Rig, payload: bytes) -> None:
    inbox = rig.subscribe().ackInbox
    rig.publish(b"x")
    rig.receive((inbox.encode(), b"", payload))
    (member,) = rig.engine.subscriptions.by_ack_inbox.values()
    assert list(member.in_flight) == [1]


def test_an_ack_for_an_unknown_channel_is_an_error_line(rig: Rig) -> None:
    inbox = rig.subscribe().ackInbox
    rig.subscribe(inbox="other", channel="bar")
    rig.publish(b"x")
    rig.ack(inbox, 1, channel="bar")
    rig.ack(inbox, 7, channel="none")
    rig.ack("_INBOX.unknown", 8, channel="none")
    errors = [text for level, text in rig.notices if level == "error"]
    assert errors == ["Unable to process ack seq=7, channel none not found"]
    (member, _) = rig.engine.subscriptions.by_ack_inbox.values()
    assert list(member.in_flight) == [1]


def test_history_never_shows_what_is_not_true_yet(rig: Rig) -> None:
    rig.engine.cache.limit_bytes = 0
    rig.publish(b"a")
    rig.hold = rig.hold_loads = True
    rig.receive((rig.engine.subjects.subscribe.encode(), b"r",
                 subscription(**ALL).SerializeToString()))  # fmt: skip
    rig.publish(b"b")
    rig.commit()
    rig.run()
    (load,) = rig.loads
    assert isinstance(load, RangeLoad)
    assert rig.batch is not None
    rig.store.commit_now(rig.batch)
    history = rig.store.load_now(load)
    assert history.sequences == [1, 2]
    rig.engine.loaded(load, history, rig.now_ns)
    rig.loads = []
    invariants.check(rig.engine)
    rig.take()
    assert rig.sequences() == [1]


def test_waiting_for_history_multiplies_nothing(rig: Rig) -> None:
    rig.subscribe(maxInFlight=2)
    rig.publish(b"a", b"b")
    rig.sent.clear()
    rig.engine.cache.limit_bytes = 0
    rig.engine.cache.evict()
    rig.hold_loads = True
    rig.wait(20 * SECOND_NS)
    rig.hold_loads = False
    rig.run()
    assert rig.sequences() == [1, 2]


def test_a_load_that_fails_is_asked_again(rig: Rig) -> None:
    rig.engine.cache.limit_bytes = 0
    rig.publish(b"a")
    rig.hold_loads = True
    rig.subscribe(**ALL)
    (load,) = rig.loads
    rig.loads = []
    rig.engine.load_failed(load, OSError("away"), rig.now_ns)
    rig.hold_loads = False
    rig.run()
    assert rig.sequences() == [1]


def test_missing_sequences_are_skipped_061(rig: Rig) -> None:
    rig.engine.cache.limit_bytes = 0
    rig.publish(*numbers(5))
    rig.hold_loads = True
    rig.subscribe(**ALL)
    (load,) = rig.loads
    history = rig.store.load_now(load)
    rig.loads = []
    gap = History([1, 4], [history.framed[0], history.framed[3]])
    rig.engine.loaded(load, gap, rig.now_ns)
    rig.hold_loads = False
    rig.run()
    assert rig.sequences() == [1, 4, 5]


@pytest.mark.parametrize("group", ["", "g"])
def test_what_became_too_large_is_never_sent(rig: Rig, group: str) -> None:
    """The payload limit was lowered since; NATS would end the server's connection."""
    rig.subscribe(qGroup=group, durableName="d")
    rig.publish(b"a", b"b" * 5000, b"c", b"d" * 5000)
    rig.wait(SECOND_NS // 2)
    rig.settings.max_payload_bytes = 1000
    again = rig.restart()
    again.engine.start(again.now_ns)
    again.wait(2 * SECOND_NS)
    assert 1 in again.sequences()
    assert any("cannot be delivered" in text for _, text in again.notices)
    again.engine.cache.limit_bytes = 0
    again.engine.cache.evict()
    again.hold_loads = True
    again.subscribe(inbox="new", **ALL)
    assert again.loads
    for load in again.loads:
        history = again.store.load_now(load)
        gap = History(history.sequences[1:], history.framed[1:])
        again.engine.loaded(load, gap, again.now_ns)
    again.loads = []
    again.run()
    assert again.sequences("new") == []


def test_equal_members_take_turns_076(rig: Rig) -> None:
    for inbox in ("a", "b"):
        rig.subscribe(inbox=inbox, qGroup="g")
    rig.publish(*numbers(4))
    assert (rig.sequences("a"), rig.sequences("b")) == ([1, 3], [2, 4])


def test_a_stalled_member_blocks_nobody_083(rig: Rig) -> None:
    rig.subscribe(inbox="slow", qGroup="g", maxInFlight=1)
    rig.subscribe(inbox="fast", qGroup="g", maxInFlight=100)
    rig.publish(*numbers(10))
    assert len(rig.sequences("slow")) == 1
    assert len(rig.sequences("fast")) == 9


def test_a_leaving_member_hands_its_messages_over_082(rig: Rig) -> None:
    leaver = rig.subscribe(inbox="a", qGroup="g").ackInbox
    rig.subscribe(inbox="b", qGroup="g")
    rig.publish(*numbers(4))
    rig.sent.clear()
    rig.unsubscribe(leaver)
    rig.wait(100 * MILLISECOND_NS)
    assert [(m.sequence, m.redelivered) for m in rig.messages("b")] == [(1, True), (3, True)]


def test_a_late_ack_on_the_first_members_inbox_counts_085(rig: Rig) -> None:
    first = rig.subscribe(inbox="a", qGroup="g").ackInbox
    rig.publish(b"x")
    rig.subscribe(inbox="b", qGroup="g")
    rig.wait(SECOND_NS)
    assert rig.sequences("b") == [1]
    rig.ack(first, 1)
    assert all(not m.in_flight for m in rig.engine.subscriptions.by_ack_inbox.values())


def test_a_member_that_leaves_does_not_take_the_position_along(rig: Rig) -> None:
    leaver = rig.subscribe(inbox="a", qGroup="g").ackInbox
    rig.subscribe(inbox="b", qGroup="g")
    rig.publish(b"x")
    rig.ack(leaver, 1)
    rig.unsubscribe(leaver)
    again = rig.restart()
    (member,) = again.engine.subscriptions.by_ack_inbox.values()
    assert (member.inbox, member.cursor.last_sent) == ("b", 1)


def test_nothing_is_sent_while_the_response_waits_039(rig: Rig) -> None:
    rig.hold = True
    rig.publish(b"x")
    payload = subscription(**ALL).SerializeToString()
    rig.receive((rig.engine.subjects.subscribe.encode(), b"answer", payload))
    rig.commit()
    rig.run()
    assert rig.sequences() == []
    rig.commit()
    rig.run()
    assert [subject for subject, _, _ in rig.sent if subject != b"acks"] == [b"answer", b"in"]


def test_acks_and_publishes_of_one_read_are_taken_together(rig: Rig) -> None:
    inbox = rig.subscribe(maxInFlight=1).ackInbox
    rig.publish(b"a", b"b")
    rig.sent.clear()
    rig.receive(ack(inbox, 1), publish(b"c"))
    assert rig.sequences() == [2]


def test_what_is_prepared_at_a_time_is_bounded_and_nobody_is_forgotten() -> None:
    rig = Rig(Settings(outbox_bytes=10_000))
    rig.connect()
    inboxes = [f"in{n}" for n in range(20)]
    for inbox in inboxes:
        rig.subscribe(inbox=inbox, maxInFlight=100)
    data = [b"%04d" % n + b"x" * 996 for n in range(5)]
    engine = rig.engine
    engine.receive([publish(part, guid="g") for part in data], rig.now_ns)
    rounds = 0
    for _ in range(2):  # delivered, and then sent again
        batch = engine.seal(rig.now_ns)
        if batch is not None:
            engine.committed(batch, rig.store.commit_now(batch), rig.now_ns)
        while True:
            invariants.check(engine)
            before = len(rig.sent)
            rig.take()
            assert sum(len(payload) for _, _, payload in rig.sent[before:]) < 17_000
            rounds += 1
            due_ns = engine.next_deadline_ns()
            if due_ns is None or due_ns > rig.now_ns:
                break
            engine.tick(rig.now_ns)
        for inbox in inboxes:
            assert rig.sequences(inbox) == [1, 2, 3, 4, 5]
        rig.now_ns += SECOND_NS
        engine.tick(rig.now_ns)
    assert rounds > 10
