"""The memory store: everything in this process, nothing after it.

It is also the plainest statement of what the contract means, and the store suite compares
the databases with it. Each message's bytes are held once, as the engine encoded them.
Invariant: in a channel the lists run in parallel, ascending, and nothing below `head` counts.
"""

import asyncio
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import accumulate, repeat

from stan.engine.guids import find_guids, group_guids
from stan.engine.records import (
    Batch,
    Bounds,
    ChannelRecord,
    ClientRecord,
    GuidLoad,
    History,
    Key,
    Load,
    OutboxLoad,
    OutboxRow,
    RangeLoad,
    Recovered,
    Result,
    Run,
    ServerRecord,
    SubscriptionRecord,
    Trim,
)
from stan.errors import StoreRefusedError
from stan.store.contract import Holder

_COMPACT_MESSAGES = 4096
_NOTHING_SHORTENED = Result()
_UNSHARED = "memory is not shared: no other server can take it over"
# Guids are remembered for the window, but never more than this of them.
_PUBLISHED_BYTES = 64 * 1024 * 1024


class _Log:
    """The messages of one channel. Dropping from the front costs O(1) a message."""

    __slots__ = (
        "channel",
        "end_position",
        "framed",
        "head",
        "last_sequence",
        "last_timestamp_ns",
        "positions",
        "sequences",
        "timestamps_ns",
    )

    def __init__(self, channel: ChannelRecord) -> None:
        self.channel = channel
        self.head = 0
        self.sequences = array("q")
        self.positions = array("q")
        self.timestamps_ns = array("q")
        self.framed: list[bytes] = []
        self.last_sequence = 0
        self.end_position = 0
        self.last_timestamp_ns = 0

    def append(self, run: Run) -> None:
        count = len(run.framed)
        if not count:
            return
        if count == 1:  # many channels in turns
            self.end_position = run.position + run.sizes[0]
            self.sequences.append(run.first_sequence)
            self.positions.append(run.position)
            self.timestamps_ns.append(run.timestamp_ns)
            self.framed.append(run.framed[0])
            self.last_sequence = run.first_sequence
            self.last_timestamp_ns = run.timestamp_ns
            return
        starts = list(accumulate(run.sizes, initial=run.position))
        self.end_position = starts.pop()
        self.sequences.extend(range(run.first_sequence, run.first_sequence + count))
        self.positions.extend(starts)
        self.timestamps_ns.extend(repeat(run.timestamp_ns, count))
        self.framed.extend(run.framed)
        self.last_sequence = run.first_sequence + count - 1
        self.last_timestamp_ns = run.timestamp_ns

    def trim(self, trim: Trim) -> None:
        last = len(self.framed) - 1
        if last < self.head:
            return
        head = max(
            bisect_left(self.sequences, trim.min_sequence, self.head),
            bisect_left(self.positions, trim.min_position, self.head),
        )
        if trim.may_empty and trim.min_sequence > self.sequences[last]:
            last += 1
        head = max(
            min(head, max(last, self.head)),
            bisect_left(self.timestamps_ns, trim.min_timestamp_ns, self.head),
        )
        if head > self.head:
            self.framed[self.head : head] = repeat(b"", head - self.head)
            self.head = head
            if head > _COMPACT_MESSAGES and head * 2 > len(self.framed):
                self._compact()

    def find_stored_ns(self, sequence: int) -> int:
        """When this message was stored; 0 when it is not kept."""
        at = bisect_left(self.sequences, sequence, self.head)
        is_there = at < len(self.framed) and self.sequences[at] == sequence
        return self.timestamps_ns[at] if is_there else 0

    def remove(self, sequence: int) -> None:
        """Drop this message, if it is there."""
        at = bisect_left(self.sequences, sequence, self.head)
        if at < len(self.framed) and self.sequences[at] == sequence:
            for column in (self.sequences, self.positions, self.timestamps_ns, self.framed):
                del column[at]

    def _compact(self) -> None:
        for column in (self.sequences, self.positions, self.timestamps_ns, self.framed):
            del column[: self.head]
        self.head = 0

    def bounds(self) -> Bounds:
        count = len(self.framed) - self.head
        return Bounds(
            first_sequence=self.sequences[self.head] if count else self.last_sequence + 1,
            last_sequence=self.last_sequence,
            first_position=self.positions[self.head] if count else self.end_position,
            end_position=self.end_position,
            first_timestamp_ns=self.timestamps_ns[self.head] if count else 0,
            last_timestamp_ns=self.last_timestamp_ns,
            kept=count,
        )

    def read(self, load: RangeLoad) -> History:
        start = bisect_left(self.sequences, load.from_sequence, self.head)
        if start == len(self.framed):
            return History([], [])
        byte_end = self.positions[start] + max(load.max_bytes, 1)
        stop = bisect_left(self.positions, byte_end, start)
        stop = min(stop, start + max(load.max_messages, 1))
        return History(list(self.sequences[start:stop]), self.framed[start:stop])

    def find(self, timestamp_ns: int) -> History:
        at = bisect_left(self.timestamps_ns, timestamp_ns, self.head)
        return History(list(self.sequences[at : at + 1]), [])


