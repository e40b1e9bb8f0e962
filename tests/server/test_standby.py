"""What a standby holds, lets go, and knows to be missing; and what an active has settled."""

from stan.server.settling import Questions, Settling
from stan.server.standby import FRAME_BYTES, Standby
from stan.wire.frames import Frame

ROOMY = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1000

    def __call__(self) -> int:
        return self.now_ns


def frame(number: int, size: int = 0) -> Frame:
    return b"s", b"r", (b"%d" % number).ljust(size, b"x")


def listening(most_bytes: int = ROOMY) -> tuple[Standby, Clock]:
    clock = Clock()
    standby = Standby(most_bytes, clock)
    standby.listen()
    return standby, clock


def test_what_arrived_is_taken_in_order_and_once() -> None:
    standby, clock = listening()
    standby.receive([frame(1), frame(2)])
    clock.now_ns = 1005
    standby.receive([frame(3)])
    assert standby.held_frames == 3
    assert standby.held_bytes == 3 * (FRAME_BYTES + 3)
    assert standby.take() == [(1000, [frame(1), frame(2)]), (1005, [frame(3)])]
    assert (standby.held_frames, standby.held_bytes, standby.take()) == (0, 0, [])


def test_an_answer_of_nats_that_nobody_listens_is_held_like_any() -> None:
    standby, _ = listening()
    standby.receive([(b"s", b"", None)])
    assert standby.take() == [(1000, [(b"s", b"", None)])]


def test_what_is_settled_is_let_go() -> None:
    standby, clock = listening()
    for now_ns in (1000, 1010, 1020):
        clock.now_ns = now_ns
        standby.receive([frame(now_ns)])
    standby.settle(1010)
    assert standby.held_frames == 2
    assert [arrived for arrived, _ in standby.take()] == [1010, 1020]
    assert standby.dropped_frames == 0


def test_without_room_the_oldest_goes_and_is_counted() -> None:
    standby, clock = listening(most_bytes=3 * (FRAME_BYTES + 102))
    for number in range(5):
        clock.now_ns = 2000 + number
        standby.receive([frame(number, 100)])
    assert standby.dropped_frames == 2
    assert standby.gap_ns == 2001
    assert [arrived for arrived, _ in standby.take()] == [2002, 2003, 2004]


def test_a_chunk_larger_than_the_room_leaves_nothing() -> None:
    standby, _ = listening(most_bytes=100)
    standby.receive([frame(1), frame(2)])
    assert (standby.dropped_frames, standby.held_frames, standby.take()) == (2, 0, [])


def test_what_was_sent_before_it_listened_may_be_missing_until_it_is_settled() -> None:
    standby, _ = listening()
    assert standby.gap_ns == 1000
    standby.settle(1000)
    assert standby.gap_ns == 1000
    standby.settle(1001)
    assert standby.gap_ns == 0


def test_what_was_dropped_is_no_loss_once_it_is_settled() -> None:
    standby, clock = listening(most_bytes=FRAME_BYTES + 102)
    standby.settle(1001)
    clock.now_ns = 2000
    standby.receive([frame(1, 100)])
    clock.now_ns = 2010
    standby.receive([frame(2, 100)])
    assert standby.gap_ns == 2000
    standby.settle(2005)
    assert (standby.gap_ns, standby.held_frames) == (0, 1)


def test_whoever_listens_anew_holds_nothing_old() -> None:
    standby, clock = listening()
    standby.receive([frame(1)])
    clock.now_ns = 3000
    standby.listen()
    assert (standby.take(), standby.gap_ns) == ([], 3000)


# What is settled.


def test_a_batch_that_takes_all_settles_what_came_before_it() -> None:
    settling = Settling(1)
    settling.seal(10, last=5, first_left=0, is_all_queued=True)
    assert settling.settled_ns == 1
    settling.commit()
    assert settling.settled_ns == 10


def test_a_queue_that_is_never_empty_is_settled_as_well() -> None:
    settling = Settling(1)
    settling.seal(10, last=10, first_left=5, is_all_queued=True)
    settling.commit()
    assert settling.settled_ns == 1
    settling.seal(20, last=16, first_left=10, is_all_queued=True)
    settling.commit()
    assert settling.settled_ns == 1
    settling.seal(30, last=18, first_left=11, is_all_queued=True)
    settling.commit()
    assert settling.settled_ns == 10
    settling.seal(40, last=20, first_left=15, is_all_queued=True)
    settling.commit()
    assert settling.settled_ns == 10


def test_a_batch_that_failed_settles_nothing() -> None:
    settling = Settling(1)
    settling.seal(10, last=5, first_left=0, is_all_queued=True)
    settling.fail()
    settling.seal(20, last=5, first_left=0, is_all_queued=True)
    assert settling.settled_ns == 1
    settling.commit()
    assert settling.settled_ns == 20


def test_what_is_not_in_the_queue_is_not_settled_by_it() -> None:
    settling = Settling(1)
    settling.seal(10, last=5, first_left=0, is_all_queued=False)
    settling.commit()
    assert settling.settled_ns == 1
    settling.rest(30)
    assert settling.settled_ns == 30


def test_what_came_at_the_very_moment_of_the_mark_may_not_be_settled() -> None:
    questions = Questions()
    assert questions.ask("a", moment_ns=7, now_ns=100, settled_ns=100) == 0
    assert questions.ask("a", moment_ns=8, now_ns=110, settled_ns=100) == 0
    assert questions.ask("a", moment_ns=9, now_ns=120, settled_ns=101) == 7


def test_a_question_is_answered_when_what_came_before_it_is_settled() -> None:
    questions = Questions()
    assert questions.ask("a", moment_ns=7, now_ns=100, settled_ns=90) == 0
    assert questions.ask("b", moment_ns=3, now_ns=101, settled_ns=90) == 0
    assert questions.ask("a", moment_ns=8, now_ns=110, settled_ns=99) == 0
    assert questions.ask("a", moment_ns=9, now_ns=120, settled_ns=105) == 7
    assert questions.ask("a", moment_ns=10, now_ns=130, settled_ns=119) == 0
    assert questions.ask("a", moment_ns=11, now_ns=140, settled_ns=140) == 9
    assert questions.ask("b", moment_ns=4, now_ns=140, settled_ns=120) == 3
