"""The outbox table: rows that applications wrote by transactions of their own, on their way
into a batch.

The store is asked for the rows that are visible, in the order of their IDs. They are queued in
a lane of their own like what a client publishes; the batch that stores them removes them, too.
A row that cannot become a message is parked with the reason. One load is outstanding, and the
next one is asked for when all rows of the last are settled: so there is no position to keep,
and a row that becomes visible late is never skipped. Without `Settings.outbox` nothing here
ever happens. Invariant: `pending` rows are queued, held, in a batch, or to be parked.
"""

from stan.engine.bursts import Burst
from stan.engine.changes import Changes
from stan.engine.channels import Channels, Refusal, is_acceptable_channel
from stan.engine.guids import HeldPublish
from stan.engine.outbox import Outbox
from stan.engine.publishing import PAYLOAD_TOO_LARGE, Publishing
from stan.engine.records import Batch, Key, OutboxLoad, OutboxRow
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.engine.state import Channel
from stan.engine.timers import Timer, Timers
from stan.units import SECOND_NS
from stan.wire.messages import MESSAGE_OVERHEAD_BYTES

LANE = "(outbox)"  # no client can have this ID

# An empty table is looked at again after this pause, then after twice as long, and so on.
SHORTEST_PAUSE_NS = 20 * MILLISECOND_NS
LONGEST_PAUSE_NS = SECOND_NS
MOST_ROWS = 2048
MOST_BYTES = 4 * 1024 * 1024
_REFUSALS = 3  # of a row by itself, after which it is parked
_BAD_NAME = "this is no valid channel name"


