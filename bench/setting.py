"""What all tables share: who is measured, on which stores, how long and how often.

Values only, made once from the command line. `sustained` is the one thing that a table
leaves for another: what each peer held with one publisher and one subscriber.
"""

from dataclasses import dataclass, field
from pathlib import Path

from bench.peers import Databases, Peer

STORES = ("memory", "file", "postgres", "mariadb")
# Messages of one load at most: what a server keeps here is five million.
MOST_MESSAGES = 2_000_000


@dataclass(frozen=True)
class Setting:
    """How to measure. `ours` has a peer for each engine, the first speaks where one will do."""

    ours: tuple[Peer, ...]
    other: Peer | None
    stores: tuple[str, ...]
    databases: Databases
    generator: tuple[str, ...]
    repeat: int
    seconds: float
    latency_seconds: float = 10.0
    scale: float = 1.0
    rate: int = 0
    only: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    group: Path | None = None  # with a weight (bench.weight), where one could be made
    sustained: dict[tuple[str, Peer], float] = field(default_factory=dict)

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Ours, then the original if it is there."""
        return self.ours if self.other is None else (*self.ours, self.other)

    @property
    def generator_name(self) -> str:
        """What makes the load of throughput, for the legend."""
        is_ours = len(self.generator) > 1
        return "our own stan-bench" if is_ours else f"`{Path(self.generator[0]).name}`"

    @property
    def rate_columns(self) -> list[str]:
        """Of a table with messages a second for each peer."""
        columns = ["store", "work"]
        for peer in self.peers:
            columns += [f"{peer.name}, msg/s", "CPU us"]
        if self.other is not None:
            columns += [f"ratio, {peer.name}" for peer in self.ours]
        return [*columns, "messages"]

    def wants(self, table: str, store: str, work: str) -> bool:
        """Whether this row is among those that were asked for."""
        name = f"{table} {store} {work}"
        return not self.only or any(part in name for part in self.only)

    def scaled(self, number: int) -> int:
        """A number of things that have to exist, scaled for short trials."""
        return max(1, int(number * self.scale))
