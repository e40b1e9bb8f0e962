"""The table: rows to Markdown, and into a document between two marks."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from bench.loads import Load, Measurement

BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"

_HEADING = (
    "| store | work | ours, msg/s | CPU us/msg | original, msg/s | CPU us/msg | ratio |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Row:
    kind: str
    load: Load
    medians: dict[str, Measurement]
    ratio: float | None


def render(rows: list[Row], heading: bool = True) -> str:
    lines = [_HEADING] if heading else []
    for row in rows:
        names = list(row.medians)
        cells = [row.kind, f"{row.load.name} ({row.load.messages:,})"]
        for name in names[:2]:
            cells += _cells(row.medians[name])
        if len(names) < 2:
            cells += ["-", "-"]
        cells.append("-" if row.ratio is None else f"{row.ratio:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(measurement: Measurement) -> list[str]:
    rate = f"{measurement.rate:,.0f}"
    if measurement.published_per_s and measurement.received_per_s:
        rate = f"{measurement.published_per_s:,.0f} in, {measurement.received_per_s:,.0f} out"
    return [rate, f"{measurement.cpu_us_per_message:.1f}"]


def describe_machine(generator: str, repeat: int) -> str:
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} processors, "
        f"load by `{Path(generator).name}`, median of {repeat} runs of each server in turn; the "
        "ratio is the median of the pairs. CPU is that of the server with its NATS server, "
        "for each message published and each delivered."
    )


def write_between_marks(document: Path, text: str) -> None:
    """Replace what stands between the marks of a document."""
    old = document.read_text()
    head, _, rest = old.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not rest:
        raise SystemExit(f"{document} has no marks {BEGIN} and {END}")
    document.write_text(f"{head}{BEGIN}\n{text}{END}{tail}")
