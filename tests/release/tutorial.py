"""The tutorial on each supported Python of this machine: `make tutorial-check`.

Every Python gets an environment with the development tools and runs every program, transcript and
notebook cell of the tutorial.
"""

import sys

from tests.release.__main__ import BUILT, PIP, SUPPORTED, find_python, make_environment, run
from tests.structure.sources import ROOT


def main() -> None:
    """Run the suite on all of them; ends at the first that fails."""
    BUILT.mkdir(parents=True, exist_ok=True)
    tried = 0
    for version in SUPPORTED:
        if (found := find_python(version)) is None:
            print(f"Python {version}: not on this machine", flush=True)
            continue
        python = make_environment(found, f"tutorial-{version}")
        run(python, *PIP, "-e", f"{ROOT}[dev]")
        told = run(python, "-m", "pytest", "-q", "tests/tutorial", cwd=ROOT)
        print(f"Python {version}: {told.splitlines()[-1]}", flush=True)
        tried += 1
    if not tried:
        sys.exit("no supported Python was found")


if __name__ == "__main__":
    main()
