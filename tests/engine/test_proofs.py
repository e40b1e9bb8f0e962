"""Deliveries wait for a proof of reading: bounded for each client, costing nobody else."""

import pytest

from stan.engine.proofs import ASK_AGAIN_NS
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.engine.views import View
from stan.units import SECOND_NS
from tests.tools.rig import Rig

DATA = b"x" * 80
BOUND = 1000
ACK_WAIT_NS = SECOND_NS


def bounded(**settings: int) -> Rig:
    """An engine with a small bound, a publisher, and a subscriber with a large window."""
    rig = Rig(Settings(client_pending_bytes=BOUND, **settings))
    rig.connect("publisher")
    rig.connect()
    return rig


def publish(rig: Rig, count: int, channel: str = "foo") -> None:
    """One at a time, so that each is a run of its own."""
    for number in range(count):
        rig.publish(b"%d" % number + DATA, channel=channel, client_id="publisher")


def questions(rig: Rig, client_id: str = "me") -> list[bytes]:
    """The reply subjects of the questions to a client so far."""
    inbox = f"hb.{client_id}".encode()
    asked = [reply for to, reply, _ in rig.sent if to == inbox]
    rig.take_payloads(inbox.decode())
    return asked


def test_a_question_leaves_behind_half_the_bound() -> None:
    rig = bounded()
    rig.subscribe(maxInFlight=1000)
    publish(rig, 4)
    assert questions(rig) == []
    publish(rig, 1)
    to = [subject for subject, _, _ in rig.sent if subject in (b"in", b"hb.me")]
    assert to == [b"in"] * 5 + [b"hb.me"]


def test_over_the_bound_a_subscription_waits_for_the_answer() -> None:
    rig = bounded()
    rig.subscribe(maxInFlight=1000)
    publish(rig, 30)
    got = rig.sequences()
    assert 7 <= len(got) <= 10
    (asked,) = questions(rig)
    # It proves what came before it: half the bound.
    rig.receive((asked, b"", b""))
    more = rig.sequences()
    assert 3 <= len(more) < 7
    assert got + more == list(range(1, len(got) + len(more) + 1))
    assert len(questions(rig)) == 1


def test_a_client_that_reads_gets_everything_in_order() -> None:
    rig = bounded()
    rig.subscribe(maxInFlight=1000)
    publish(rig, 50)
    got = rig.sequences()
    while asked := questions(rig):
        rig.receive(*((subject, b"", b"") for subject in asked))
        got += rig.sequences()
    assert got == list(range(1, 51))


def test_nobody_else_waits() -> None:
    rig = bounded()
    rig.connect("other")
    rig.subscribe(maxInFlight=1000)
    rig.subscribe(inbox="other", client_id="other", maxInFlight=1000)
    got: list[int] = []
    for _ in range(30):
        publish(rig, 1)
        got += rig.sequences("other")
        rig.receive(*((subject, b"", b"") for subject in questions(rig, "other")))
    assert got + rig.sequences("other") == list(range(1, 31))
    assert len(rig.sequences()) < 12


def test_in_a_group_a_held_member_is_passed_over() -> None:
    rig = bounded()
    rig.connect("other")
    rig.subscribe(maxInFlight=1000, qGroup="g")
    rig.subscribe(inbox="other", client_id="other", maxInFlight=1000, qGroup="g")
    got: list[int] = []
    for _ in range(60):
        publish(rig, 1)
        got += rig.sequences("other")
        rig.receive(*((subject, b"", b"") for subject in questions(rig, "other")))
    mine = rig.sequences()
    assert len(mine) < 12
    assert sorted(got + mine) == list(range(1, 61))


def test_a_group_whose_members_are_all_held_goes_on_with_the_first_answer() -> None:
    rig = bounded()
    rig.connect("other")
    rig.subscribe(maxInFlight=1000, qGroup="g")
    rig.subscribe(inbox="other", client_id="other", maxInFlight=1000, qGroup="g")
    publish(rig, 60)
    before = rig.sequences() + rig.sequences("other")
    assert len(before) < 24
    (asked,) = questions(rig, "other")
    rig.receive((asked, b"", b""))
    assert rig.sequences("other")
    assert rig.sequences() == []


