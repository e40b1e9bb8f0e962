"""When a standby leaves a NATS server that is the active's, too."""

from itertools import pairwise

from stan.server.apart import FIRST_PAUSE_S, LONGEST_PAUSE_S, Apart


def test_it_goes_when_both_are_at_one_server_and_there_are_others() -> None:
    assert Apart().is_time_to_move("one", "one", 2, 100.0)
    assert not Apart().is_time_to_move("one", "one", 1, 100.0)
    assert not Apart().is_time_to_move("one", "two", 2, 100.0)
    assert not Apart().is_time_to_move("", "", 2, 100.0)


def test_it_does_not_go_round_and_round_while_all_others_are_down() -> None:
    apart, now_s, moves = Apart(), 0.0, []
    while now_s < 10 * LONGEST_PAUSE_S:
        if apart.is_time_to_move("one", "one", 3, now_s):
            moves.append(now_s)
        now_s += 0.5
    pauses = [later - sooner for sooner, later in pairwise(moves)]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_once_apart_it_goes_soon_when_they_meet_again() -> None:
    apart = Apart()
    for at in range(200):
        apart.is_time_to_move("one", "one", 2, float(at))
    assert not apart.is_time_to_move("one", "one", 2, 200.0)
    assert not apart.is_time_to_move("one", "two", 2, 201.0)
    later = 201.0 + LONGEST_PAUSE_S
    assert apart.is_time_to_move("one", "one", 2, later)
    assert apart.is_time_to_move("one", "one", 2, later + FIRST_PAUSE_S)
