"""What a benchmark measured, and how it is written: as text and as CSV.

Samples are plain numbers with start and end in seconds; nothing here measures. The text and
the columns are those that tools made for this family of servers parse.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stan.cli.text import group_digits, human_bytes

# An interval too short for the clock must not become an infinite rate.
_SHORTEST_S = 1e-9
_CSV_HEAD = "#RunID,ClientID,MsgCount,MsgBytes,MsgsPerSec,BytesPerSec,DurationSecs"


@dataclass(frozen=True, slots=True)
class Sample:
    """One client's work: how many messages of what size between two moments.

    `nats_messages` counts what passed through its NATS connection, acks included.
    """

    messages: int
    message_bytes: int
    start_s: float
    end_s: float
    nats_messages: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(self.end_s - self.start_s, _SHORTEST_S)

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def total_bytes(self) -> int:
        """The payload bytes."""
        return self.messages * self.message_bytes

    def __str__(self) -> str:
        throughput = human_bytes(self.total_bytes / self.seconds)
        return f"{group_digits(self.rate)} msgs/sec ~ {throughput}/sec"


def merge(samples: Sequence[Sample]) -> Sample:
    """The work of all, from the first start to the last end."""
    return Sample(
        messages=sum(sample.messages for sample in samples),
        message_bytes=samples[0].message_bytes,
        start_s=min(sample.start_s for sample in samples),
        end_s=max(sample.end_s for sample in samples),
    )


def format_report(publishers: Sequence[Sample], subscribers: Sequence[Sample]) -> str:
    """The report, a line each for the whole, the kinds of clients and each client."""
    if publishers and subscribers:
        whole = merge([*publishers, *subscribers])
        lines = [f"NATS Streaming Pub/Sub stats: {whole}"]
        lines += _describe(" Pub stats", publishers) + _describe(" Sub stats", subscribers)
    elif publishers:
        lines = _describe("Pub stats", publishers)
    else:
        lines = _describe("Sub stats", subscribers)
    return "\n".join(lines)


def _describe(title: str, samples: Sequence[Sample]) -> list[str]:
    lines = [f"{title}: {merge(samples)}"]
    if len(samples) > 1:
        indent = " " * (len(title) - len(title.lstrip()) + 1)
        for number, sample in enumerate(samples, 1):
            lines.append(f"{indent}[{number}] {sample} ({sample.messages} msgs)")
        lines.append(indent + _spread([sample.rate for sample in samples]))
    return lines


def _spread(rates: Sequence[float]) -> str:
    mean = sum(rates) / len(rates)
    deviation = math.sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates))
    return (
        f"min {group_digits(min(rates))} | avg {group_digits(mean)} | "
        f"max {group_digits(max(rates))} | stddev {group_digits(deviation)} msgs"
    )


def format_csv(run_id: str, publishers: Sequence[Sample], subscribers: Sequence[Sample]) -> str:
    """A row a client: the subscribers S0, S1 and so on, then the publishers P0, P1."""
    named = [(f"S{index}", sample) for index, sample in enumerate(subscribers)]
    named += [(f"P{index}", sample) for index, sample in enumerate(publishers)]
    rows = [
        f"{run_id},{name},{sample.nats_messages},{sample.total_bytes},{int(sample.rate)},"
        f"{sample.total_bytes / sample.seconds:.6f},{sample.seconds:.6f}"
        for name, sample in named
    ]
    return "\n".join([_CSV_HEAD, *rows]) + "\n"


def save_csv(
    path: str, run_id: str, publishers: Sequence[Sample], subscribers: Sequence[Sample]
) -> None:
    """Write the CSV file. Raises OSError."""
    Path(path).write_text(format_csv(run_id, publishers, subscribers))