def test_redelivery_is_bounded_too() -> None:
    rig = bounded()
    rig.subscribe(maxInFlight=1000)
    publish(rig, 6)
    assert rig.sequences() == [1, 2, 3, 4, 5, 6]
    for _ in range(20):
        rig.wait(ACK_WAIT_NS)
    assert len(rig.sequences()) < 8
    asked = questions(rig)[0]
    rig.receive((asked, b"", b""))
    assert 3 <= len(rig.sequences()) < 8


def test_a_held_member_hands_its_redeliveries_to_others() -> None:
    rig = bounded()
    rig.connect("other")
    rig.subscribe(maxInFlight=1000, qGroup="g")
    publish(rig, 30)
    mine = rig.sequences()
    assert len(mine) < 12
    rig.subscribe(inbox="other", client_id="other", maxInFlight=1000, qGroup="g")
    rig.wait(ACK_WAIT_NS + 20 * MILLISECOND_NS)
    got = rig.sequences("other")
    for _ in range(30):
        rig.receive(*((subject, b"", b"") for subject in questions(rig, "other")))
        got += rig.sequences("other")
    assert set(got) == set(range(1, 31))


@pytest.mark.parametrize("answer", [None, b""])
def test_what_nobody_answers_is_asked_again_and_fails_no_heartbeat(answer: bytes | None) -> None:
    rig = bounded(heartbeat_interval_ns=60 * SECOND_NS)
    rig.subscribe(maxInFlight=1000, ackWaitInSecs=100)
    publish(rig, 30)
    got = len(rig.sequences())
    (asked,) = questions(rig)
    rig.receive((asked, b"", None))  # nobody listens
    client = rig.engine.clients.by_id["me"]
    assert (client.failed_heartbeats, client.is_held) == (0, True)
    rig.wait(3 * ASK_AGAIN_NS)
    assert questions(rig) == [asked] * 3
    assert client.failed_heartbeats == 0
    rig.receive((asked, b"", answer))
    assert bool(rig.sequences()) == (answer is not None)
    assert got < 12


def test_a_client_that_reads_nothing_is_dropped_when_the_protocol_says_so() -> None:
    rig = bounded(heartbeat_interval_ns=30 * SECOND_NS, heartbeat_fail_count=2)
    rig.subscribe(maxInFlight=1000)
    began_ns = rig.now_ns
    publish(rig, 30)
    dropped_ns = 3 * 40 * SECOND_NS
    rig.wait(dropped_ns - 1)
    assert "me" in rig.engine.clients.by_id
    rig.wait(1)
    assert "me" not in rig.engine.clients.by_id
    assert rig.now_ns == began_ns + dropped_ns
    assert rig.engine.proofs.asked == {}


def test_subscriptions_of_one_client_take_turns() -> None:
    rig = bounded()
    rig.subscribe(maxInFlight=1000)
    rig.subscribe(channel="bar", inbox="bar", maxInFlight=1000)
    publish(rig, 30)
    publish(rig, 30, "bar")
    assert rig.sequences("bar") == []
    for _ in range(4):
        rig.receive(*((subject, b"", b"") for subject in questions(rig)))
    assert len(rig.sequences("bar")) > 2


def test_without_a_bound_nobody_is_asked() -> None:
    rig = bounded()
    free = Rig(Settings(client_pending_bytes=0))
    free.connect("publisher")
    free.connect()
    for each in (rig, free):
        each.subscribe(maxInFlight=1000)
        publish(each, 30)
    assert len(free.sequences()) == 30
    assert questions(free) == []


def test_a_restart_begins_with_nothing_unproven() -> None:
    rig = bounded()
    rig.subscribe(maxInFlight=1000)
    publish(rig, 30)
    again = rig.restart()
    assert again.engine.clients.by_id["me"].unproven_bytes == 0
    again.engine.start(again.now_ns)
    again.run()
    again.wait(2 * ACK_WAIT_NS)
    assert again.messages()


def test_a_larger_window_than_the_server_gives_is_capped_and_said() -> None:
    rig = Rig(Settings(max_in_flight_limit=5))
    rig.connect("publisher")
    rig.connect()
    rig.subscribe(maxInFlight=1000)
    rig.subscribe(inbox="small", maxInFlight=5)
    assert [text for level, text in rig.notices if level == "warning"] == [
        "[Client:me] A subscription to foo asked for 1000 messages in flight and gets 5 "
        "(max_inflight_limit)"
    ]
    publish(rig, 8)
    assert len(rig.sequences()) == 5
    views = View(rig.engine).channel_subscriptions("foo")
    assert {one.max_in_flight for one in views} == {5}
