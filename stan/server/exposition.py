"""The text format of Prometheus, version 0.0.4: families of samples, nothing measured here.

Invariant: the samples of a family stand together, whatever the order they were added in,
and a label's value may hold any text.
"""

from collections.abc import Sequence

from stan.server.gojson import Slices
from stan.server.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PIECE_LINES = 512
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def label(name: str, value: str) -> str:
    """One label."""
    if "\\" in value or '"' in value or "\n" in value:
        value = value.translate(_ESCAPES)
    return f'{name}="{value}"'


class Family:
    """The samples of one metric."""

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name = name
        self.lines: list[str] = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def add(self, labels: str, value: float) -> None:
        """One sample; `labels` are joined by commas."""
        self.lines.append(f"{self.name}{{{labels}}} {value}" if labels else f"{self.name} {value}")

    def add_histogram(self, labels: str, histogram: Histogram) -> None:
        """The buckets, the sum and the count."""
        comma = "," if labels else ""
        below = 0
        for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
            below += count
            self.lines.append(f'{self.name}_bucket{{{labels}{comma}le="{bound}"}} {below}')
        below += histogram.counts[-1]
        self.lines.append(f'{self.name}_bucket{{{labels}{comma}le="+Inf"}} {below}')
        self.lines.append(f"{self.name}_sum{{{labels}}} {histogram.total}")
        self.lines.append(f"{self.name}_count{{{labels}}} {below}")


def add_row(families: Sequence[Family], labels: str, values: Sequence[float]) -> None:
    """One sample to each family, all with the same labels."""
    for family, value in zip(families, values, strict=True):
        family.lines.append(f"{family.name}{{{labels}}} {value}")


class Exposition:
    """A page of metrics under construction."""

    def __init__(self) -> None:
        self._families: list[Family] = []

    def family(self, name: str, kind: str, text: str) -> Family:
        """A new metric: counter, gauge or histogram."""
        family = Family(name, kind, text)
        self._families.append(family)
        return family

    def gauge(self, name: str, text: str, labels: str, value: float) -> None:
        """A metric of one sample that goes up and down."""
        self.family(name, "gauge", text).add(labels, value)

    def counter(self, name: str, text: str, labels: str, value: float) -> None:
        """A metric of one sample that only rises."""
        self.family(name, "counter", text).add(labels, value)

    async def chunks(self) -> list[bytes]:
        """The page in pieces. Lets others run in between."""
        slices = Slices()
        pieces: list[bytes] = []
        for family in self._families:
            for start in range(0, len(family.lines), _PIECE_LINES):
                lines = family.lines[start : start + _PIECE_LINES]
                pieces.append(("\n".join(lines) + "\n").encode())
                await slices.pause()
        return pieces
