"""Coverage of a room is counted right, and a room that is too low, or unmeasured, fails."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.coverage_floors import FLOORS, main, read_room


def measured(taken: int, *missing: tuple[int, int]) -> dict[str, Any]:
    """A file as coverage.py reports it."""
    branches = taken + len(missing)
    summary = {"num_statements": 5, "num_branches": branches, "covered_branches": taken}
    return {"summary": summary, "missing_branches": [list(arc) for arc in missing]}


def test_the_branches_of_all_files_of_a_room_are_counted() -> None:
    room = read_room(
        {
            "stan/engine/a.py": measured(6, (3, 5), (9, -7)),
            "stan/engine/b/c.py": measured(2),
            "stan/store/d.py": measured(0, (1, 2)),
        },
        "engine",
    )
    assert (room.taken, room.branches, room.per_cent) == (8, 10, 80.0)
    assert room.files == (("stan/engine/a.py", "3->5, 9->exit"),)


def test_a_room_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(LookupError, match="stan/wire was not measured"):
        read_room({"stan/engine/a.py": measured(1)}, "wire")


@pytest.mark.parametrize(("missing", "status"), [((), 0), (((1, 2),), 1)])
def test_a_room_below_its_floor_fails_the_run(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    missing: tuple[tuple[int, int], ...],
    status: int,
) -> None:
    files = {f"stan/{name}/a.py": measured(2) for name in FLOORS}
    files["stan/wire/a.py"] = measured(2, *missing)
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"files": files}))
    assert main([str(report)]) == status
    assert ("too low" in capsys.readouterr().out) == bool(status)
