"""Running seeds: one at a time with its story, or many in several processes.

A failure is reported as text: the seed, the last things that happened, and where it broke.
Nothing here decides what is right; that is the observer's and the world's business.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, fields
from multiprocessing import get_context

from tests.simulation.world import KINDS, World, choose_kind


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


@dataclass
class Count:
    """What happened in the worlds of one kind."""

    worlds: int = 0
    acks: int = 0
    duplicates: int = 0
    delivered: int = 0
    crashes: int = 0
    takeovers: int = 0
    failed: int = 0

    def add(self, world: World) -> None:
        self.worlds += 1
        self.acks += world.chronicle.acks
        self.duplicates += world.store.published.duplicates
        self.delivered += world.chronicle.delivered
        self.crashes += world.crashes
        self.takeovers += sum(member.takeovers for member in world.members)

    def __iadd__(self, other: Count) -> Count:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self

    def __str__(self) -> str:
        return (
            f"{self.worlds} worlds: {self.acks} publishes acked, {self.duplicates} of them as"
            f" duplicates, {self.delivered} messages sent, {self.crashes} crashes,"
            f" {self.takeovers} takeovers, {self.failed} failed"
        )


def _one(job: tuple[int, int]) -> tuple[int, str, str, Count]:
    seed, steps = job
    report, world = run_seed(seed, steps)
    count = Count(failed=bool(report))
    if world is not None:
        count.add(world)
    return seed, report, choose_kind(seed), count


def run_many(seeds: range, steps: int, jobs: int) -> int:
    """Run them all; returns how many failed."""
    began = time.monotonic()
    failed: list[int] = []
    counts = {kind: Count() for kind in KINDS}
    with get_context("spawn").Pool(jobs) as pool:
        for seed, report, kind, count in pool.imap_unordered(_one, [(s, steps) for s in seeds]):
            counts[kind] += count
            if report:
                failed.append(seed)
                print(report, flush=True)
    for kind, count in counts.items():
        print(f"{kind:10} {count}")
    print(
        f"{len(seeds)} seeds of {steps} steps in {time.monotonic() - began:.0f} s, "
        f"{len(failed)} failed {sorted(failed)}"
    )
    return len(failed)
