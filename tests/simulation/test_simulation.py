"""Seeds of the simulated world. `make sim SEEDS=n` runs as many more as one likes."""

import pytest

from tests.simulation.runs import run_many, run_seed

SEEDS = range(300)
STEPS = 2000

# Each of these once failed, because of the engine or of the simulation itself, in a world
# whose limits stayed as they were.
REGRESSIONS = (69, 74, 93, 165, 199, 255, 387, 717, 1431, 2820, 3297)


def test_no_seed_fails() -> None:
    assert run_many(SEEDS, STEPS, jobs=2) == 0


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_a_seed_that_failed_once_passes(seed: int) -> None:
    report, _ = run_seed(seed, STEPS, check_every=1, steady=True)
    assert report == ""


def test_limits_change_in_some_worlds() -> None:
    worlds = [run_seed(seed, STEPS, check_every=1)[1] for seed in range(4)]
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
