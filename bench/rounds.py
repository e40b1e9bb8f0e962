"""Taking turns: how repeated measurements of several subjects are ordered and summed up.

Nothing here knows what is measured. Invariant: in every round each subject is measured
once, and no subject is always the first.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

S = TypeVar("S")
R = TypeVar("R")


def take_turns(subjects: Sequence[S], repeat: int, measure: Callable[[S], R]) -> dict[S, list[R]]:
    """Measure every subject `repeat` times, in rounds; results are in the order of rounds."""
    taken: dict[S, list[R]] = {subject: [] for subject in subjects}
    for turn in range(repeat):
        first = turn % len(subjects)
        for subject in [*subjects[first:], *subjects[:first]]:
            taken[subject].append(measure(subject))
    return taken


def tell_ratio(of: Sequence[float], to: Sequence[float]) -> str:
    """The median of the ratios of pairs measured in the same round; of several, the lowest and
    the highest behind it."""
    ratios = [one / other for one, other in zip(of, to, strict=True)]
    median = f"{statistics.median(ratios):.2f}"
    return median if len(ratios) == 1 else f"{median} ({min(ratios):.2f}-{max(ratios):.2f})"


def find_count(rate_of: Callable[[int], float], first: int, seconds: float, most: int) -> int:
    """How many messages last about this long.

    `rate_of` tries a number of messages and tells how many a second that were. The trials
    grow from `first` until one lasted a fifth of the time. Raises RuntimeError when nothing
    moves.
    """
    count = min(first, most)
    while True:
        rate = rate_of(count)
        if rate <= 0:
            raise RuntimeError(f"{count} messages were tried and none arrived")
        if count >= most or count / rate >= seconds / 5:
            return min(most, round_count(rate * seconds * 1.1))
        count = min(most, max(2 * count, int(rate * seconds / 3)))


def round_count(value: float) -> int:
    """A number of two significant digits, at least 1."""
    digits = len(str(int(value))) - 2
    return max(1, round(value) if digits <= 0 else round(int(value), -digits))