class Relaying:
    def __init__(
        self,
        settings: Settings,
        channels: Channels,
        publishing: Publishing,
        changes: Changes,
        timers: Timers,
        outbox: Outbox,
    ) -> None:
        self.pending: int = 0
        self.timer: Timer = Timer()
        # For the monitoring: what became of the rows.
        self.relayed: int = 0
        self.duplicates: int = 0
        self.parked: int = 0
        self._load_id: int = 0
        self._is_loading: bool = False
        self._is_woken: bool = False
        self._pause_ns: int = SHORTEST_PAUSE_NS
        self._most_rows: int = MOST_ROWS
        self._loaded_rows: int = 0
        self._row_ids: dict[Burst, list[int]] = {}
        self._filling: dict[int, Burst] = {}  # by channel, of the load under way
        self._found: list[int] = []  # rows whose message is stored already
        self._unfit: list[tuple[int, str]] = []  # rows to be parked, and why
        self._sealed_found: list[int] = []
        self._sealed_unfit: list[tuple[int, str]] = []
        self._refusals: int = 0
        self._condemned: dict[int, str] = {}
        self._settings = settings
        self._channels = channels
        self._publishing = publishing
        self._changes = changes
        self._timers = timers
        self._outbox = outbox
        publishing.admit_row = self._admit
        publishing.guids.drop_row = self._drop

    # When to look.

    def start(self, now_ns: int) -> None:
        if self._settings.outbox:
            self._load(now_ns)

    def wake(self, now_ns: int) -> None:
        """Somebody says that rows may have been written."""
        if not self._settings.outbox:
            return
        self._pause_ns = SHORTEST_PAUSE_NS
        if self._is_loading or self.pending:
            self._is_woken = True
        else:
            self._load(now_ns)

    def due(self, now_ns: int) -> None:
        """The pause is over."""
        if not (self._is_loading or self.pending):
            self._load(now_ns)

    def _load(self, now_ns: int) -> None:
        if self._publishing.is_full():
            self._rest(now_ns)
            return
        self._timers.clear(self.timer)
        self._is_loading = True
        self._is_woken = False
        self._load_id += 1
        self._outbox.loads.append(
            OutboxLoad(self._load_id, self._most_rows, MOST_BYTES, self._settings.max_payload_bytes)
        )

    def _rest(self, now_ns: int) -> None:
        """Look again after a pause."""
        self._timers.set(self.timer, now_ns + self._pause_ns)

    # Rows.

    def loaded(self, rows: list[OutboxRow], now_ns: int) -> None:
        """The rows that were visible."""
        self._is_loading = False
        if not rows:
            if self._is_woken:
                self._load(now_ns)
                return
            self._rest(now_ns)
            self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)
            return
        self._pause_ns = SHORTEST_PAUSE_NS
        self.pending = self._loaded_rows = len(rows)
        self._filling = {}
        is_any_known = any(row.message_id for row in rows)
        for row in rows:
            channel = self._open(row, now_ns)
            if channel is None:
                continue
            if is_any_known:
                self._hold(channel, row, now_ns)
            else:
                self._queue(channel, row)
        if is_any_known:
            self._publishing.guids.ask(now_ns)

    def load_failed(self, now_ns: int) -> None:
        self._is_loading = False
        self._rest(now_ns)

    def _open(self, row: OutboxRow, now_ns: int) -> Channel | None:
        """The channel of a row; None when the row is to be parked."""
        reason = self._condemned.pop(row.row_id, "")
        if not reason and not (
            row.channel in self._channels.by_name or is_acceptable_channel(row.channel)
        ):
            reason = _BAD_NAME
        if not reason and self._is_too_large(row):
            reason = PAYLOAD_TOO_LARGE
        if not reason:
            try:
                return self._channels.open(row.channel, now_ns)
            except Refusal as refusal:
                reason = str(refusal)
        self._unfit.append((row.row_id, reason))
        self._changes.urgent = True
        self._outbox.log("warning", f"Row {row.row_id} of the outbox is parked: {reason}")
        return None

    def _is_too_large(self, row: OutboxRow) -> bool:
        size = row.size + len(row.channel.encode()) + len(row.reply.encode())
        return size + MESSAGE_OVERHEAD_BYTES > self._settings.max_payload_bytes

    def _queue(self, channel: Channel, row: OutboxRow) -> Burst:
        """Queue a row behind those of its channel."""
        burst = self._filling.get(channel.channel_id)
        if burst is None or burst.is_full():
            burst = Burst(channel, LANE, b"", 0)
            self._publishing.lanes.append(burst)
            self._filling[channel.channel_id] = burst
            self._row_ids[burst] = []
        if row.reply or burst.replies:
            burst.replies.extend([""] * (len(burst.guids) - len(burst.replies)))
            burst.replies.append(row.reply)
        size = len(row.data)
        burst.guids.append(b"")
        burst.payloads.append(row.data)
        burst.payload_bytes += size
        burst.queued_bytes += size + MESSAGE_OVERHEAD_BYTES
        self._publishing.queued_messages += 1
        self._publishing.queued_bytes += size + MESSAGE_OVERHEAD_BYTES
        self._row_ids[burst].append(row.row_id)
        return burst

    # Rows whose message may be stored already.

    def _hold(self, channel: Channel, row: OutboxRow, now_ns: int) -> None:
        key: Key = (channel.channel_id, LANE, b"%d" % row.row_id)
        since_ns = -1
        if row.message_id:
            key, since_ns = (channel.channel_id, "", row.message_id.encode()), now_ns
        publish = HeldPublish(row.data, b"", "", key, since_ns)
        publish.row = row
        self._publishing.guids.hold(LANE, publish)

    def _admit(self, row: OutboxRow, now_ns: int) -> Burst | None:
        """Queue a row whose message is not stored; None when it has to be parked now."""
        channel = self._open(row, now_ns)
        if channel is None:
            return None
        burst = self._queue(channel, row)
        if row.message_id:
            burst.message_ids.append(row.message_id.encode())
        return burst

    def _drop(self, row: OutboxRow) -> None:
        """The message of this row is stored already."""
        self._found.append(row.row_id)
        self._changes.urgent = True

    # Batches.

    def fill(self, batch: Batch, bursts: list[Burst]) -> None:
        """Let the batch remove the rows that it settles."""
        taken = batch.outbox_taken
        for burst in bursts:
            row_ids = self._row_ids.get(burst)
            if row_ids is not None:
                taken.extend(row_ids)
                if self._filling.get(burst.channel.channel_id) is burst:
                    del self._filling[burst.channel.channel_id]
        self._sealed_found, self._found = self._found, []
        self._sealed_unfit, self._unfit = self._unfit, []
        taken.extend(self._sealed_found)
        batch.outbox_parked = self._sealed_unfit

    def committed(self, batch: Batch, bursts: list[Burst], now_ns: int) -> None:
        """The rows are gone from the table, and their messages are true."""
        for burst in bursts:
            self._row_ids.pop(burst, None)
        parked, found = len(batch.outbox_parked), len(self._sealed_found)
        self.parked += parked
        self.duplicates += found
        self.relayed += len(batch.outbox_taken) - found
        self._sealed_found, self._sealed_unfit = [], []
        self.pending -= len(batch.outbox_taken) + parked
        if not self.pending:
            self._refusals = 0
            self._most_rows = min(2 * self._most_rows, MOST_ROWS)
            self._load(now_ns)

    def unreachable(self) -> None:
        """The batch failed, and what was in it is queued again."""
        self._found = self._sealed_found + self._found
        self._unfit = self._sealed_unfit + self._unfit
        self._sealed_found, self._sealed_unfit = [], []

    def refused(self, batch: Batch, error: str, now_ns: int) -> None:
        """The store does not want the batch. Which row is to blame, if any is, shows when they
        are tried a few at a time; a row that is refused by itself is parked."""
        if not (batch.outbox_taken or batch.outbox_parked):
            return
        self._sealed_found, self._sealed_unfit = [], []
        self._found, self._unfit = [], []
        self._forget()
        if self._loaded_rows == 1 and batch.outbox_taken:
            self._refusals += 1
            if self._refusals >= _REFUSALS:
                self._refusals = 0
                self._condemned[batch.outbox_taken[0]] = error
        self._most_rows = max(self._most_rows // 4, 1)
        self._pause_ns = SHORTEST_PAUSE_NS
        self._timers.set(self.timer, now_ns + self._settings.retry_interval_ns)

    def _forget(self) -> None:
        """Drop all rows that are queued or held: they will be read again."""
        publishing = self._publishing
        publishing.guids.forget(LANE)
        bursts = publishing.lanes.drop(LANE)
        publishing.guids.settled(bursts)
        for burst in bursts:
            publishing.queued_messages -= len(burst.guids)
            publishing.queued_bytes -= burst.queued_bytes
        self._row_ids, self._filling = {}, {}
        self.pending = 0
