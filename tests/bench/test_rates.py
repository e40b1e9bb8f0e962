"""A row of a table: the peers beside each other, and one that fails."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from bench.peers import Peer
from bench.rates import compare_peers
from bench.setting import Setting

PURE, ORIGINAL = Peer("pure", (), False), Peer("original", (), True)
SETTING = Setting((PURE,), ORIGINAL, ("memory",), {}, (), repeat=3, seconds=1)


@dataclass(frozen=True)
class Run:
    rate: float


def run(peer: Peer, messages: int) -> Run:
    return Run(messages * (2.0 if peer is PURE else 1.0))


def tell(runs: Sequence[Run]) -> list[str]:
    return [f"{runs[0].rate:g}", "cost"]


def test_a_row_has_all_peers_and_their_ratio() -> None:
    cells, taken = compare_peers(SETTING, lambda peer: 10, run, tell)
    assert cells == ["20", "cost", "10", "cost", "2.00 (2.00-2.00)", "10 / 10"]
    assert [len(runs) for runs in taken.values()] == [3, 3]


def test_where_the_original_fails_its_cell_says_why() -> None:
    def count(peer: Peer) -> int:
        if peer is ORIGINAL:
            raise RuntimeError("a message was refused: open /x: too many open files")
        return 10

    cells, _ = compare_peers(SETTING, count, run, tell)
    assert cells == ["20", "cost", "fails: too many open files", "", "", "10"]
    with pytest.raises(RuntimeError):
        compare_peers(replace(SETTING, ours=(ORIGINAL,)), count, run, tell)


def test_without_the_original_there_is_no_ratio() -> None:
    alone = replace(SETTING, other=None)
    cells, _ = compare_peers(alone, lambda peer: 10, run, tell)
    assert cells == ["20", "cost", "10"]
