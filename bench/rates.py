"""Rates beside each other: how many messages each subject gets, and the cells that tell of it.

What is measured is the caller's. Invariant: a ratio is of runs of the same round.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.cost import Cost, median_cost
from bench.rounds import find_count, take_turns
from bench.setting import MOST_MESSAGES, Setting

S = TypeVar("S")


@dataclass(frozen=True)
class Result:
    """Messages a second, and what each process spent on one."""

    rate: float
    cost: Cost


def measure_each(
    setting: Setting,
    subjects: Sequence[S],
    run: Callable[[S, int], Result],
    first: int,
    most: int = MOST_MESSAGES,
) -> tuple[dict[S, int], dict[S, list[Result]]]:
    """How many messages last long enough for each, from `first` on, and what turns of that gave."""

    def count(subject: S) -> int:
        return find_count(lambda tried: run(subject, tried).rate, first, setting.seconds, most)

    counts = {subject: count(subject) for subject in subjects}
    return counts, take_turns(
        subjects, setting.repeat, lambda subject: run(subject, counts[subject])
    )


def tell_results(taken: Mapping[S, Sequence[Result]]) -> list[str]:
    """The median rate and cost of each subject."""
    cells = []
    for results in taken.values():
        rate = statistics.median(result.rate for result in results)
        cells += [f"{rate:,.0f}", str(median_cost([result.cost for result in results]))]
    return cells


def tell_counts(counts: Iterable[int]) -> str:
    """How many messages each subject got."""
    return " / ".join(f"{count:,}" for count in counts)
