"""The mutation fuzzer: `python -m tests.fuzz --inputs 1000000 [--seed 0]`."""

import argparse
import sys
import time

from tests.fuzz.runs import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    report = run(options.seed, options.inputs)
    print(
        f"{report.inputs} inputs in {time.monotonic() - began:.0f} s: {report.refused} refused, "
        f"{report.accepted} accepted or ignored, memory grew by {report.blocks_grown} blocks "
        "in the second half, nothing broke"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
