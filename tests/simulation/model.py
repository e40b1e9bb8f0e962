"""The reference store of the simulation: what has been committed, and nothing else.

It outlives every crash. It is written independently of stan/store and checks each batch
while it applies it: sequences follow each other, timestamps do not go back, and a trim
drops nothing that the limits would have kept.
"""

from dataclasses import dataclass, field

from stan.engine.limits import ChannelLimits, StoreLimits
from stan.engine.records import (
    Batch,
    Bounds,
    ChannelRecord,
    ClientRecord,
    GuidLoad,
    History,
    Load,
    OutboxLoad,
    RangeLoad,
    Recovered,
    Result,
    Run,
    ServerRecord,
    SubscriptionRecord,
    Trim,
)
from stan.errors import LeaseLostError
from stan.wire.messages import unframe_message
from stan.wire.stan_pb2 import MsgProto
from tests.simulation.published import Published
from tests.simulation.writers import PREFIX, OutboxTable


@dataclass(slots=True)
class Entry:
    framed: bytes
    size: int
    position: int
    timestamp_ns: int


@dataclass(slots=True)
class Log:
    """One channel. `ever` is each message it ever had; those from `first` on are kept."""

    record: ChannelRecord
    first: int = 1
    last: int = 0
    end_position: int = 0
    last_timestamp_ns: int = 0
    stored_at_ns: int = 0
    removed: set[int] = field(default_factory=set)  # by operators, from `first` on
    ever: dict[int, Entry] = field(default_factory=dict)
    # Publisher -> the sending and the guid of its last message.
    newest: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.last - self.first + 1 - len(self.removed)

    def kept(self, up_to: int) -> list[int]:
        """The sequences that are there, up to this one."""
        return [one for one in range(self.first, up_to + 1) if one not in self.removed]

    def remove(self, sequence: int) -> None:
        """A single message goes, if it is there."""
        if self.first <= sequence <= self.last:
            self.removed.add(sequence)
            self.skip()

    def skip(self) -> None:
        """The head is a message that is there."""
        while self.first in self.removed:
            self.removed.discard(self.first)
            self.first += 1

    def limits(self, configured: StoreLimits) -> ChannelLimits:
        """What the channel may hold while these are configured."""
        return configured.resolve(self.record.name).with_overrides(self.record.limits)

    @property
    def bytes_held(self) -> int:
        return self.end_position - self.ever[self.first].position if self.count else 0

    def bounds(self) -> Bounds:
        if not self.count:
            return Bounds(
                self.last + 1, self.last, self.end_position, self.end_position,
                0, self.last_timestamp_ns, 0,
            )  # fmt: skip
        head = self.ever[self.first]
        return Bounds(
            self.first, self.last, head.position, self.end_position,
            head.timestamp_ns, self.last_timestamp_ns, self.count,
        )  # fmt: skip


@dataclass(slots=True)
class Lease:
    """Who leads; the only truth about it. `expires_ns` is the world's time, as everybody asks
    the database."""

    epoch: int = 0
    owner: object = None
    expires_ns: int = 0


