"""Run seeds of the simulation: `python -m tests.simulation SEED...` or `--seeds N`.

With seeds named, each is run with every check and its last lines are printed when it
fails. With --seeds it runs that many, from --start on, in --jobs processes.
"""

import argparse
import sys

from tests.simulation.runs import run_many, run_seed
from tests.simulation.world import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", type=int, nargs="*", help="rerun these")
    parser.add_argument("--seeds", type=int, default=0, help="run so many")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--steps", type=int, default=2000, help="events before peace")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--kind", default="", choices=KINDS, help="what kind of world SEED makes")
    options = parser.parse_args()
    failed = 0
    for seed in options.seed:
        report, world = run_seed(seed, options.steps, check_every=1, kind=options.kind)
        failed += bool(report)
        kind = world.kind if world else ""
        print(report or f"seed {seed} ({kind}) passed, {world and world.steps} steps")
    if options.seeds:
        seeds = range(options.start, options.start + options.seeds)
        failed += run_many(seeds, options.steps, options.jobs)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