class _Published:
    """What was published lately, by those who may send again; the oldest goes first."""

    def __init__(self) -> None:
        self._records: deque[tuple[int, bytes]] = deque()
        self._message_ids: dict[tuple[int, bytes], int] = {}  # ascending by time
        self._bytes = 0

    def record(self, batch: Batch) -> None:
        if batch.guids:
            self._records.append((batch.sealed_ns, batch.guids))
            self._bytes += len(batch.guids)
        for message_id in batch.message_ids:
            self._message_ids.pop(message_id, None)
            self._message_ids[message_id] = batch.sealed_ns
        records = self._records
        while records and (records[0][0] < batch.forget_ns or self._bytes > _PUBLISHED_BYTES):
            self._bytes -= len(records.popleft()[1])
        while self._message_ids:
            oldest = next(iter(self._message_ids))
            if self._message_ids[oldest] >= batch.forget_ns:
                break
            del self._message_ids[oldest]

    def find(self, load: GuidLoad) -> frozenset[Key]:
        found: set[Key] = set()
        for sealed_ns, guids in reversed(self._records):
            if sealed_ns < load.since_ns:
                break
            found |= find_guids(guids, group_guids(load.keys - found))
        for key in load.keys:
            channel_id, client_id, message_id = key
            if not client_id:
                recorded_ns = self._message_ids.get((channel_id, message_id))
                if recorded_ns is not None and recorded_ns >= load.message_ids_since_ns:
                    found.add(key)
        return frozenset(found)


