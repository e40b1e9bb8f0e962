"""The text format of Prometheus, version 0.0.4: families of samples, nothing measured here.

Invariant: the samples of a family stand together, whatever the order they were added in,
and a label's value may hold any text.
"""

from collections.abc import Iterable, Sequence

from stan.server.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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
        self.pieces: list[bytes] = [f"# HELP {name} {text}\n# TYPE {name} {kind}\n".encode()]

    def add(self, labels: str, value: float) -> None:
        """One sample; `labels` are joined by commas."""
        self._add(f"{self.name}{{{labels}}} {value}" if labels else f"{self.name} {value}")

    def add_many(self, labels: Sequence[str], values: Iterable[float]) -> None:
        """A sample for each of these, one beside the other; labels stand in braces."""
        if not labels:
            return
        name = self.name
        lines = [f"{name}{some} {one}\n" for some, one in zip(labels, values, strict=True)]
        self.pieces.append("".join(lines).encode())

    def add_histogram(self, labels: str, histogram: Histogram) -> None:
        """The buckets, the sum and the count."""
        comma = "," if labels else ""
        below = 0
        for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
            below += count
            self._add(f'{self.name}_bucket{{{labels}{comma}le="{bound}"}} {below}')
        below += histogram.counts[-1]
        self._add(f'{self.name}_bucket{{{labels}{comma}le="+Inf"}} {below}')
        self._add(f"{self.name}_sum{{{labels}}} {histogram.total}")
        self._add(f"{self.name}_count{{{labels}}} {below}")

    def _add(self, lines: str) -> None:
        self.pieces.append(f"{lines}\n".encode())


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

    def pieces(self) -> list[bytes]:
        """The page, in very many pieces."""
        return [piece for family in self._families for piece in family.pieces]
