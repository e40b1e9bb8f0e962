"""Running seeds: one at a time with its story, or many in several processes.

A failure is reported as text: the seed, the last things that happened, and where it broke.
Nothing here decides what is right; that is the observer's and the world's business.
"""

import time
import traceback
from multiprocessing import get_context

from tests.simulation.world import World


def run_seed(
    seed: int, steps: int, check_every: int = 4, steady: bool = False, kind: str = ""
) -> tuple[str, World | None]:
    """The report of a failure (empty: none), and the world."""
    world = None
    try:
        world = World(seed, check_every, steady, kind)
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
    return seed, report, world.chronicle.delivered, world.chronicle.acks, world.crashes


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