class MemoryStore:
    """A store that answers at once and forgets when the process ends."""

    kind = "MEMORY"
    location = ""
    persistent = False
    held_lease = None  # nobody else can reach it

    @property
    def instant(self) -> "MemoryStore":
        """Itself: nothing here waits."""
        return self

    def __init__(self) -> None:
        self._server: ServerRecord | None = None
        self._batch_number = 0
        self._last_channel_id = 0
        self._last_subscription_id = 0
        self._logs: dict[int, _Log] = {}
        self._clients: dict[str, ClientRecord] = {}
        self._subscriptions: dict[int, SubscriptionRecord] = {}
        self._published = _Published()
        # Nobody but this process can write here: for whoever compares with the databases.
        self.outbox: dict[int, OutboxRow] = {}
        self.outbox_parked: dict[int, tuple[OutboxRow, str]] = {}

    async def open(self) -> None:
        """Nothing to do: memory is always usable."""

    async def prepare(self) -> None:
        raise StoreRefusedError(_UNSHARED)

    async def read_holder(self) -> Holder:
        raise StoreRefusedError(_UNSHARED)

    async def read_server(self) -> ServerRecord | None:
        raise StoreRefusedError(_UNSHARED)

    async def lost(self) -> None:
        """Never: nobody else can reach it."""
        await asyncio.get_running_loop().create_future()

    async def take(self, seen: Holder) -> bool:
        raise StoreRefusedError(_UNSHARED)

    async def recover(self) -> Recovered:
        """What this object holds; nothing in a new process."""
        return Recovered(
            server=self._server,
            batch_number=self._batch_number,
            next_channel_id=self._last_channel_id + 1,
            next_subscription_id=self._last_subscription_id + 1,
            channels=[(log.channel, log.bounds()) for log in self._logs.values()],
            clients=list(self._clients.values()),
            subscriptions=list(self._subscriptions.values()),
        )

    async def initialize(self, server: ServerRecord) -> None:
        """Remember who the store belongs to."""
        if self._server is not None:
            raise StoreRefusedError("the store already belongs to a cluster")
        self._server = server

    async def commit(self, batch: Batch) -> Result:
        """See `commit_now`."""
        return self.commit_now(batch)

    async def outcome(self) -> int:
        """The number of the last batch applied."""
        return self._batch_number

    async def load(self, load: Load) -> History:
        """See `load_now`."""
        return self.load_now(load)

    async def read_times(self, messages: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """Look them up."""
        found = {}
        for channel_id, sequence in messages:
            log = self._logs.get(channel_id)
            stored_ns = log.find_stored_ns(sequence) if log is not None else 0
            if stored_ns:
                found[channel_id, sequence] = stored_ns
        return found

    async def close(self) -> None:
        """Nothing to release; the data goes with the object."""

    def commit_now(self, batch: Batch) -> Result:
        """Apply the batch. Raises StoreRefusedError, with nothing applied, when it speaks of
        a channel that does not exist."""
        self._check_channels(batch)
        for channel_id in batch.channels_deleted:
            self._delete_channel(channel_id)
        for channel in batch.channels_created:
            self._logs[channel.channel_id] = _Log(channel)
            self._last_channel_id = max(self._last_channel_id, channel.channel_id)
        for channel in batch.channels_limited:
            self._logs[channel.channel_id].channel = channel
        for run in batch.runs:
            self._logs[run.channel_id].append(run)
        for trim in batch.trims:
            self._logs[trim.channel_id].trim(trim)
        for channel_id, sequence in batch.messages_deleted:
            self._logs[channel_id].remove(sequence)
        for client in batch.clients_put:
            self._clients[client.client_id] = client
        for client_id in batch.clients_deleted:
            self._clients.pop(client_id, None)
        for subscription in batch.subscriptions_put:
            number = subscription.subscription_id
            self._subscriptions[number] = subscription
            self._last_subscription_id = max(self._last_subscription_id, number)
        for subscription_id in batch.subscriptions_deleted:
            self._subscriptions.pop(subscription_id, None)
        if batch.sealed_ns:
            self._published.record(batch)
        for row_id in batch.outbox_taken:
            self.outbox.pop(row_id, None)
        for row_id, reason in batch.outbox_parked:
            if row_id in self.outbox:
                self.outbox_parked[row_id] = self.outbox.pop(row_id), reason
        self._batch_number = batch.number
        if not (batch.trims or batch.messages_deleted):
            return _NOTHING_SHORTENED
        shortened = {trim.channel_id for trim in batch.trims}
        shortened.update([channel_id for channel_id, _ in batch.messages_deleted])
        return Result({each: self._logs[each].bounds() for each in shortened})

    def load_now(self, load: Load) -> History:
        """Read history; nothing at all of a channel that does not exist."""
        if isinstance(load, GuidLoad):
            return History([], [], self._published.find(load))
        if isinstance(load, OutboxLoad):
            return History([], [], rows=self._read_outbox(load))
        log = self._logs.get(load.channel_id)
        if log is None:
            return History([], [])
        if isinstance(load, RangeLoad):
            return log.read(load)
        return log.find(load.timestamp_ns)

    def _read_outbox(self, load: OutboxLoad) -> list[OutboxRow]:
        rows: list[OutboxRow] = []
        left_bytes = load.max_bytes
        for row_id in sorted(self.outbox)[: load.max_rows]:
            row = self.outbox[row_id]
            is_readable = row.size <= load.max_payload_bytes
            if rows and left_bytes <= 0:
                break
            rows.append(row if is_readable else replace(row, data=b""))
            left_bytes -= row.size if is_readable else 0
        return rows

    async def outbox_written(self) -> None:
        """Never: nobody else can reach it."""
        await asyncio.get_running_loop().create_future()

    def _check_channels(self, batch: Batch) -> None:
        known: Container[int] = self._logs
        if batch.channels_deleted or batch.channels_created:
            created = {channel.channel_id for channel in batch.channels_created}
            known = self._logs.keys() - set(batch.channels_deleted) | created
        named = [run.channel_id for run in batch.runs]
        if batch.trims or batch.channels_limited or batch.messages_deleted:
            named += [trim.channel_id for trim in batch.trims]
            named += [channel.channel_id for channel in batch.channels_limited]
            named += [channel_id for channel_id, _ in batch.messages_deleted]
        for channel_id in named:
            if channel_id not in known:
                raise StoreRefusedError(f"channel {channel_id} does not exist")

    def _delete_channel(self, channel_id: int) -> None:
        self._logs.pop(channel_id, None)
        gone = [n for n, s in self._subscriptions.items() if s.channel_id == channel_id]
        for subscription_id in gone:
            del self._subscriptions[subscription_id]
