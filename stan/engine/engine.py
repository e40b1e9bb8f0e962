"""The engine's surface: frames in, records out, time as an argument.

The caller (the pump, a test, the simulation) calls `receive`, `tick`, `seal`, `committed`
and `loaded`, and after each call takes the operations to send, the loads to read and the
notices to log. The rooms decide; here is only who is asked for what. What is always true
between two calls is in `invariants`, which tests call.
"""

from collections.abc import Callable

from stan.engine.administration import Administration
from stan.engine.batches import Batches
from stan.engine.cache import Cache
from stan.engine.changes import Changes
from stan.engine.channels import Channels
from stan.engine.clients import Clients, DuplicateCheck
from stan.engine.delivery import Delivery
from stan.engine.history import Loads
from stan.engine.limits import StoreLimits
from stan.engine.outbox import Outbox
from stan.engine.proofs import Proofs
from stan.engine.publishing import Publishing
from stan.engine.records import (
    Batch,
    GuidLoad,
    History,
    Load,
    Operation,
    OutboxLoad,
    Outcome,
    RangeLoad,
    Recovered,
    Result,
    ServerRecord,
)
from stan.engine.recovery import Recovery
from stan.engine.replaying import Held, Replaying
from stan.engine.settings import Settings
from stan.engine.state import Channel, ChannelTimer, Client, Question, Subscription
from stan.engine.strays import Strays
from stan.engine.subscriptions import Subscriptions
from stan.engine.timers import Timers
from stan.units import SECOND_NS
from stan.wire.frames import Frame
from stan.wire.messages import parse, read_varint
from stan.wire.stan_pb2 import Ack, CloseRequest
from stan.wire.subjects import ServerSubjects

# By how much two ways through NATS may differ in length, a read that waits included.
_LATE_NS = SECOND_NS

