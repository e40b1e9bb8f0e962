"""The operations guide shows every option as it is declared."""

from pathlib import Path

import pytest

from stan.server.config.options import OPTIONS
from stan.server.config.reference import BEGIN, END, format_table, insert_table, main

GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_guide_is_current() -> None:
    assert main(["--check", str(GUIDE)]) == 0


def test_every_flag_is_in_the_table() -> None:
    table = format_table()
    assert all(f"`-{flag}`" in table for option in OPTIONS for flag in option.flags)


def test_a_stale_guide_is_found_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main(["--check", str(guide)]) == 1
    assert "is not current" in capsys.readouterr().err
    assert main(["--write", str(guide)]) == 0
    assert main(["--check", str(guide)]) == 0
    assert guide.read_text().startswith("before\n")
    assert guide.read_text().endswith("\nafter\n")


def test_a_guide_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        insert_table("no marks")
