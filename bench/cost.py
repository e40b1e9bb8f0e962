"""What a load cost: the CPU time of each process that took part, for each message.

Only reads the system's accounts. A server's children are its NATS server; the original has
none. Without PostgreSQL its part is None.
"""

import resource
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.processes import cpu_seconds
from tests.tools.processes import LoggedProcess, descendants

LEGEND = (
    "CPU is microseconds for each message published and each delivered: the server + its NATS "
    "server (the original embeds one) + PostgreSQL, and behind the slash the load generator."
)


class Measured(Protocol):
    """A running server. `database_pid` is the head of PostgreSQL's processes, or 0."""

    process: LoggedProcess
    database_pid: int


@dataclass(frozen=True)
class Cost:
    """Microseconds of CPU for each message."""

    server_us: float
    nats_us: float
    database_us: float | None
    load_us: float

    @property
    def total_us(self) -> float:
        """Of the server, its NATS server and the database; without the load generator."""
        return self.server_us + self.nats_us + (self.database_us or 0.0)

    def __str__(self) -> str:
        parts = [self.server_us]
        if self.nats_us:
            parts.append(self.nats_us)
        if self.database_us is not None:
            parts.append(self.database_us)
        return f"{' + '.join(f'{part:.1f}' for part in parts)} / {self.load_us:.1f}"


class Meter:
    """Runs from its making on. The load is a child process that has been waited for."""

    def __init__(self, running: Measured) -> None:
        self._running = running
        self._before = self._read()

    def _read(self) -> tuple[float, float, float, float]:
        pid = self._running.process.pid
        server_s = cpu_seconds(pid)
        nats_s = sum(cpu_seconds(child) for child in descendants(pid))
        database_s = 0.0
        if self._running.database_pid:
            family = [self._running.database_pid, *descendants(self._running.database_pid)]
            database_s = sum(cpu_seconds(each) for each in family)
        load = resource.getrusage(resource.RUSAGE_CHILDREN)
        return server_s, nats_s, database_s, load.ru_utime + load.ru_stime

    def read(self, messages: int, load_s: float | None = None) -> Cost:
        """The cost since then, shared by this many messages.

        `load_s` is what the load says of itself: a Python process spends long on starting.
        """
        spent_s = [now - then for now, then in zip(self._read(), self._before, strict=True)]
        if load_s is not None:
            spent_s[3] = load_s
        us = [each_s * 1e6 / max(1, messages) for each_s in spent_s]
        has_database = bool(self._running.database_pid)
        return Cost(us[0], us[1], us[2] if has_database else None, us[3])


def median_cost(costs: Sequence[Cost]) -> Cost:
    """The median of each part."""
    databases = [cost.database_us for cost in costs if cost.database_us is not None]
    return Cost(
        statistics.median(cost.server_us for cost in costs),
        statistics.median(cost.nats_us for cost in costs),
        statistics.median(databases) if databases else None,
        statistics.median(cost.load_us for cost in costs),
    )
