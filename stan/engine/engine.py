"""The engine's surface: frames in, records out, time as an argument.

The caller (the pump, a test, the simulation) calls `receive`, `tick`, `seal`, `committed`
and `loaded`, and after each call takes the operations to send, the loads to read and the
notices to log. Two rules hold it together: nothing is said before it is true, and one
batch is in flight at most. `check` asserts every invariant.
"""

from collections.abc import Callable

from stan.engine import invariants
from stan.engine.bursts import Burst
from stan.engine.cache import Cache
from stan.engine.changes import Changes, Reply
from stan.engine.channels import Channel, Channels, ChannelTimer
from stan.engine.clients import Client, Clients, DuplicateCheck
from stan.engine.delivery import Delivery
from stan.engine.guids import pack_guids
from stan.engine.limits import StoreLimits
from stan.engine.outbox import Outbox
from stan.engine.publishing import Publishing
from stan.engine.records import (
    Batch,
    GuidLoad,
    History,
    Load,
    RangeLoad,
    Recovered,
    Result,
    ServerRecord,
    Trim,
)
from stan.engine.recovery import Recovery
from stan.engine.settings import SECOND_NS, Settings
from stan.engine.subscription import Subscription
from stan.engine.subscriptions import Subscriptions
from stan.engine.timers import Timers
from stan.errors import StoreUnavailableError
from stan.wire.frames import Frame
from stan.wire.messages import parse, read_varint
from stan.wire.stan_pb2 import Ack, CloseResponse, ConnectResponse, SubscriptionResponse
from stan.wire.subjects import ServerSubjects

# How often the store is told to forget old guids, and how much longer than promised it
# keeps them.
_FORGET_INTERVAL_NS = 5 * SECOND_NS
_FORGET_SLACK_NS = 60 * SECOND_NS


