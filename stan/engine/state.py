"""What the rooms of the engine share: channels, clients, cursors and subscriptions.

Only state lives here; rooms act on it. A Channel's bounds are those the store has
committed: sequences given to a batch under way show up only when it is true. A Cursor is a
position in a channel. A plain subscription has one of its own; the members of a queue
group share one.
"""

from __future__ import annotations

from collections import OrderedDict

from stan.engine.cache import Shelf
from stan.engine.limits import ChannelLimits
from stan.engine.records import (
    Bounds,
    ChannelRecord,
    ClientRecord,
    Outcome,
    SubscriptionRecord,
)
from stan.engine.settings import MILLISECOND_NS
from stan.engine.timers import Timer
from stan.units import SECOND_NS
from stan.wire.messages import string_field


class Channel:
    def __init__(self, record: ChannelRecord, limits: ChannelLimits) -> None:
        name = record.name.encode()
        self.record: ChannelRecord = record
        self.channel_id: int = record.channel_id
        self.name: str = record.name
        self.limits: ChannelLimits = limits
        # The channel's field inside a MsgProto, and what an Ack for it starts with.
        self.field: bytes = string_field(0x12, name)
        self.ack_head: bytes = string_field(0x0A, name) + b"\x10"
        self.publish_field: bytes = string_field(0x1A, name)  # inside a PubMsg
        self.first: int = 1
        self.last: int = 0
        self.first_position: int = 0
        self.end_position: int = 0
        self.first_timestamp_ns: int = 0
        self.last_timestamp_ns: int = 0
        self.count: int = 0
        self.shelf: Shelf = Shelf()
        self.loading: dict[int, int] = {}  # from which sequence -> load ID
        self.waiting: dict[int, list[Cursor]] = {}  # load ID -> who waits for it
        self.cursors: dict[Cursor, None] = {}  # those with active members, in order
        self.groups: dict[str, Cursor] = {}
        self.durables: dict[tuple[str, str], Subscription] = {}
        self.subscriptions: dict[int, Subscription] = {}  # all, offline durables included
        self.age_timer: ChannelTimer = ChannelTimer(self, False)
        self.inactivity_timer: ChannelTimer = ChannelTimer(self, True)
        self.warned: bool = False
        # It was trimmed, how far is known to the store only.
        self.bounds_unknown: bool = False
        # Somebody purges it.
        self.floor: Floor | None = None
        # Messages that somebody deleted, of those from `first` on.
        self.removed: set[int] = set()
        self.deleted: bool = False

    @property
    def bytes_held(self) -> int:
        return self.end_position - self.first_position

    def set_bounds(self, bounds: Bounds) -> None:
        self.first = bounds.first_sequence
        self.last = bounds.last_sequence
        self.first_position = bounds.first_position
        self.end_position = bounds.end_position
        self.first_timestamp_ns = bounds.first_timestamp_ns
        self.last_timestamp_ns = bounds.last_timestamp_ns
        self.count = bounds.kept
        if self.removed:
            self.removed = {one for one in self.removed if one >= self.first}

    def has_active_subscriptions(self) -> bool:
        return bool(self.cursors)


class Floor:
    """A purge under way: what is below goes, and the outcome is told when it is gone.
    `is_sealed` when a trim has taken it along. `keep`, unless -1, is how many of the messages
    up to `last` stay."""

    def __init__(self, sequence: int, outcome: Outcome, last: int, keep: int = -1) -> None:
        self.sequence: int = sequence
        self.outcome: Outcome = outcome
        self.last: int = last
        self.keep: int = keep
        self.is_sealed: bool = False

    def excess(self, bounds: Bounds) -> int:
        """How many more have to go: where sequences were missing, too few have gone."""
        if self.keep < 0:
            return 0
        since = bounds.last_sequence - self.last
        return max(0, bounds.kept - since - self.keep)


class ChannelTimer(Timer):
    """The deadline of a channel's oldest message, or of its inactivity."""

    def __init__(self, channel: Channel, inactivity: bool) -> None:
        super().__init__()
        self.channel: Channel = channel
        self.inactivity: bool = inactivity


class Client(Timer):
    """A registered client. As a Timer it is due when a heartbeat must leave or has failed."""

    def __init__(self, record: ClientRecord) -> None:
        super().__init__()
        self.record: ClientRecord = record
        self.client_id: str = record.client_id
        self.subscriptions: dict[int, Subscription] = {}
        self.failed_heartbeats: int = 0
        self.beat: bytes = b""  # reply subject of the heartbeat under way
        # When it last connected, pinged or answered a heartbeat; 0 since a start.
        self.heard_ns: int = 0
        self.gone: bool = False
        # What was delivered since it last proved that it reads (engine.proofs).
        self.unproven_bytes: int = 0
        self.question: Question | None = None
        # So much that its cursors wait; those that do, first come, first served.
        self.is_held: bool = False
        self.waiting: dict[Cursor, None] = {}


