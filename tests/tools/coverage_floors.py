"""Branch coverage of the rooms, shown and held: `python -m tests.tools.coverage_floors FILE`.

FILE is what `coverage json` wrote. A room below its floor fails the run. The aim is 95 % in
each; until it is reached, a floor is what is reached in every run (a few branches are taken
or not as the machine has time), and it only rises.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOORS = {"engine": 95, "wire": 95, "store": 95, "client": 95}
"""Per cent of the branches of `stan/ROOM` that the tests must take."""


@dataclass(frozen=True)
class Room:
    """What the tests took of one room."""

    name: str
    taken: int
    branches: int
    files: tuple[tuple[str, str], ...]
    """What is left: each file with the branches that no test took."""

    @property
    def per_cent(self) -> float:
        """The share of branches taken; a room without branches has all of them."""
        return 100 * self.taken / self.branches if self.branches else 100.0


def read_room(files: Mapping[str, Any], name: str) -> Room:
    """Gather a room's files out of what `coverage json` wrote. Raises LookupError for a room
    that was not measured: nothing of nothing would be all."""
    chosen = {path: each for path, each in files.items() if path.startswith(f"stan/{name}/")}
    if not any(each["summary"]["num_statements"] for each in chosen.values()):
        raise LookupError(f"stan/{name} was not measured")
    left = []
    for path, each in sorted(chosen.items()):
        if each["missing_branches"]:
            arcs = (f"{a}->{b if b > 0 else 'exit'}" for a, b in each["missing_branches"])
            left.append((path, ", ".join(arcs)))
    return Room(
        name,
        sum(each["summary"]["covered_branches"] for each in chosen.values()),
        sum(each["summary"]["num_branches"] for each in chosen.values()),
        tuple(left),
    )


def main(argv: list[str]) -> int:
    """Show the rooms. Returns 1 when one is below its floor."""
    files = json.loads(Path(argv[0]).read_text())["files"]
    rooms = [read_room(files, name) for name in FLOORS]
    for room in rooms:
        for path, branches in room.files:
            print(f"not taken: {path}: {branches}")
    print(f"\n{'room':10}{'branches':>10}{'taken':>8}{'%':>8}{'floor':>8}")
    for room in rooms:
        floor = FLOORS[room.name]
        low = "  too low" if room.per_cent < floor else ""
        print(
            f"{room.name:10}{room.branches:10}{room.taken:8}{room.per_cent:8.1f}{floor:8}{low}",
            flush=True,
        )
    return int(any(room.per_cent < FLOORS[room.name] for room in rooms))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