class Engine:
    """The state of one streaming server.

    `recovered` is what the store remembers, `server` who it belongs to. `new_id` gives
    identifiers never used before, made of characters that a NATS token may have.
    """

    def __init__(
        self,
        settings: Settings,
        recovered: Recovered,
        server: ServerRecord,
        new_id: Callable[[], str],
        now_ns: int,
    ) -> None:
        subjects = ServerSubjects(settings.cluster_id, settings.discover_prefix)
        run_id = new_id()
        self.settings: Settings = settings
        self.subjects: ServerSubjects = subjects
        self.timers: Timers = Timers()
        self.outbox: Outbox = Outbox()
        self.changes: Changes = Changes()
        self.cache: Cache = Cache(settings.cache_bytes)
        self.channels: Channels = Channels(
            settings, self.changes, self.timers, self.outbox, self.cache
        )
        self.delivery: Delivery = Delivery(
            settings, self.changes, self.timers, self.outbox, self.cache
        )
        self.clients: Clients = Clients(
            settings,
            subjects,
            f"{server.inbox_prefix}.{run_id}h",
            self.changes,
            self.timers,
            self.outbox,
        )
        self.subscriptions: Subscriptions = Subscriptions(
            settings,
            f"{server.inbox_prefix}.{run_id}a",
            self.channels,
            self.clients,
            self.delivery,
            self.changes,
            self.timers,
            self.outbox,
        )
        self.clients.subscriptions = self.subscriptions
        self.publishing: Publishing = Publishing(settings, self.channels, self.clients, self.outbox)
        self._publish_head: bytes = subjects.publish_prefix.encode() + b"."
        self._requests: dict[bytes, int] = {
            subjects.connect.encode(): 1,
            subjects.subscribe.encode(): 2,
            subjects.unsubscribe.encode(): 3,
            subjects.subscription_close.encode(): 4,
            subjects.close.encode(): 5,
            subjects.pings.encode(): 6,
        }
        self._batch: Batch | None = None
        self._batch_changes: Changes = Changes()
        self._batch_bursts: list[Burst] = []
        self._batch_number: int = recovered.batch_number
        # Channels that were trimmed, how far is known to the store only.
        self._bounds_unknown: set[int] = set()
        self._now_ns: int = now_ns
        self._retry_at_ns: int = 0
        self._progress_at_ns: int = 0
        self._forget_at_ns: int = 0
        self._recovery: Recovery = Recovery(
            self.channels,
            self.clients,
            self.subscriptions,
            self.delivery,
            self.changes,
            self.timers,
        )
        self._recovery.run(recovered, now_ns)

    def start(self, now_ns: int) -> None:
        """Begin to deliver what was recovered. To be called when sends can leave."""
        for channel in list(self.channels.by_id.values()):
            self._recovery.start(list(channel.cursors), now_ns)

    # In.

    def receive(self, frames: list[Frame], now_ns: int) -> None:
        """Take what the NATS server sent, in order."""
        self._now_ns = now_ns
        publish_head = self._publish_head
        publish = self.publishing.receive
        by_ack_inbox = self.subscriptions.by_ack_inbox
        touched: dict[Subscription, None] = {}
        index, end = 0, len(frames)
        while index < end:
            subject, reply, payload = frames[index]
            if payload is None:
                self.clients.beat_answered(subject, False, now_ns)
                self.publishing.interrupt()
            elif subject.startswith(publish_head):
                index = publish(frames, index, now_ns)
                continue
            else:
                member = by_ack_inbox.get(subject)
                if member is not None:
                    touched[member] = None
                    index = self._acks(frames, index, member)
                    continue
                self._request(subject, payload, reply, now_ns)
            index += 1
        for member in touched:
            if member.active:
                self.delivery.advance(member.cursor, now_ns)
        if self.publishing.guids.holds:
            self.publishing.guids.ask(now_ns)

    def _acks(self, frames: list[Frame], index: int, member: Subscription) -> int:
        """Take the ack at `index` and those behind it for the same member. Returns the
        index of the first frame that is none."""
        inbox = frames[index][0]
        head = member.cursor.channel.ack_head
        head_size = len(head)
        acknowledge = self.delivery.acknowledge
        end = len(frames)
        while index < end:
            subject, _, payload = frames[index]
            if payload is None or subject != inbox:
                break
            index += 1
            sequence = read_varint(payload, head_size) if payload.startswith(head) else -1
            if sequence < 0:
                sequence = self._read_ack(member, payload)
            if sequence >= 0:
                acknowledge(member, sequence)
        return index

    def _read_ack(self, member: Subscription, payload: bytes) -> int:
        """The sequence in an ack that was not encoded as clients do; -1 for no such ack."""
        try:
            ack = parse(Ack, payload)
        except ValueError:
            return -1
        return int(ack.sequence) if ack.subject == member.cursor.channel.name else -1

    def _request(self, subject: bytes, payload: bytes, reply: bytes, now_ns: int) -> None:
        self.publishing.interrupt()
        kind = self._requests.get(subject, 0)
        if kind == 1:
            self.clients.connect(payload, reply, now_ns)
        elif kind == 2:
            self.subscriptions.subscribe(payload, reply, now_ns)
        elif kind == 3:
            self.subscriptions.unsubscribe(payload, reply, True, now_ns)
        elif kind == 4:
            self.subscriptions.unsubscribe(payload, reply, False, now_ns)
        elif kind == 5:
            self.clients.close(payload, reply, now_ns)
        elif kind == 6:
            self.clients.ping(payload, reply, now_ns)
        else:
            self.clients.beat_answered(subject, True, now_ns)

    # Time.

    def tick(self, now_ns: int) -> None:
        """Act on every deadline that has passed."""
        self._now_ns = now_ns
        for timer in self.timers.due(now_ns):
            if isinstance(timer, Subscription):
                self.delivery.expire(timer, now_ns)
            elif isinstance(timer, Client | DuplicateCheck):
                self.clients.due(timer, now_ns)
            elif isinstance(timer, ChannelTimer):
                self._channel_due(timer.channel, timer.inactivity, now_ns)
        self.delivery.unpark(now_ns)
        self.publishing.interrupt()

    def _channel_due(self, channel: Channel, inactivity: bool, now_ns: int) -> None:
        if channel.deleted:
            return
        if not inactivity:
            self.changes.trims_due[channel.channel_id] = None
            return
        if channel.has_active_subscriptions():
            return
        if self._is_publishing(channel):
            self.channels.watch_inactivity(channel, now_ns)
        else:
            self.channels.delete(channel)

    def _is_publishing(self, channel: Channel) -> bool:
        """Whether messages for this channel wait for a commit, or are in one."""
        runs = self._batch.runs if self._batch is not None else ()
        return any(run.channel_id == channel.channel_id for run in runs) or any(
            burst.channel is channel for burst in self.publishing.queued()
        )

    def next_deadline_ns(self) -> int | None:
        """When `tick` or `seal` should be called at the latest, or None."""
        if self.delivery.parked:
            return self._now_ns  # as soon as what was taken has left
        deadline_ns = self.timers.next_deadline_ns()
        if self._batch is None:
            due_ns = self._seal_due_ns()
            if due_ns >= 0 and (deadline_ns == 0 or due_ns < deadline_ns):
                return due_ns
        return deadline_ns or None

    # Limits.

    def change_limits(self, limits: StoreLimits, now_ns: int) -> None:
        """Live within these limits from now on. What exceeds them is trimmed by the next
        batch; what a batch in flight has decided within the old ones stays decided."""
        self._now_ns = now_ns
        self.settings.limits = limits
        self.channels.take_limits(now_ns)

    # Batches.

    def _seal_due_ns(self) -> int:
        """When there is something to seal: 0 for now, a moment to come, or -1 for never."""
        if self.publishing.has_queued() or self.changes.urgent or self.changes.trims_due:
            return self._retry_at_ns
        if self.changes.progressed:
            return max(self._progress_at_ns, self._retry_at_ns)
        return -1

    def seal(self, now_ns: int, everything: bool = False) -> Batch | None:
        """Give sequences and hand over what must be stored; None while a batch is in flight
        or nothing is due. `everything` includes progress that could wait."""
        if self._batch is not None:
            return None
        due_ns = self._seal_due_ns()
        if due_ns < 0 or (due_ns > now_ns and not everything):
            return None
        batch = Batch(self._batch_number + 1)
        runs, bursts = self.publishing.seal(now_ns)
        batch.runs = list(runs.values())
        for run in batch.runs:
            self._add_trim(
                batch,
                self.channels.by_id[run.channel_id],
                run.end_position,
                len(run.framed),
                now_ns,
            )
        if self.changes.trims_due:
            due, self.changes.trims_due = self.changes.trims_due, {}
            trimmed = {trim.channel_id for trim in batch.trims}
            for channel_id in due:
                channel = self.channels.by_id.get(channel_id)
                if channel is None:
                    self._bounds_unknown.discard(channel_id)
                    continue
                if channel_id not in runs and self._add_trim(
                    batch, channel, channel.end_position, 0, now_ns
                ):
                    continue
                if channel_id not in trimmed:
                    self.channels.watch_age(channel)  # nothing is old: the clock went back
        if self.changes.urgent or now_ns >= self._progress_at_ns or everything:
            self._progress_at_ns = now_ns + self.settings.progress_interval_ns
            self._batch_changes = self.changes.fill(batch)
        else:
            self._batch_changes = Changes()
        self._batch_bursts = bursts
        self._record_guids(batch, bursts, now_ns)
        if not (batch.runs or batch.trims or self._has_records(batch)):
            taken, self._batch_changes = self._batch_changes, Changes()
            self._reply(taken.replies, now_ns)
            return None
        self._batch = batch
        self._batch_number += 1
        return batch

    def _record_guids(self, batch: Batch, bursts: list[Burst], now_ns: int) -> None:
        """Let the store remember what may be published again."""
        guids = self.publishing.guids
        if guids.unsettled or guids.passing:
            batch.guids = pack_guids(bursts)
            batch.message_ids = [
                (burst.channel.channel_id, message_id)
                for burst in bursts
                for message_id in burst.message_ids
            ]
            batch.sealed_ns = now_ns
            if now_ns >= self._forget_at_ns:
                self._forget_at_ns = now_ns + _FORGET_INTERVAL_NS
                batch.forget_ns = now_ns - self.settings.dedupe_window_ns - _FORGET_SLACK_NS

    def _settle_guids(self, bursts: list[Burst], now_ns: int) -> None:
        """Their fate is known: what was held for that may be asked for now."""
        guids = self.publishing.guids
        if guids.unsettled or guids.passing:
            guids.settled(bursts)
            guids.ask(now_ns)

    def _has_records(self, batch: Batch) -> bool:
        return bool(
            batch.channels_deleted
            or batch.channels_created
            or batch.clients_put
            or batch.clients_deleted
            or batch.subscriptions_put
            or batch.subscriptions_deleted
        )

    def _add_trim(
        self, batch: Batch, channel: Channel, end_position: int, added: int, now_ns: int
    ) -> bool:
        """The floors that the channel's limits put under it after this batch. Returns
        whether there are any."""
        limits = channel.limits
        min_sequence = min_position = min_timestamp_ns = 0
        if 0 < limits.max_messages < channel.count + added:
            min_sequence = channel.last + added - limits.max_messages + 1
        if 0 < limits.max_bytes < end_position - channel.first_position:
            min_position = end_position - limits.max_bytes
        if (
            limits.max_age_ns > 0
            and channel.count > 0
            and channel.first_timestamp_ns + limits.max_age_ns <= now_ns
        ):
            min_timestamp_ns = now_ns - limits.max_age_ns + 1
        due = bool(min_sequence or min_position or min_timestamp_ns)
        due = due or channel.channel_id in self._bounds_unknown
        if due:
            trim = Trim(channel.channel_id, min_sequence, min_position, min_timestamp_ns)
            batch.trims.append(trim)
            if (min_sequence or min_position) and not channel.warned:
                channel.warned = True
                self.outbox.log(
                    "warning",
                    f'Reached limits for store "{channel.name}" '
                    f"(msgs={channel.count + added}/{limits.max_messages} "
                    f"bytes={end_position - channel.first_position}/{limits.max_bytes}), "
                    "dropping old messages to make room for new ones",
                )
        return due

    def committed(self, batch: Batch, result: Result, now_ns: int) -> None:
        """The batch is true: answer, acknowledge, deliver."""
        assert batch is self._batch
        self._now_ns = now_ns
        self._batch = None
        self._retry_at_ns = 0
        touched: list[Channel] = []
        for run in batch.runs:
            channel = self.channels.by_id.get(run.channel_id)
            if channel is None:
                continue
            if channel.count == 0:
                channel.first = run.first_sequence
                channel.first_position = run.position
                channel.first_timestamp_ns = run.timestamp_ns
            count = len(run.framed)
            channel.last = run.first_sequence + count - 1
            channel.count += count
            channel.end_position = run.end_position
            channel.last_timestamp_ns = run.timestamp_ns
            self.cache.append(channel.shelf, run.first_sequence, run.framed)
            touched.append(channel)
        for channel_id, bounds in result.bounds.items():
            self._bounds_unknown.discard(channel_id)
            channel = self.channels.by_id.get(channel_id)
            if channel is not None:
                channel.set_bounds(bounds)
                self.channels.watch_age(channel)
        for channel_id in result.unfinished:
            if channel_id in self.channels.by_id:
                self.changes.trims_due[channel_id] = None
                if channel_id not in result.bounds:
                    self._bounds_unknown.add(channel_id)
        self._reply(self._batch_changes.replies, now_ns)
        self.publishing.acknowledge(self._batch_bursts)
        self._settle_guids(self._batch_bursts, now_ns)
        for channel in touched:
            if channel.age_timer.deadline_ns == 0:
                self.channels.watch_age(channel)
            self.channels.watch_inactivity(channel, now_ns)
            for cursor in list(channel.cursors):
                self.delivery.advance(cursor, now_ns)
        self.cache.evict()
        self._batch_bursts = []
        self._batch_changes = Changes()

    def commit_failed(self, batch: Batch, error: Exception, now_ns: int) -> None:
        """Nothing of the batch is true. An unreachable store is tried again with the same
        publishes; a refusal is passed on to who asked."""
        assert batch is self._batch
        self._now_ns = now_ns
        self._batch = None
        self._batch_number -= 1
        self._retry_at_ns = now_ns + self.settings.retry_interval_ns
        taken, bursts = self._batch_changes, self._batch_bursts
        self._batch_bursts = []
        self._batch_changes = Changes()
        for trim in batch.trims:
            if trim.channel_id in self.channels.by_id:
                self.changes.trims_due[trim.channel_id] = None
        retry = isinstance(error, StoreUnavailableError)
        self.changes.take_back(taken, retry)
        if retry:
            self.publishing.put_back(bursts)
        else:
            self.publishing.refuse_all(bursts, str(error))
            self._settle_guids(bursts, now_ns)
            for reply in taken.replies:
                self._refuse(reply, str(error), now_ns)
            self.publishing.interrupt()

    def _reply(self, replies: list[Reply], now_ns: int) -> None:
        for reply in replies:
            self.outbox.send(reply.subject, reply.granted)
            member = reply.subscription
            if member is not None and member.active and member.ack_inbox == reply.ack_inbox:
                self.delivery.start(member, now_ns)

    def _refuse(self, reply: Reply, error: str, now_ns: int) -> None:
        """Take back what a request changed and say why."""
        member = reply.subscription
        if reply.kind == "connect":
            payload = ConnectResponse(error=error).SerializeToString()
            # Another client may have the ID by now.
            if reply.client is not None and not reply.client.gone:
                self.clients.remove(reply.client, now_ns)
        elif reply.kind == "close":
            payload = CloseResponse(error=error).SerializeToString()
        else:
            payload = SubscriptionResponse(error=error).SerializeToString()
            if member is not None and member.active and member.ack_inbox == reply.ack_inbox:
                self.subscriptions.end(member, reply.kind == "subscribe", now_ns)
        self.outbox.send(reply.subject, payload)

    # History.

    def loaded(self, load: Load, history: History, now_ns: int) -> None:
        """The store answered a load."""
        self._now_ns = now_ns
        if isinstance(load, RangeLoad):
            self.delivery.loaded(load, history, now_ns)
        elif isinstance(load, GuidLoad):
            self.publishing.guids.answered(load, history.found, now_ns)
        else:
            self.subscriptions.sought(load, history, now_ns)

    def load_failed(self, load: Load, error: Exception, now_ns: int) -> None:
        """The store could not read. The caller waits a little before it says so."""
        self._now_ns = now_ns
        if isinstance(load, RangeLoad):
            self.delivery.load_failed(load, now_ns)
        elif isinstance(load, GuidLoad):
            self.publishing.guids.not_answered(load, now_ns)
        else:
            self.subscriptions.seek_failed(load, str(error))

    # Inside.

    def check(self) -> None:
        """Raise AssertionError when an invariant is broken; see `invariants`."""
        invariants.check(self)

    def replies(self) -> list[Reply]:
        """The answers that wait for a batch, that in flight included."""
        return self._batch_changes.replies + self.changes.replies

    def is_trimming(self, channel_id: int) -> bool:
        """Whether the batch in flight trims this channel."""
        return self._batch is not None and any(
            trim.channel_id == channel_id for trim in self._batch.trims
        )

    # Out.

    def take_sends(self) -> list[bytes]:
        """The operations to send, in order, to be joined into one write."""
        operations = self.outbox.operations
        if operations:
            self.outbox.operations = []
            self.outbox.delivered_bytes = 0
        return operations

    def take_loads(self) -> list[Load]:
        """The history to read."""
        loads = self.outbox.loads
        if loads:
            self.outbox.loads = []
        return loads

    def take_notices(self) -> list[tuple[str, str]]:
        """The lines to log: level and text."""
        notices = self.outbox.notices
        if notices:
            self.outbox.notices = []
        return notices
