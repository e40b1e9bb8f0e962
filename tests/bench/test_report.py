"""Tables in a document: each between its own marks, the rest untouched."""

from pathlib import Path

import pytest

from bench.__main__ import DEFAULT, TABLES, measure_table
from bench.cost import Cost, median_cost
from bench.report import (
    Job,
    Rows,
    Table,
    describe_machine,
    has_marks,
    marks,
    render,
    write_between_marks,
)
from bench.setting import Setting

_LEGEND = "What it means."


def setting(only: tuple[str, ...] = (), remarks: tuple[str, ...] = ()) -> Setting:
    return Setting((), None, (), None, (), repeat=3, seconds=1, only=only, remarks=remarks)


def test_a_table_replaces_only_what_is_between_its_marks(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    first, second = marks("latency"), marks("flat")
    document.write_text(f"a\n{first[0]}\nold\n{first[1]}\nb\n{second[0]}\nkept\n{second[1]}\nc\n")
    write_between_marks(document, "latency", "new\n")
    expected = f"a\n{first[0]}\nnew\n{first[1]}\nb\n{second[0]}\nkept\n{second[1]}\nc\n"
    assert document.read_text() == expected
    assert has_marks(document, "flat")
    assert not has_marks(document, "clients")


def test_the_page_has_a_place_for_every_table() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert [name for name in DEFAULT if not has_marks(docs / "performance.md", name)] == []
    apart = set(TABLES).difference(DEFAULT)
    assert [name for name in apart if not has_marks(docs / "durability.md", name)] == []


def test_a_table_is_rendered_with_its_legend_and_what_is_missing() -> None:
    machine = describe_machine(setting(remarks=("The original server was left out.",)))
    table = Table("flat", _LEGEND, ["store", "ratio"], [])
    lines = render(table, [["memory", "0.99"]], machine).splitlines()
    assert "median of 3 runs" in lines[0]
    assert lines[0].endswith(f"The original server was left out. {_LEGEND}")
    assert lines[1:] == ["", "| store | ratio |", "|---|---|", "| memory | 0.99 |"]


def test_rows_are_chosen_by_parts_of_table_store_and_work() -> None:
    chosen = setting(only=("latency memory", "replay"))
    assert chosen.wants("latency", "memory", "idle")
    assert chosen.wants("throughput", "file", "replay")
    assert not chosen.wants("latency", "file", "idle")
    assert setting().wants("latency", "file", "idle")


@pytest.mark.parametrize(
    ("cost", "text", "total_us"),
    [
        (Cost(1.5, 0.0, None, 0.25), "1.5 / 0.2", 1.5),
        (Cost(1.5, 2.0, 3.0, 4.0), "1.5 + 2.0 + 3.0 / 4.0", 6.5),
    ],
)
def test_a_cost_names_every_process(cost: Cost, text: str, total_us: float) -> None:
    assert str(cost) == text
    assert cost.total_us == total_us


def test_the_median_of_costs_is_taken_of_each_part() -> None:
    costs = [Cost(1, 9, None, 5), Cost(3, 7, None, 6), Cost(2, 8, None, 4)]
    assert median_cost(costs) == Cost(2, 8, None, 5)


def test_a_job_that_fails_leaves_a_row_and_the_others_go_on() -> None:
    def fail() -> Rows:
        raise RuntimeError("3 messages stored, not 4")

    jobs = [Job("file, replay", fail), Job("memory, replay", lambda: [["memory", "1.0"]])]
    rows, failed = measure_table(Table("throughput", _LEGEND, ["store", "ratio"], jobs))
    assert rows == [["file, replay: failed", ""], ["memory", "1.0"]]
    assert failed == 1
