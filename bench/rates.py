"""Rates beside each other: how many messages each subject gets, and the cells that tell of it.

What is measured is the caller's. Invariant: a ratio is of runs of the same round.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bench.cost import Cost, median_cost
from bench.peers import Peer
from bench.rounds import find_count, take_turns, tell_ratio
from bench.setting import MOST_MESSAGES, Setting

S = TypeVar("S")


class Rated(Protocol):
    """What was measured of a peer."""

    @property
    def rate(self) -> float: ...


M = TypeVar("M", bound=Rated)


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


def compare_peers(
    setting: Setting,
    count: Callable[[Peer], int],
    run: Callable[[Peer, int], M],
    tell: Callable[[Sequence[M]], list[str]],
) -> tuple[list[str], dict[Peer, list[M]]]:
    """The cells of a row with all peers, two of each that `tell` makes, and what was measured.
    Where the original fails, its cell says why. Raises RuntimeError when one of ours does."""
    counts = {peer: count(peer) for peer in setting.ours}
    failure = ""
    if setting.other is not None:
        try:
            counts[setting.other] = count(setting.other)
        except RuntimeError as error:
            failure = f"fails: {str(error).rpartition(': ')[2]}"
    taken = take_turns(tuple(counts), setting.repeat, lambda peer: run(peer, counts[peer]))
    cells = [cell for results in taken.values() for cell in tell(results)]
    if failure:
        cells += [failure, "", *("" for _ in setting.ours)]
    elif setting.other is not None:
        theirs = [each.rate for each in taken[setting.other]]
        cells += [tell_ratio([each.rate for each in taken[peer]], theirs) for peer in setting.ours]
    return [*cells, tell_counts(counts.values())], taken


def tell_result(results: Sequence[Result]) -> list[str]:
    """The median rate and cost."""
    rate = statistics.median(result.rate for result in results)
    return [f"{rate:,.0f}", str(median_cost([result.cost for result in results]))]


def tell_counts(counts: Iterable[int]) -> str:
    """How many messages each subject got."""
    return " / ".join(f"{count:,}" for count in counts)
