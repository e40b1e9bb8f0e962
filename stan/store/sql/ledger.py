"""What the channels' rows hold, as the store knows it, and what a transaction makes of it.

No statement is here. Invariant: a transaction works on a draft and only reads the ledger,
which takes the draft over when COMMIT returned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stan.engine.records import Batch, Bounds, Run
from stan.errors import StoreRefusedError


@dataclass(slots=True)
class Ledger:
    """What the channels' rows hold. `swept` is the sequence below which no row stands;
    `doomed` are deleted channels whose rows are still there: [lowest, end)."""

    bounds: dict[int, Bounds] = field(default_factory=dict)
    swept: dict[int, int] = field(default_factory=dict)
    doomed: dict[int, tuple[int, int]] = field(default_factory=dict)
    unswept: set[int] = field(default_factory=set)

    def put(self, channel_id: int, bounds: Bounds, swept: int) -> None:
        """Take over a channel's row."""
        self.bounds[channel_id] = bounds
        self.swept[channel_id] = swept
        if swept < bounds.first_sequence:
            self.unswept.add(channel_id)
        else:
            self.unswept.discard(channel_id)

    def doom(self, channel_id: int) -> None:
        """A channel was deleted: forget it but for its rows."""
        bounds = self.bounds.pop(channel_id, None)
        swept = self.swept.pop(channel_id, 1)
        self.unswept.discard(channel_id)
        if bounds is not None:
            self.doomed[channel_id] = (swept, bounds.last_sequence + 1)


class Draft:
    """What one batch makes of the ledger. `changed` are the channels with their new bounds
    and sweep marks, `unfinished` those of which a trim left something for later."""

    __slots__ = ("_created", "_deleted", "_ledger", "changed", "unfinished")

    def __init__(self, ledger: Ledger, batch: Batch) -> None:
        self._ledger = ledger
        self._deleted = batch.channels_deleted
        self._created = {channel.channel_id for channel in batch.channels_created}
        self.changed: dict[int, tuple[Bounds, int]] = dict.fromkeys(self._created, (Bounds(), 1))
        self.unfinished: list[int] = []

    def read(self, channel_id: int) -> tuple[Bounds, int]:
        """A channel's bounds and sweep mark as this transaction sees them. Raises
        StoreRefusedError for a channel that does not exist."""
        changed = self.changed.get(channel_id)
        if changed is not None:
            return changed
        bounds = self._ledger.bounds.get(channel_id)
        if bounds is None or channel_id in self._deleted:
            raise StoreRefusedError(f"channel {channel_id} does not exist")
        return bounds, self._ledger.swept[channel_id]

    @property
    def stored(self) -> Mapping[int, Bounds]:
        """The bounds of the rows that stand already."""
        return self._ledger.bounds

    def append(self, run: Run) -> None:
        """The run stands behind what its channel holds."""
        bounds, swept = self.read(run.channel_id)
        count, end_position = len(run.payloads), run.end_position
        last = run.first_sequence + count - 1
        first, _, position, _, timestamp_ns, _, kept = bounds
        if not kept:
            if swept == first:
                swept = run.first_sequence  # nothing stands below what is written now
            first, position, timestamp_ns = run.first_sequence, run.position, run.timestamp_ns
        kept += count
        now = Bounds(first, last, position, end_position, timestamp_ns, run.timestamp_ns, kept)
        self.changed[run.channel_id] = now, swept

    def move(self, channel_id: int, bounds: Bounds) -> None:
        """The channel has these bounds now; its rows stand as they did."""
        self.changed[channel_id] = bounds, self.read(channel_id)[1]

    def take_sweeps(self, budget_rows: int) -> list[tuple[int, int, int]]:
        """Rows below the bounds to remove, as (channel, start, end); the draft takes them for
        removed. Those beyond the budget are the background's."""
        sweeps: list[tuple[int, int, int]] = []
        for channel_id, (bounds, swept) in self.changed.items():
            end = min(bounds.first_sequence, swept + budget_rows)
            if end > swept:
                sweeps.append((channel_id, swept, end))
                self.changed[channel_id] = bounds, end
                budget_rows -= end - swept
        return sweeps

    def is_new(self, channel_id: int) -> bool:
        """Whether this batch creates the channel."""
        return channel_id in self._created

    def settle(self) -> None:
        """The transaction is true: so is the draft."""
        for channel_id in self._deleted:
            self._ledger.doom(channel_id)
        for channel_id, (bounds, swept) in self.changed.items():
            self._ledger.put(channel_id, bounds, swept)