class Question(Timer):
    """What a client was asked, behind so many bytes. As a Timer it is due to be repeated."""

    def __init__(self, client: Client, subject: bytes, covered_bytes: int) -> None:
        super().__init__()
        self.client: Client = client
        self.subject: bytes = subject
        self.covered_bytes: int = covered_bytes


class Cursor:
    """A position in a channel, shared by its active members.

    `last_sent` is the last sequence handed out for the first time. `resend` are sequences
    that wait to be sent again, each with the member that holds it; while there are any,
    nothing new is sent. `waiting` says that a load is under way for this cursor.
    `oversize` are sequences that NATS does not carry, in flight or next in turn, each
    reported once. `redelivered` and `lost` only count: messages sent again, and messages
    that limits dropped before they were sent at all.
    """

    def __init__(self, channel: Channel, group: str, last_sent: int) -> None:
        self.channel: Channel = channel
        self.group: str = group
        self.last_sent: int = last_sent
        self.members: list[Subscription] = []
        self.vacant: Subscription | None = None  # what a durable group's last member left
        self.resend: OrderedDict[tuple[int, Subscription], None] = OrderedDict()
        self.redeliveries: dict[int, int] = {}  # sequence -> how often it was sent again
        self.waiting: bool = False
        self.oversize: set[int] = set()
        self.redelivered: int = 0
        self.lost: int = 0


class Subscription(Timer):
    """A member of a cursor. As a Timer it is due when a message in flight may expire.

    `in_flight` maps each sequence sent and not acked to the moment its ack wait ends.
    `last_sent` is the last new message that this member got, of those its cursor counts.
    """

    def __init__(
        self, subscription_id: int, cursor: Cursor, client_id: str, durable: str, is_durable: bool
    ) -> None:
        super().__init__()
        self.subscription_id: int = subscription_id
        self.cursor: Cursor = cursor
        self.client_id: str = client_id
        self.durable: str = durable
        # A durable, or a member of a durable group.
        self.is_durable: bool = is_durable
        self.client: Client | None = None
        self.inbox: str = ""
        self.ack_inbox: str = ""
        self.head: bytes = b""
        self.max_in_flight: int = 1
        self.ack_wait_s: int = 30
        self.ack_wait_ns: int = 30 * SECOND_NS
        self.in_flight: dict[int, int] = {}
        self.last_sent: int = 0 if cursor.members else cursor.last_sent
        # In the channel and serving a client; false for an offline durable.
        self.active: bool = False
        # The subscribe response has left, so messages may.
        self.started: bool = False
        # Recovered in flight: sent again according to each message's age.
        self.unaged: bool = False

    @property
    def group(self) -> str:
        return self.cursor.group

    @property
    def is_stalled(self) -> bool:
        return len(self.in_flight) >= self.max_in_flight or self.is_held

    @property
    def is_held(self) -> bool:
        """Whether its client must prove first that it reads."""
        return self.client is not None and self.client.is_held

    def attach(
        self, client: Client, inbox: str, ack_inbox: str, max_in_flight: int, ack_wait_s: int
    ) -> None:
        """Serve this client from now on."""
        self.client = client
        self.client_id = client.client_id
        self.inbox = inbox
        self.ack_inbox = ack_inbox
        self.head = b"PUB " + inbox.encode() + b" "
        self.max_in_flight = max_in_flight
        self.ack_wait_s = ack_wait_s
        self.ack_wait_ns = ack_wait_ns(ack_wait_s)
        self.active = True

    def record(self) -> SubscriptionRecord:
        """This subscription as the store keeps it."""
        vacant = self.cursor.vacant is self
        return SubscriptionRecord(
            subscription_id=self.subscription_id,
            channel_id=self.cursor.channel.channel_id,
            client_id="" if vacant else self.client_id,
            inbox=self.inbox,
            ack_inbox=self.ack_inbox,
            max_in_flight=self.max_in_flight,
            ack_wait_s=self.ack_wait_s,
            durable_name=self.durable,
            queue_group=self.cursor.group,
            is_durable=self.is_durable,
            is_closed=not self.active,
            last_sent=self.cursor.last_sent,
            in_flight=tuple(sorted(self.in_flight)),
        )


def ack_wait_ns(ack_wait_s: int) -> int:
    """The ack wait of a request in nanoseconds; negative counts milliseconds (test timers)."""
    return ack_wait_s * SECOND_NS if ack_wait_s >= 0 else -ack_wait_s * MILLISECOND_NS
