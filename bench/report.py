"""Tables as Markdown, and into a document between the marks of each table.

Only text is made here. Invariant: what stands outside a table's own marks is kept, so one
table can be measured anew without the others.
"""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.setting import Setting

Rows = list[list[str]]


@dataclass(frozen=True)
class Job:
    """One or more rows of a table, which are measured together."""

    name: str
    measure: Callable[[], Rows]


@dataclass(frozen=True)
class Table:
    """What is in a table, and the jobs that find it out."""

    name: str
    legend: str
    columns: Sequence[str]
    jobs: Sequence[Job]


def render_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def render_heading(columns: Sequence[str]) -> str:
    return f"{render_line(columns)}\n|{'---|' * len(columns)}"


def render(table: Table, rows: Sequence[Sequence[str]], machine: str) -> str:
    """The legend and the table."""
    lines = [render_heading(table.columns), *(render_line(row) for row in rows)]
    return f"{machine} {table.legend}\n\n" + "\n".join(lines) + "\n"


def describe_machine(setting: Setting) -> str:
    """Where it was measured, how often, and who was missing."""
    times = "one run" if setting.repeat == 1 else f"median of {setting.repeat} runs"
    words = [
        f"Python {platform.python_version()}, {os.cpu_count()} processors, "
        f"{times} of each in turn, each with fresh servers; a ratio is the median of "
        "the pairs, and in brackets the lowest and the highest."
    ]
    return " ".join([*words, *setting.remarks])


def marks(name: str) -> tuple[str, str]:
    """What stands before and behind a table in a document."""
    return f"<!-- measured {name}: begin -->", f"<!-- measured {name}: end -->"


def has_marks(document: Path, name: str) -> bool:
    """Whether the document has a place for this table."""
    begin, end = marks(name)
    text = document.read_text()
    return 0 <= text.find(begin) < text.find(end)


def write_between_marks(document: Path, name: str, text: str) -> None:
    """Replace what stands between the marks of a table. They must be there."""
    begin, end = marks(name)
    head, rest = document.read_text().split(begin, 1)
    tail = rest.split(end, 1)[1]
    document.write_text(f"{head}{begin}\n{text}{end}{tail}")
