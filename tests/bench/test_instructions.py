"""The guard against slow-downs: it sees them, and its loads do what they are for."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.hot_paths import PATHS, REFERENCE, drive
from bench.instructions import (
    FIGURES,
    ROOM,
    ROOM_ELSEWHERE,
    MeasureError,
    compare,
    main,
    read_total,
)

KNOWN = {REFERENCE: 1000.0, "publish": 100.0}


@pytest.mark.parametrize("name", PATHS)
async def test_each_path_publishes_and_is_answered(name: str, tmp_path: Path) -> None:
    marks: list[None] = []

    await drive(PATHS[name], str(tmp_path), lambda: marks.append(None))

    assert len(marks) == 2


@pytest.mark.parametrize("factor", [1 + ROOM + 0.01, 1 - ROOM - 0.01])
def test_what_costs_more_or_less_than_its_figure_is_found(factor: float) -> None:
    found = compare(KNOWN, {**KNOWN, "publish": 100 * factor}, is_same_build=True)

    assert [finding.path for finding in found] == ["publish"]
    assert found[0].change == pytest.approx(factor - 1)


def test_what_costs_the_same_is_not() -> None:
    assert compare(KNOWN, {**KNOWN, "publish": 100 * (1 + ROOM / 2)}, is_same_build=True) == []


def test_another_build_is_compared_by_the_reference_and_with_more_room() -> None:
    twice = {name: figure * 2 for name, figure in KNOWN.items()}
    assert compare(KNOWN, twice, is_same_build=False) == []

    slower = {**twice, "publish": 200 * (1 + ROOM_ELSEWHERE + 0.01)}
    assert [finding.path for finding in compare(KNOWN, slower, is_same_build=False)] == ["publish"]


def test_figures_of_other_paths_are_refused() -> None:
    with pytest.raises(MeasureError, match="--write"):
        compare(KNOWN, {REFERENCE: 1000.0}, is_same_build=True)


def test_a_part_without_a_total_is_refused(tmp_path: Path) -> None:
    part = tmp_path / "counts.2"
    part.write_text("events: Ir\n")
    with pytest.raises(MeasureError, match=r"counts\.2"):
        read_total(part)


def test_a_checkout_that_is_not_compiled_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--compiled", str(tmp_path)])
    assert "is not compiled" in capsys.readouterr().err


def test_without_valgrind_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    before = FIGURES.read_text()

    assert main([]) == 1

    assert "valgrind" in capsys.readouterr().err
    assert FIGURES.read_text() == before


def test_the_command_says_what_each_load_was() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.hot_paths", REFERENCE, "one at a time"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == ["reference\t2000", "one at a time\t500"]
