"""A guard against slow-downs: how many instructions a message costs on each hot path.

Time on a shared machine says little about a change of some percent; the number of instructions,
counted by valgrind, is the same in every run. The figures that are committed, in
`instructions.json`, are those of the code beside them: a change that makes a path cost more
fails here until it commits the new figure too, and so says what it costs.

Counts depend on the build of the interpreter. Each is therefore compared as it stands only with
figures of the same build; with another's after scaling both by a fixed piece of Python (the
path "reference"), and with more room.

    python -m bench.instructions                        compare, plain Python
    python -m bench.instructions --compiled DIRECTORY   compare, a compiled checkout
    python -m bench.instructions --write                measure and write the figures
"""

import argparse
import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.hot_paths import REFERENCE
from stan.errors import StanError

CHECKOUT = Path(__file__).resolve().parent.parent
FIGURES = Path(__file__).with_name("instructions.json")
MARK = "getsid"
# What a change may add without saying so, in this build of the interpreter and in others.
ROOM = 0.03
ROOM_ELSEWHERE = 0.30

Counts = dict[str, float]


class MeasureError(StanError):
    """Nothing could be counted; str(error) says why."""


@dataclass(frozen=True)
class Finding:
    """A path that costs something else than its figure says."""

    path: str
    figure: float
    counted: float

    @property
    def change(self) -> float:
        """0.1: ten percent more."""
        return self.counted / self.figure - 1

    def __str__(self) -> str:
        figures = f"{self.counted:,.0f} a message instead of {self.figure:,.0f}"
        return f"{self.path}: {figures} ({self.change:+.1%})"


def describe_build() -> str:
    """The interpreter and what else is not ours, as far as they decide what a message costs."""
    packages = [f"{name} {metadata.version(name)}" for name in ("protobuf", "sqlalchemy")]
    return ", ".join(
        (
            f"{platform.python_version()} {platform.python_compiler()} {platform.machine()}",
            *packages,
            f"SQLite {sqlite3.sqlite_version}",
        )
    )


def count(checkout: Path) -> Counts:
    """Instructions for each message of every path, of the `stan` in this checkout.

    Raises MeasureError.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        command = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}"]
        command += [f"--callgrind-out-file={out}", sys.executable, "-m", "bench.hot_paths"]
        path = os.pathsep.join(map(str, (checkout, CHECKOUT)))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        try:
            done = subprocess.run(
                command, cwd=checkout, env=environment, capture_output=True, text=True
            )
        except FileNotFoundError:
            raise MeasureError("valgrind counts the instructions and is not installed") from None
        if done.returncode:
            raise MeasureError(f"the hot paths failed under valgrind: {done.stderr[-2000:]}")
        loads = [line.split("\t") for line in done.stdout.splitlines()]
        # The parts between two marks: before the first load, in it, until the second, in it ...
        return {
            name: read_total(Path(f"{out}.{2 * at}")) / int(messages)
            for at, (name, messages) in enumerate(loads, 1)
        }


def read_total(part: Path) -> int:
    """What callgrind says was executed in this part. Raises MeasureError."""
    found = re.search(r"^totals: (\d+)", part.read_text(), re.MULTILINE)
    if not found:
        raise MeasureError(f"{part.name} has no total")
    return int(found[1])


def compare(figures: Mapping[str, float], counted: Counts, is_same_build: bool) -> list[Finding]:
    """The paths that changed by more than their room, dearer or cheaper.

    Raises MeasureError when the two are not of the same paths.
    """
    if figures.keys() != counted.keys():
        raise MeasureError("the figures are of other paths: write them anew with --write")
    scale, room = 1.0, ROOM
    if not is_same_build:
        scale, room = counted[REFERENCE] / figures[REFERENCE], ROOM_ELSEWHERE
    findings = [Finding(name, figures[name] * scale, counted[name]) for name in figures]
    return [finding for finding in findings if abs(finding.change) > room]


def show(counted: Counts) -> None:
    """One line a path."""
    for name, instructions in counted.items():
        print(f"{instructions:12,.0f}  {name}")


def check(engine: str, checkout: Path, *, is_write: bool) -> int:
    """Compare or write; the exit status. A path that became cheaper has to be written too:
    otherwise the next one could lose what was won, unseen."""
    counted = count(checkout)
    print(f"instructions a message, {engine}, Python {describe_build()}")
    show(counted)
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    if is_write:
        known[engine] = {
            "build": describe_build(),
            "instructions": {name: round(value) for name, value in counted.items()},
        }
        FIGURES.write_text(json.dumps(known, indent=2) + "\n")
        return 0
    if engine not in known:
        raise MeasureError(f"there are no figures of {engine} code: write them with --write")
    is_same = known[engine]["build"] == describe_build()
    if not is_same:
        print(f"the figures are of Python {known[engine]['build']}: compared by the reference")
    findings = compare(known[engine]["instructions"], counted, is_same)
    for finding in findings:
        print(finding)
    if findings:
        print("when this is meant, write the figures and say in the commit why: --write")
    return 1 if findings else 0


def main(arguments: list[str]) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions")
    parser.add_argument("--compiled", type=Path, help="a checkout that has been compiled in place")
    parser.add_argument("--write", action="store_true", help="commit to what is counted now")
    chosen = parser.parse_args(arguments)
    engine, checkout = "pure", CHECKOUT
    if chosen.compiled:
        engine, checkout = "compiled", chosen.compiled.resolve()
        if not list(checkout.glob("stan/engine/engine.*.so")):
            parser.error(f"{checkout} is not compiled: python hatch_build.py {checkout}")
    try:
        return check(engine, checkout, is_write=chosen.write)
    except MeasureError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