class ModelStore:
    def __init__(
        self, limits: StoreLimits, trim_step: int, overhead_bytes: int, published: Published
    ) -> None:
        self.published = published
        self.outbox = OutboxTable()
        self.keeps_order = True  # of a publisher's messages
        self.ever = [limits]  # all that were in force at some time
        self.trim_step = trim_step
        self.server: ServerRecord | None = None
        self.lease = Lease()
        self.writers: dict[int, object] = {}  # by epoch
        self.batch_number = 0
        self.logs: dict[int, Log] = {}
        self.clients: dict[str, ClientRecord] = {}
        self.subscriptions: dict[int, SubscriptionRecord] = {}
        self.owners: dict[bytes, int] = {}  # guid -> who published it
        # The latest moment any server ever saw; age limits may use it, not more.
        self.newest_clock_ns = 0
        self.clock_steps = False
        self.purges: dict[int, int] = {}  # channel ID -> what operators let go is below
        self.deletions: set[tuple[int, int]] = set()  # messages that operators asked to delete
        self.posts: dict[bytes, int] = {}  # what operators published -> its sequence, or 0
        self._limits = limits
        self._overhead_bytes = overhead_bytes  # what the store adds to each payload
        self._last_channel_id = 0
        self._last_subscription_id = 0

    def recover(self) -> Recovered:
        """What a restarted server is told."""
        return Recovered(
            server=self.server,
            batch_number=self.batch_number,
            next_channel_id=self._last_channel_id + 1,
            next_subscription_id=self._last_subscription_id + 1,
            channels=[(log.record, log.bounds()) for log in self.logs.values()],
            clients=list(self.clients.values()),
            subscriptions=list(self.subscriptions.values()),
        )

    def apply(
        self, batch: Batch, now_ns: int, limits: StoreLimits, epoch: int, writer: object
    ) -> Result:
        """Make the batch true; it was sealed within these limits. Raises LeaseLostError for a
        server that does not lead any more."""
        if epoch != self.lease.epoch:
            raise LeaseLostError("another server leads")
        assert self.writers.setdefault(epoch, writer) is writer or not epoch, "two servers write"
        self._limits = limits
        assert batch.number == self.batch_number + 1, "batch numbers have a gap"
        for channel_id in batch.channels_deleted:
            self._delete(channel_id, now_ns)
        for channel in batch.channels_created:
            assert channel.channel_id > self._last_channel_id, "a channel ID was given twice"
            self._last_channel_id = channel.channel_id
            self.logs[channel.channel_id] = Log(channel)
        for channel in batch.channels_limited:
            self.logs[channel.channel_id].record = channel
        for run in batch.runs:
            self._append(self.logs[run.channel_id], run, now_ns, batch)
        # Where sequences are missing it takes some batches to come down to a limit.
        slow = {channel_id for channel_id, log in self.logs.items() if log.removed}
        unfinished = {trim.channel_id for trim in batch.trims if not self._trim(trim, now_ns)}
        for one in batch.messages_deleted:
            assert one in self.deletions, f"{one} was deleted, and nobody asked for it"
            self.logs[one[0]].remove(one[1])
        for client in batch.clients_put:
            self.clients[client.client_id] = client
        for client_id in batch.clients_deleted:
            self.clients.pop(client_id, None)
        for subscription in batch.subscriptions_put:
            assert subscription.channel_id in self.logs, "a subscription of no channel"
            number = subscription.subscription_id
            self.subscriptions[number] = subscription
            self._last_subscription_id = max(self._last_subscription_id, number)
        for number in batch.subscriptions_deleted:
            self.subscriptions.pop(number, None)
        self.published.record(batch)
        self.outbox.settle(batch)
        self.batch_number = batch.number
        shortened = {t.channel_id for t in batch.trims} | {one for one, _ in batch.messages_deleted}
        for channel_id in ({run.channel_id for run in batch.runs} | shortened) - unfinished - slow:
            self._check_limits(self.logs[channel_id])
        bounds = {channel_id: self.logs[channel_id].bounds() for channel_id in shortened}
        return Result(bounds, frozenset(unfinished))

    def load(self, load: Load) -> History:
        """Answer a load from what is committed."""
        if isinstance(load, GuidLoad):
            return History([], [], self.published.find(load) | self.outbox.find(load))
        if isinstance(load, OutboxLoad):
            return History([], [], rows=self.outbox.load(load))
        log = self.logs.get(load.channel_id)
        if log is None:
            return History([], [])
        if not isinstance(load, RangeLoad):
            for sequence in range(log.first, log.last + 1):
                if sequence in log.removed:
                    continue
                if log.ever[sequence].timestamp_ns >= load.timestamp_ns:
                    return History([sequence], [])
            return History([], [])
        history = History([], [])
        held = 0
        for sequence in range(max(load.from_sequence, log.first), log.last + 1):
            if sequence in log.removed:
                continue
            entry = log.ever[sequence]
            if len(history.sequences) >= load.max_messages or held >= load.max_bytes:
                break
            history.sequences.append(sequence)
            history.framed.append(entry.framed)
            held += entry.size
        return history

    def _append(self, log: Log, run: Run, now_ns: int, batch: Batch) -> None:
        assert run.framed, "an empty run"
        assert run.first_sequence == log.last + 1, "a sequence was repeated or skipped"
        assert run.position == log.end_position, "a position was repeated or skipped"
        assert run.timestamp_ns >= log.last_timestamp_ns, "a timestamp went back"
        assert len(run.framed) == len(run.sizes) == len(run.payloads)
        for index, framed in enumerate(run.framed):
            sequence = log.last + 1
            message = unframe_message(framed)
            proto = MsgProto.FromString(message)
            assert proto.sequence == sequence
            assert proto.subject == run.channel == log.record.name
            assert proto.data == run.payloads[index]
            assert proto.timestamp == run.timestamp_ns
            if proto.data.startswith(PREFIX):
                self.outbox.store(run.channel_id, run.channel, proto.data, batch)
            elif proto.data in self.posts:
                assert not self.posts[proto.data], "an operator's message was stored twice"
                self.posts[proto.data] = sequence
            else:
                self._check_order(log, self.published.store(run.channel_id, proto.data, batch))
            proto.data += bytes(self._overhead_bytes) if proto.data else b""
            size = proto.ByteSize()
            assert size == run.sizes[index]
            log.ever[sequence] = Entry(framed, size, log.end_position, run.timestamp_ns)
            log.last = sequence
            log.end_position += size
        log.last_timestamp_ns = run.timestamp_ns
        log.stored_at_ns = now_ns

    def _check_order(self, log: Log, key: tuple[int, bytes]) -> None:
        """Sendings and guids rise; the messages of one publisher keep their order."""
        if self.published.may_be_late(key[1]):
            return
        owner = self.owners[key[1]]
        if self.keeps_order:
            late = key < log.newest.get(owner, (0, b""))
            assert not late, f"{key} was stored behind a later message"
        log.newest[owner] = key

    def _trim(self, trim: Trim, now_ns: int) -> bool:
        """Drop what is below the floors, at most a step. False: there is more to drop."""
        log = self.logs[trim.channel_id]
        dropped = 0
        while log.count:
            head = log.ever[log.first]
            below = log.first < trim.min_sequence or head.position < trim.min_position
            old = head.timestamp_ns < trim.min_timestamp_ns
            may_empty = trim.may_empty and log.first < trim.min_sequence
            if not (old or (below and (log.count > 1 or may_empty))):
                break
            if self.trim_step and dropped == self.trim_step:
                return False
            self._check_drop(log, head)
            log.first += 1
            log.skip()
            dropped += 1
        return True

    def _check_drop(self, log: Log, head: Entry) -> None:
        """The head may go only when a limit or an operator says so."""
        if log.first < self.purges.get(log.record.channel_id, 0):
            return
        limits = log.limits(self._limits)
        assert (
            0 < limits.max_messages < log.count
            or 0 < limits.max_bytes < log.bytes_held
            or 0 < limits.max_age_ns <= self.newest_clock_ns - head.timestamp_ns
        ), f"{log.record.name}: message {log.first} was dropped within the limits"

    def allow_purge(self, channel_id: int, floor: int) -> None:
        """An operator wants what is below this sequence to go."""
        self.purges[channel_id] = max(self.purges.get(channel_id, 0), floor)

    def find_floor(self, channel_id: int, last: int, keep: int) -> int:
        """The first of this many messages up to the last; the channel's if there are fewer."""
        log = self.logs.get(channel_id)
        kept = log.kept(last) if log is not None else []
        return kept[-keep] if keep < len(kept) else min(kept, default=0)

    def check_purged(self, channel_id: int, floor: int, last: int, keep: int) -> None:
        """An operator was told that it is gone, or that so many up to the last are left."""
        log = self.logs.get(channel_id)
        is_purged = log is None or log.first >= floor or len(log.kept(last)) <= keep
        assert is_purged, f"{channel_id}: not purged to {floor}"

    def check_deleted(self, channel_id: int, sequence: int) -> None:
        """An operator was told that this message is gone."""
        log = self.logs.get(channel_id)
        gone = log is None or sequence < log.first or sequence in log.removed
        assert gone, f"message {sequence} of {channel_id} was not deleted"

    def _check_limits(self, log: Log) -> None:
        limits = log.limits(self._limits)
        if log.count > 1:
            assert not 0 < limits.max_messages < log.count, f"{log.record.name}: too many messages"
            assert not 0 < limits.max_bytes < log.bytes_held, f"{log.record.name}: too many bytes"

    def _delete(self, channel_id: int, now_ns: int) -> None:
        log = self.logs.pop(channel_id)
        self.published.delete(channel_id)
        # It was decided before the batch was sealed, maybe within other limits.
        ever = [log.limits(limits).max_inactivity_ns for limits in self.ever]
        assert any(ever), "a channel without such a limit was deleted"
        quiet_ns = now_ns - log.stored_at_ns
        assert quiet_ns >= min(filter(None, ever)) or self.clock_steps, (
            "an active channel was deleted"
        )
        gone = [n for n, s in self.subscriptions.items() if s.channel_id == channel_id]
        for number in gone:
            del self.subscriptions[number]
