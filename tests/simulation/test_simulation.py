"""Seeds of the simulated world. `make sim SEEDS=n` runs as many more as one likes."""

import pytest

from stan.engine.records import OutboxLoad, OutboxRow
from tests.simulation.runs import run_many, run_seed
from tests.simulation.world import KINDS, choose_kind
from tests.simulation.writers import OutboxTable

SEEDS = range(1000)
STEPS = 2000

# Each of these once failed, because of the engine or of the simulation itself, in a world
# whose limits stayed as they were.
REGRESSIONS = (69, 74, 93, 165, 199, 255, 387, 717, 1431, 2820, 3297)


def test_no_seed_fails() -> None:
    assert run_many(SEEDS, STEPS, jobs=2) == 0


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_a_seed_that_failed_once_passes(seed: int) -> None:
    report, _ = run_seed(seed, STEPS, check_every=1, steady=True, kind="plain")
    assert report == ""


# The same of other kinds; each kind names what was wrong.
RESENDING = (
    3,  # a publish that was held unmarked, and its copy, were both stored
    8,  # the same, and one of the two was refused
    10,  # a copy of what was stored was refused by a full server
    52,  # a channel was deleted under a publish that was held
    336,  # a publish that looked like the last one passed those that were held
)
FAILOVER = (
    42,  # the close of an earlier session ended the one that was registered
    0, 65, 292,  # what a new leader hears late the last one may have stored
    113,  # members froze while they were frozen
    7789,  # a frozen member handed over
    7057,  # what came at the very moment of the last mark was taken for settled
    1265,  # a client registered again, and believed in what it had subscribed before
    6986,  # a grant that was told again was taken for a new one
)  # fmt: skip

SESSION = (
    2045,  # a copy that was refused was sent again without a mark
    546, 634,  # the refusal of an earlier copy was taken for that of the last one
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        *(("session", seed) for seed in SESSION),
        *(("resending", seed) for seed in RESENDING),
        *(("failover", seed) for seed in FAILOVER),
    ],
)
def test_a_seed_of_another_kind_that_failed_once_passes(kind: str, seed: int) -> None:
    report, _ = run_seed(seed, STEPS, check_every=1, kind=kind)
    assert report == ""


def test_there_are_worlds_of_each_kind() -> None:
    assert {choose_kind(seed) for seed in SEEDS} == set(KINDS)


def test_publishes_are_sent_again_and_recognised() -> None:
    worlds = [run_seed(seed, STEPS, kind="resending")[1] for seed in range(4)]
    assert sum(world.store.published.duplicates for world in worlds if world is not None) > 0


def test_the_real_session_publishes_and_is_told_the_truth() -> None:
    worlds = [run_seed(seed, STEPS, check_every=1, kind="session") for seed in range(8)]
    assert [report for report, _ in worlds] == [""] * 8
    assert sum(world.chronicle.acks for _, world in worlds if world is not None) > 0


def test_members_of_a_group_take_over_and_are_deposed() -> None:
    worlds = [run_seed(seed, STEPS, kind="failover")[1] for seed in range(8)]
    members = [member for world in worlds if world is not None for member in world.members]
    assert sum(member.takeovers for member in members) > len(worlds)


def test_rows_of_the_outbox_become_messages_whenever_they_become_visible() -> None:
    worlds = [run_seed(seed, STEPS, kind="outbox") for seed in range(8)]
    assert [report for report, _ in worlds] == [""] * 8
    tables = [world.store.outbox for _, world in worlds if world is not None]
    assert sum(table.stored for table in tables) > 1000
    assert sum(table.out_of_order for table in tables) > 100
    assert sum(table.dropped for table in tables) > 100
    assert sum(len(table.parked) for table in tables) > 10


def test_a_reader_that_kept_a_position_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would skip what becomes visible behind later rows."""
    load = OutboxTable.load
    position = 0

    def load_behind(self: OutboxTable, wanted: OutboxLoad) -> list[OutboxRow]:
        nonlocal position
        rows = [row for row in load(self, wanted) if row.row_id > position]
        position = max([position, *[row.row_id for row in rows]])
        return rows

    monkeypatch.setattr(OutboxTable, "load", load_behind)
    assert "AssertionError: row " in run_seed(0, STEPS, kind="outbox")[0]


def test_limits_change_in_some_worlds() -> None:
    worlds = [run_seed(seed, STEPS, check_every=1, kind="plain")[1] for seed in range(4)]
    changes = [world.limit_changes for world in worlds if world is not None]
    assert len(changes) == 4
    assert 0 in changes
    assert max(changes) > 1


def test_a_seed_is_reproducible() -> None:
    worlds = [run_seed(7, STEPS)[1] for _ in range(2)]
    assert worlds[0] is not None
    assert worlds[1] is not None
    assert worlds[0].lines() == worlds[1].lines()
    assert worlds[0].store.batch_number == worlds[1].store.batch_number > 0
