"""Tables and facts: drawn with units and colours on a terminal, plain lines elsewhere.

Plain means one row a line, fields separated by tabs, numbers and times as the service gave
them, no colours. Whatever a name holds, it neither breaks a line nor reaches the terminal as a
control character. rich is imported only where something is drawn.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stan.cli.text import group_digits, say
from stan.client.answers import read_time
from stan.units import SECOND_NS, format_duration, format_size

Row = dict[str, Any]
# Emoji are joined with these.
_JOINERS = frozenset("\u200c\u200d")


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a row: its title, where it is, how a terminal shows it."""

    title: str
    key: str | Callable[[Row], Any]
    show: Callable[[Any], str] = str
    style: str | Callable[[Any], str] = ""
    right: bool = False

    def value(self, row: Row) -> Any:
        """The field itself."""
        return row.get(self.key, "") if isinstance(self.key, str) else self.key(row)

    def plain(self, row: Row) -> str:
        """As a script reads it."""
        value = self.value(row)
        if isinstance(value, bool):
            return "yes" if value else "no"
        return printable(str(value))

    def drawn(self, row: Row) -> tuple[str, str]:
        """As a terminal shows it, and its style."""
        value = self.value(row)
        style = self.style(value) if callable(self.style) else self.style
        return printable(self.show(value)), style


def number_column(title: str, key: str | Callable[[Row], Any], style: Any = "") -> Column:
    """A column of counts."""
    return Column(title, key, count, style, right=True)


def is_terminal() -> bool:
    """Whether a person reads what we write."""
    return sys.stdout.isatty()


def printable(text: str) -> str:
    """The text with everything that is not to be seen as an escape."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in _JOINERS else one.encode("unicode_escape").decode()
        for one in text
    )


# How a terminal shows values


def count(value: Any) -> str:
    """``1,234,567``."""
    return group_digits(value) if isinstance(value, (int, float)) else str(value)


def size(value: Any) -> str:
    """``976.56 MB``."""
    return format_size(value) if isinstance(value, int) else str(value)


def unlimited(show: Callable[[Any], str]) -> Callable[[Any], str]:
    """The same, and 0 as what it means."""
    return lambda value: show(value) if value else "unlimited"


def span(value: Any) -> str:
    """Seconds, with as many digits as matter: ``1d2h``, ``5m3s``, ``250ms``."""
    if not isinstance(value, (int, float)):
        return str(value)
    if value < 60:
        step = 1_000_000 if value < 10 else SECOND_NS
        return format_duration(int(value * SECOND_NS) // step * step)
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    while not parts[0][0]:
        parts.pop(0)
    return "".join(f"{amount}{unit}" for amount, unit in parts[:2] if amount)


def when(value: Any) -> str:
    """A time of the service as the wall clock here shows it."""
    time = read_time(value) if isinstance(value, str) else None
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time is not None else "never"


def ago(value: Any) -> str:
    """How long ago a time of the service was."""
    time = read_time(value) if isinstance(value, str) else None
    if time is None:
        return "never"
    return f"{span(max(0, int((datetime.now(UTC) - time).total_seconds())))} ago"


def yes(value: Any) -> str:
    """``yes``, or nothing much."""
    return "yes" if value else "no"


def alarm(value: Any) -> str:
    """The style of what should be 0 or false."""
    return "bold red" if value else ""


def notice(value: Any) -> str:
    """The style of what is better 0."""
    return "yellow" if value else ""


# Writing


def show_json(value: Any) -> None:
    """What the service answered, for programs."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def tell(row: Row, as_json: bool, line: str) -> None:
    """What was done: the answer for programs, or the line for people."""
    if as_json:
        show_json(row)
    else:
        say(line)


def show_names(names: Iterable[str]) -> None:
    """One name a line."""
    lines = "\n".join(map(printable, names))
    if lines:
        say(lines)


def show_table(columns: Sequence[Column], rows: Sequence[Row], title: str = "") -> None:
    """The rows below the titles."""
    if is_terminal():
        _console().print(draw_table(columns, rows, title))
        return
    lines = ["\t".join(column.title.upper() for column in columns)]
    lines += ["\t".join(column.plain(row) for column in columns) for row in rows]
    say("\n".join(lines))


def show_facts(columns: Sequence[Column], row: Row, title: str = "") -> None:
    """One row, a field a line."""
    if not is_terminal():
        say("\n".join(f"{column.title}\t{column.plain(row)}" for column in columns))
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="dim")
    grid.add_column(overflow="fold")
    for column in columns:
        text, style = column.drawn(row)
        grid.add_row(f"{column.title}:", Text(text, style))
    if title:
        _console().print(Text(printable(title), "bold"))
    _console().print(grid)


def draw_table(columns: Sequence[Column], rows: Sequence[Row], title: str = "") -> Any:
    """The table, for rich."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    heading = Text(printable(title), "bold") if title else None
    table = Table(title=heading, box=box.ROUNDED, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=bool(index) and column.right,
        )
    for row in rows:
        table.add_row(*(Text(*column.drawn(row)) for column in columns))
    return table


def _console() -> Any:
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)