# Takes payload, reply subject and time.
Request = Callable[[bytes, bytes, int], None]


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
        own_prefix = f"{server.inbox_prefix}.{new_id()}"
        changes, timers, outbox, cache = Changes(), Timers(), Outbox(), Cache(settings.cache_bytes)
        channels = Channels(settings, changes, timers, outbox, cache)
        loads = Loads(settings, outbox, cache)
        proofs = Proofs(settings, f"{own_prefix}p", timers, outbox)
        delivery = Delivery(settings, changes, timers, outbox, loads, proofs)
        clients = Clients(
            settings, subjects, f"{own_prefix}h", changes, timers, outbox, proofs, self._leave
        )
        subscriptions = Subscriptions(
            settings, f"{own_prefix}a", channels, clients, delivery, loads, changes, timers, outbox
        )
        publishing = Publishing(settings, channels, clients, outbox)
        self.settings: Settings = settings
        self.subjects: ServerSubjects = subjects
        self.timers: Timers = timers
        self.outbox: Outbox = outbox
        self.changes: Changes = changes
        self.cache: Cache = cache
        self.channels: Channels = channels
        self.loads: Loads = loads
        self.proofs: Proofs = proofs
        self.delivery: Delivery = delivery
        self.clients: Clients = clients
        self.subscriptions: Subscriptions = subscriptions
        self.publishing: Publishing = publishing
        self.batches: Batches = Batches(
            settings,
            channels,
            clients,
            subscriptions,
            delivery,
            publishing,
            changes,
            timers,
            outbox,
            cache,
            recovered.batch_number,
        )
        self.replaying: Replaying = Replaying(subjects, clients, subscriptions, publishing, outbox)
        self.strays: Strays = Strays(channels.by_name, outbox)
        self._publish_head: bytes = subjects.publish_prefix.encode() + b"."
        self._requests: dict[bytes, Request] = self._list_requests()
        self._proven: list[Client] = []  # who answered in the chunk under way
        self._now_ns: int = now_ns
        self._late_until_ns: int = 0  # until then the last leader may have heard it, too
        self._recovery: Recovery = Recovery(
            channels, clients, subscriptions, delivery, changes, timers
        )
        self._recovery.run(recovered, now_ns)

    def _list_requests(self) -> dict[bytes, Request]:
        """Who answers what clients ask, by subject; the rooms stand already."""
        subjects = self.subjects
        return {
            subjects.connect.encode(): self.clients.connect,
            subjects.subscribe.encode(): self.subscriptions.subscribe,
            subjects.unsubscribe.encode(): self.subscriptions.unsubscribe,
            subjects.subscription_close.encode(): self.subscriptions.close,
            subjects.close.encode(): self._close,
            subjects.pings.encode(): self.clients.ping,
        }

    def start(self, now_ns: int) -> None:
        """Begin to deliver what was recovered. To be called when sends can leave."""
        for channel in list(self.channels.by_id.values()):
            self._recovery.start(list(channel.cursors), now_ns)
        self.batches.relaying.start(now_ns)

    def _leave(self, subscription: Subscription, now_ns: int) -> None:
        """The client of this subscription is gone."""
        self.subscriptions.end(subscription, False, now_ns)

    # In.

    def receive(self, frames: list[Frame], now_ns: int) -> None:
        """Take what the NATS server sent, in order."""
        if now_ns < self._late_until_ns:
            self._replay([(now_ns, frames)], now_ns)
            return
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
        while self._proven:  # behind the acks, or what they are for might be sent again
            self.delivery.release(self._proven.pop(), now_ns)
        if self.publishing.guids.holds:
            self.publishing.guids.ask(now_ns)
            self._close_late(now_ns)

    def replay(self, held: Held, now_ns: int) -> None:
        """Take what clients sent before this server led, which the last leader may have taken
        in part: each publish is stored once, each request is true once and answered. So is
        what comes soon after: its way to the last leader may have been shorter."""
        self._late_until_ns = now_ns + _LATE_NS
        self._replay(held, now_ns)

    def _replay(self, held: Held, now_ns: int) -> None:
        late_until_ns, self._late_until_ns = self._late_until_ns, 0
        self._now_ns = now_ns
        self.replaying.begin(held)
        for arrived_ns, frames in held:
            for frame in frames:
                if not self.replaying.take(frame, arrived_ns, now_ns):
                    self.receive([frame], now_ns)
        self._late_until_ns = late_until_ns
        self.publishing.guids.ask(now_ns)
        self._close_late(now_ns)

    def _close(self, payload: bytes, reply: bytes, now_ns: int) -> None:
        """A client's publishes come before its close, also those that are held."""
        holds = self.publishing.guids.holds
        if holds:
            try:
                hold = holds.get(parse(CloseRequest, payload).clientID)
            except ValueError:
                hold = None
            if hold is not None:
                hold.close = (payload, reply)
                return
        self.clients.close(payload, reply, now_ns)

    def _close_late(self, now_ns: int) -> None:
        """Close the clients of whom nothing is held any more."""
        guids = self.publishing.guids
        if guids.closes:
            closes, guids.closes = guids.closes, []
            self.publishing.interrupt()
            for payload, reply in closes:
                self.clients.close(payload, reply, now_ns)

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
        channel = member.cursor.channel
        if channel.ack_head[:-1] in payload:  # else it names another channel, or none
            try:
                ack = parse(Ack, payload)
            except ValueError:
                return -1
            if ack.subject == channel.name:
                return int(ack.sequence)
        self.strays.take(payload, self._now_ns)
        return -1

    def _request(self, subject: bytes, payload: bytes, reply: bytes, now_ns: int) -> None:
        self.publishing.interrupt()
        request = self._requests.get(subject)
        if request is not None:
            request(payload, reply, now_ns)
        elif subject in self.proofs.asked:
            self._proven.append(self.proofs.answered(subject, now_ns))
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
            elif isinstance(timer, Question):
                self.proofs.due(timer, now_ns)
            elif isinstance(timer, ChannelTimer):
                self._channel_due(timer.channel, timer.inactivity, now_ns)
            elif timer is self.batches.relaying.timer:
                self.batches.relaying.due(now_ns)
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
        if self.batches.is_storing(channel):
            self.channels.watch_inactivity(channel, now_ns)
        else:
            self.channels.delete(channel)

    def next_deadline_ns(self) -> int | None:
        """When `tick` or `seal` should be called at the latest, or None."""
        if self.delivery.parked:
            return self._now_ns  # as soon as what was taken has left
        deadline_ns = self.timers.next_deadline_ns()
        due_ns = self.batches.due_ns()
        if due_ns >= 0 and (deadline_ns == 0 or due_ns < deadline_ns):
            return due_ns
        return deadline_ns or None

    # Administration.

    def administer(
        self, ticket: int, operation: Operation, now_ns: int, is_trial: bool = False
    ) -> None:
        """Do what somebody asks for, or only tell what it would do. Its outcome comes with this
        ticket. Raises OperationRefused."""
        self._now_ns = now_ns
        self.publishing.interrupt()
        Administration(
            self.channels,
            self.clients,
            self.subscriptions,
            self.delivery,
            self.batches,
            self.changes,
            self.timers,
            self.outbox,
        ).run(ticket, operation, is_trial, now_ns)

    # Limits.

    def change_limits(self, limits: StoreLimits, now_ns: int) -> None:
        """Live within these limits from now on. What exceeds them is trimmed by the next
        batch; what a batch in flight has decided within the old ones stays decided."""
        self._now_ns = now_ns
        self.settings.limits = limits
        self.channels.take_limits(now_ns)

    def change_max_payload(self, max_payload_bytes: int, now_ns: int) -> None:
        """NATS carries payloads of this size from now on. What was stopped for its size is
        tried again."""
        if max_payload_bytes == self.settings.max_payload_bytes:
            return
        self._now_ns = now_ns
        self.settings.max_payload_bytes = max_payload_bytes
        self.publishing.interrupt()
        cursors = [one for each in self.channels.by_id.values() for one in each.cursors]
        self.delivery.take_max_payload(cursors, now_ns)

    # Batches.

    def seal(self, now_ns: int, everything: bool = False) -> Batch | None:
        """Give sequences and hand over what must be stored; None while a batch is in flight
        or nothing is due. `everything` includes progress that could wait."""
        return self.batches.seal(now_ns, everything)

    def committed(self, batch: Batch, result: Result, now_ns: int) -> None:
        """The batch is true: answer, acknowledge, deliver."""
        self._now_ns = now_ns
        self.batches.committed(batch, result, now_ns)
        self._close_late(now_ns)

    def commit_failed(self, batch: Batch, error: Exception, now_ns: int) -> None:
        """Nothing of the batch is true, now or ever."""
        self._now_ns = now_ns
        self.batches.failed(batch, error, now_ns)

    # History.

    def loaded(self, load: Load, history: History, now_ns: int) -> None:
        """The store answered a load."""
        self._now_ns = now_ns
        if isinstance(load, RangeLoad):
            for cursor in self.loads.loaded(load, history):
                self.delivery.advance(cursor, now_ns)
            self.cache.evict()
        elif isinstance(load, GuidLoad):
            self.publishing.guids.answered(load, history.found, now_ns)
            self._close_late(now_ns)
        elif isinstance(load, OutboxLoad):
            self.batches.relaying.loaded(history.rows, now_ns)
        else:
            self.subscriptions.sought(load, history, now_ns)

    def wake_outbox(self, now_ns: int) -> None:
        """Somebody says that the outbox table was written to."""
        self._now_ns = now_ns
        self.batches.relaying.wake(now_ns)

    def load_failed(self, load: Load, error: Exception, now_ns: int) -> None:
        """The store could not read. The caller waits a little before it says so."""
        self._now_ns = now_ns
        if isinstance(load, RangeLoad):
            for cursor in self.loads.load_failed(load):
                self.delivery.advance(cursor, now_ns)
        elif isinstance(load, GuidLoad):
            self.publishing.guids.not_answered(load, now_ns)
        elif isinstance(load, OutboxLoad):
            self.batches.relaying.load_failed(now_ns)
        else:
            self.subscriptions.seek_failed(load, str(error))

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

    def take_outcomes(self) -> list[Outcome]:
        """What operations did."""
        outcomes = self.outbox.outcomes
        if outcomes:
            self.outbox.outcomes = []
        return outcomes

    def take_notices(self) -> list[tuple[str, str]]:
        """The lines to log: level and text."""
        notices = self.outbox.notices
        if notices:
            self.outbox.notices = []
        return notices
