"""Publishes of an interruption, and those that get no ack: what is sent again, when and how
often, decided without any I/O. The test plays the server, and turns the clock."""

import itertools

import pytest

from stan.client.events import Interrupted
from stan.errors import PublishError, PublishTimeoutError
from tests.client.stage import DEDUPE, PINGS, Stage, opened

NO_SERVER = "stan: no streaming server listens"
REFUSED = "stan: invalid publish request"


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
