"""The order of turns, and how many messages a load gets."""

import pytest

from bench.rounds import find_count, round_count, take_turns, tell_ratio


def test_everybody_has_a_turn_each_round_and_nobody_is_always_first() -> None:
    order: list[str] = []

    def measure(subject: str) -> int:
        order.append(subject)
        return len(order)

    taken = take_turns("abc", 3, measure)
    assert order == list("abcbcacab")
    assert taken == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_the_ratio_is_of_pairs() -> None:
    # The medians alone, 4 and 2, would say 2.
    assert tell_ratio([1, 4, 9], [2, 1, 3]) == "3.00 (0.50-4.00)"
    assert tell_ratio([1], [2]) == "0.50"


@pytest.mark.parametrize(("rate", "expected"), [(50.0, 160), (123_456.0, 410_000), (1e9, 500_000)])
def test_a_load_gets_as_many_messages_as_the_time_takes(rate: float, expected: int) -> None:
    tried: list[int] = []

    def rate_of(messages: int) -> float:
        tried.append(messages)
        return rate

    assert find_count(rate_of, 100, 3.0, 500_000) == expected
    assert tried[0] == 100
    assert tried[-1] / rate >= 0.6 or tried[-1] == 500_000


def test_a_load_that_does_not_move_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="100 messages were tried and none arrived"):
        find_count(lambda _: 0.0, 100, 3.0, 500_000)


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.2, 1), (7.4, 7), (99, 99), (123, 120), (165_432.5, 170_000)]
)
def test_counts_are_of_two_digits(value: float, rounded: int) -> None:
    assert round_count(value) == rounded
