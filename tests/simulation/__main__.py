"""Run seeds of the simulation: `python -m tests.simulation SEED...` or `--seeds N`.

With seeds named, each is run with every check and its last lines are printed when it
fails. With --seeds it runs that many, from --start on, in --jobs processes.
"""

import argparse
import sys
import time
import traceback
from multiprocessing import get_context

from tests.simulation.world import World


def run_seed(seed: int, steps: int, check_every: int = 4) -> tuple[str, World | None]:
    """The report of a failure (empty: none), and the world."""
    world = None
    try:
        world = World(seed, check_every)
        world.run(steps)
    except Exception:
        lines = world.lines()[-25:] if world is not None else []
        return "\n".join([f"seed {seed} failed:", *lines, traceback.format_exc(limit=-6)]), world
    return "", world


def _one(job: tuple[int, int]) -> tuple[int, str, int, int, int]:
    seed, steps = job
    report, world = run_seed(seed, steps)
    if world is None:
        return seed, report, 0, 0, 0
    return seed, report, world.observer.delivered, world.observer.acks, world.crashes


def run_many(seeds: range, steps: int, jobs: int) -> int:
    """Run them all; returns how many failed."""
    began = time.monotonic()
    failed: list[int] = []
    delivered = acks = crashes = 0
    with get_context("spawn").Pool(jobs) as pool:
        for seed, report, *counts in pool.imap_unordered(_one, [(s, steps) for s in seeds]):
            delivered, acks, crashes = (
                delivered + counts[0], acks + counts[1], crashes + counts[2],
            )  # fmt: skip
            if report:
                failed.append(seed)
                print(report, flush=True)
    print(
        f"{len(seeds)} seeds of {steps} steps in {time.monotonic() - began:.0f} s: "
        f"{acks} publishes acked, {delivered} messages sent, {crashes} crashes, "
        f"{len(failed)} failed {sorted(failed)}"
    )
    return len(failed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int, nargs="*", help="rerun these")
    parser.add_argument("--seeds", type=int, default=0, help="run so many")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--steps", type=int, default=2000, help="events before peace")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    failed = 0
    for seed in options.seed:
        report, world = run_seed(seed, options.steps, check_every=1)
        failed += bool(report)
        print(report or f"seed {seed} passed, {world and world.steps} steps")
    if options.seeds:
        seeds = range(options.start, options.start + options.seeds)
        failed += run_many(seeds, options.steps, options.jobs)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
