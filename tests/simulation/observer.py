"""The checkers: what a server may say, seen from outside, next to what the store holds.

It sees every frame in, every operation out, and looks into the engine only to learn which
cursor an inbox belongs to. Whatever the protocol forbids raises AssertionError here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stan.engine import invariants
from stan.engine.records import Batch, GuidLoad, OutboxLoad
from stan.engine.state import Cursor, Subscription
from stan.wire.frames import Frame
from stan.wire.messages import unframe_message
from stan.wire.stan_pb2 import Ack, ConnectResponse, MsgProto, PubAck, SubscriptionResponse
from tests.simulation.client import PUBLISH
from tests.simulation.model import Log
from tests.simulation.operations import Operation, read_operations

if TYPE_CHECKING:
    from tests.simulation.server import Server
    from tests.simulation.world import World


class Story:
    """What became of one cursor: a subscription, durable or group, in one run of a server.
    What clients received they received from whichever server."""

    def __init__(self, channel_id: int, start: int, received: set[int]) -> None:
        self.channel_id = channel_id
        self.start = start
        self.last_first = start  # the last sequence sent for the first time in this run
        self.received = received
        self.sent: set[int] = set()  # in this run
        self.acked: set[int] = set()  # in this run
        # Acks in a group of servers: just after a takeover the engine may send between two frames
        # of a read, and another server may have sent what is acked.
        self.early: set[int] = set()
        self.holders: dict[bytes, set[int]] = {}  # inbox -> sent to it and not acked
        self.is_moved = False  # by an operator: what it passes over is not missing

    def move(self, sequence: int) -> None:
        """Go on here: whatever was in flight is given up."""
        self.is_moved = True
        self.last_first = sequence - 1
        self.start = min(self.start, sequence - 1)
        self.acked = set()
        for held in self.holders.values():
            held.clear()


class Listener:
    """Who a delivery inbox belongs to."""

    def __init__(self, story: Story, max_in_flight: int) -> None:
        self.story = story
        self.max_in_flight = max_in_flight
        # What was in flight when a durable was resumed is sent again in order.
        self.resume_end = 0
        self.resent: set[int] = set()
        self.last_resent = 0


class Chronicle:
    """What the observers of all servers that ever ran know together."""

    def __init__(self) -> None:
        self.stored: dict[int, Story] = {}  # by the IDs of the subscriptions that were stored
        self.by_inbox: dict[bytes, Story] = {}
        self.granted: set[str] = set()  # the ack inboxes that were stored at some time
        self.checks = 0
        self.delivered = 0
        self.acks = 0

    def received(self, inbox: bytes, sequence: int) -> None:
        """A client really got a message."""
        story = self.by_inbox.get(inbox)
        if story is not None:
            story.received.add(sequence)


class Observer:
    """Of one run of a server, from its recovery to its end."""

    def __init__(self, world: World, server: Server) -> None:
        """A server starts: runs end, stories go on."""
        self.world = world
        self._stories: dict[Cursor, Story] = {}
        self._by_subscription: dict[int, Story] = {}
        self._listeners: dict[bytes, Listener] = {}
        self._calls = 0
        self._gone: set[tuple[int, int]] = set()  # messages, as channel ID and sequence
        known = world.chronicle.stored
        subscriptions = server.engine.subscriptions
        self._next_subscription_id = subscriptions.next_subscription_id
        for channel in server.engine.channels.by_id.values():
            for number, member in channel.subscriptions.items():
                cursor = member.cursor
                story = self._stories.get(cursor)
                if story is None:
                    assert number in known, "a subscription that nobody asked for was recovered"
                    old = known[number]
                    story = Story(old.channel_id, old.start, old.received)
                    story.last_first = cursor.last_sent
                    story.is_moved = old.is_moved
                    self._stories[cursor] = story
                self._by_subscription[number] = story
        for member in subscriptions.by_ack_inbox.values():
            self._listen(member, False)
        # Whose grant was told, or came with the store: told again it begins nothing anew.
        self._told = {inbox.decode() for inbox in subscriptions.by_ack_inbox}
        invariants.check(server.engine)

    def stored(self, batch: Batch) -> None:
        """A batch of this server is true."""
        chronicle = self.world.chronicle
        for record in batch.subscriptions_put:
            story = self._by_subscription.get(record.subscription_id)
            if story is not None:
                chronicle.stored[record.subscription_id] = story
            chronicle.granted.add(record.ack_inbox)

    def deleted(self, channel_id: int, sequence: int) -> None:
        """An operator was told that this message is gone."""
        self._gone.add((channel_id, sequence))

    def moved(self, cursor: Cursor, sequence: int) -> None:
        """An operator moves a durable or group."""
        story = self._stories.get(cursor)
        if story is not None:
            story.move(sequence)

    def called(self, server: Server) -> None:
        """After a call of the engine."""
        self._calls += 1
        engine = server.engine
        if engine.subscriptions.next_subscription_id != self._next_subscription_id:
            self._find_new(server)
        if self._calls % self.world.check_every == 0:
            self.world.chronicle.checks += 1
            invariants.check(engine)
            loads = set(engine.loads.asked)
            untaken = {
                load.load_id
                for load in engine.outbox.loads
                if not isinstance(load, GuidLoad | OutboxLoad)
            }
            assert loads == server.outstanding | untaken, "somebody waits for no load"

    def _find_new(self, server: Server) -> None:
        engine = server.engine
        self._next_subscription_id = engine.subscriptions.next_subscription_id
        for channel in engine.channels.by_id.values():
            for number, member in channel.subscriptions.items():
                if number in self._by_subscription:
                    continue
                cursor = member.cursor
                story = self._stories.get(cursor)
                if story is None:
                    story = Story(channel.channel_id, cursor.last_sent, set())
                    self._stories[cursor] = story
                self._by_subscription[number] = story

    def _listen(self, member: Subscription, resumed: bool) -> None:
        story = self._stories[member.cursor]
        listener = self._hear(story, member.inbox, member.max_in_flight)
        if resumed and not member.group:
            listener.resume_end = story.last_first

    def _hear(self, story: Story, inbox: str, max_in_flight: int) -> Listener:
        listener = Listener(story, max_in_flight)
        self._listeners[inbox.encode()] = listener
        self.world.chronicle.by_inbox[inbox.encode()] = story
        story.holders[inbox.encode()] = set()
        return listener

    # In.

    def receiving(self, server: Server, frames: list[Frame]) -> None:
        """Frames reach the engine: acks that count are noted."""
        by_ack_inbox = server.engine.subscriptions.by_ack_inbox
        certain = True
        for subject, _, payload in frames:
            member = by_ack_inbox.get(subject)
            if member is None and not subject.startswith(PUBLISH):
                certain = False  # a request may change who the acks behind it are for
            if member is None or not payload:
                continue
            try:
                ack = Ack.FromString(payload)
            except Exception:
                continue
            story = self._stories.get(member.cursor)
            if story is None or ack.subject != member.cursor.channel.name:
                continue
            holders = (
                story.holders.values()
                if member.group
                else [story.holders.get(member.inbox.encode(), set())]
            )
            if any(ack.sequence in held for held in holders):
                if certain:
                    story.acked.add(ack.sequence)
                for held in holders:
                    held.discard(ack.sequence)
            if self.world.members:
                story.early.add(ack.sequence)

    # Out.

    def sending(self, server: Server, data: bytes) -> list[Operation]:
        """Everything that leaves is read and checked."""
        operations = list(read_operations(data))
        for subject, _, payload in operations:
            if subject.startswith(b"in."):
                self._message(subject, payload)
            elif subject.startswith(b"acks.") or subject.endswith(b".acks"):
                self._publish_ack(subject, payload)
            elif subject.startswith(b"sub."):
                self._granted(server, payload)
            elif subject.startswith(b"connect."):
                self._connected(server, payload)
        return operations

    def _publish_ack(self, subject: bytes, payload: bytes) -> None:
        ack = PubAck.FromString(payload)
        published = self.world.store.published
        if not ack.error:
            self.world.chronicle.acks += 1
            published.acknowledge(ack.guid.encode(), ack.duplicate)
        elif ack.guid and subject.startswith(b"acks."):
            _, _, generation = subject.removeprefix(b"acks.").partition(b".")
            published.refuse(ack.guid.encode(), int(generation or 0), ack.error)

    def _granted(self, server: Server, payload: bytes) -> None:
        response = SubscriptionResponse.FromString(payload)
        if response.error or not response.ackInbox:
            return
        member = server.engine.subscriptions.by_ack_inbox.get(response.ackInbox.encode())
        if member is None:  # it ended while this was prepared
            self._listen_late(response.ackInbox)
        else:
            granted = response.ackInbox in self.world.chronicle.granted
            assert granted, "a subscription was granted that is not stored"
            if server.leads:
                record = self.world.store.subscriptions.get(member.subscription_id)
                assert record is not None, "a subscription was granted that is not stored"
                assert record.ack_inbox == response.ackInbox, "granted other than stored"
            if response.ackInbox not in self._told:
                self._told.add(response.ackInbox)
                self._listen(member, True)

    def _listen_late(self, ack_inbox: str) -> None:
        for number, record in self.world.store.subscriptions.items():
            if record.ack_inbox == ack_inbox and number in self._by_subscription:
                story = self._by_subscription[number]
                self._hear(story, record.inbox, record.max_in_flight)

    def _connected(self, server: Server, payload: bytes) -> None:
        response = ConnectResponse.FromString(payload)
        assert response.error or response.pubPrefix, "an empty connect response"

    def _message(self, inbox: bytes, payload: bytes) -> None:
        self.world.chronicle.delivered += 1
        message = MsgProto.FromString(payload)
        listener = self._listeners.get(inbox)
        assert listener is not None, f"{inbox!r}: a message before the response"
        story = listener.story
        sequence = message.sequence
        log = self.world.store.logs.get(story.channel_id)
        gone = (story.channel_id, sequence) in self._gone
        assert not gone, f"{inbox!r}: {sequence} is sent, and an operator was told that it is gone"
        if log is not None:  # else deleted in the store, the engine to be told
            self._check_content(log, message, payload)
        assert sequence not in story.acked, f"{inbox!r}: {sequence} was acked and comes again"
        held = story.holders[inbox]
        if message.redelivered:
            assert message.redeliveryCount > 0
            assert sequence > story.start, f"{inbox!r}: {sequence} is before the start"
            for other in story.holders.values():
                other.discard(sequence)
            if sequence not in story.early:
                held.add(sequence)
            story.sent.add(sequence)
            if sequence <= listener.resume_end and sequence not in listener.resent:
                assert sequence > listener.last_resent, f"{inbox!r}: resumed out of order"
                listener.last_resent = sequence
                listener.resent.add(sequence)
            return
        assert message.redeliveryCount == 0
        last = story.last_first
        assert sequence > last, f"{inbox!r}: {sequence} first sent after {last}"
        first = log.first if log is not None else sequence
        following = max(last + 1, first)
        while log is not None and following in log.removed:
            following += 1
        assert following >= sequence, f"{inbox!r}: {last} to {sequence}, kept {first}"
        story.last_first = sequence
        story.sent.add(sequence)
        removed = log.removed if log is not None else set()
        new = {s for s in held if s >= first and s not in removed}
        if sequence not in story.early:
            new.add(sequence)
        story.holders[inbox] = new
        assert len(new) <= listener.max_in_flight, f"{inbox!r}: more in flight than allowed"

    def _check_content(self, log: Log, message: MsgProto, payload: bytes) -> None:
        entry = log.ever.get(message.sequence)
        assert entry is not None, f"{message.sequence} was sent, but never stored"
        stored = unframe_message(entry.framed)
        assert payload.startswith(stored), f"{message.sequence} was sent with other content"
        assert message.redelivered or payload == stored

    def story_of(self, subscription_id: int) -> Story | None:
        return self._by_subscription.get(subscription_id)
