"""What passes between the engine and a store: plain data, no behaviour.

A record is a value. The engine fills it when a batch is sealed and never touches it
again, so a store may read it on another thread. Times are Unix nanoseconds, sizes bytes.

Three coordinates order a channel's messages and never decrease: the *sequence*, the
*timestamp*, and the *position* (the sum of the sizes of all messages stored in the channel
before this one: encoded, with the payload as the store keeps it). Each limit is a floor on
one of them.
"""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import NamedTuple

from stan.engine.limits import ChannelOverrides

Key = tuple[int, str, bytes]
"""What tells a publish from all others: the channel's ID, the client's ID, and the guid; or
the channel's ID, no client, and the message ID that an application gave."""


@dataclass(slots=True, frozen=True)
class ServerRecord:
    """Who the store belongs to. `inbox_prefix` starts every ack inbox the server gives out."""

    cluster_id: str
    inbox_prefix: str


@dataclass(slots=True, frozen=True)
class ClientRecord:
    client_id: str
    heartbeat_inbox: str
    connection_id: bytes
    protocol: int
    ping_interval_s: int
    ping_max_out: int
    # It may send publishes again, so their guids are recorded.
    resends: bool = False


@dataclass(slots=True, frozen=True)
class SubscriptionRecord:
    """A plain subscription, a durable, or a member of a queue group.

    `queue_group` of a durable group is "durable:group" and then `is_durable` is true and
    `durable_name` empty. A durable group that lost its last member is kept as a record
    with `is_closed` and an empty `client_id`. `in_flight` holds the sequences that were
    sent and not acked, ascending.
    """

    subscription_id: int
    channel_id: int
    client_id: str
    inbox: str
    ack_inbox: str
    max_in_flight: int
    ack_wait_s: int
    durable_name: str
    queue_group: str
    is_durable: bool
    is_closed: bool
    last_sent: int
    in_flight: tuple[int, ...]


class Bounds(NamedTuple):
    """What a channel holds: sequences [first, last]; first == last + 1 when it is empty.

    Its size in bytes is `end_position - first_position`. `first_timestamp_ns` is that of
    the first message kept, 0 when there is none; `last_timestamp_ns` that of the last
    message ever stored, kept even when the message is gone.
    """

    first_sequence: int = 1
    last_sequence: int = 0
    first_position: int = 0
    end_position: int = 0
    first_timestamp_ns: int = 0
    last_timestamp_ns: int = 0
    # How many messages are kept: below last - first + 1 when sequences are missing.
    kept: int = 0


NO_LIMITS = ChannelOverrides()


@dataclass(slots=True, frozen=True)
class ChannelRecord:
    """`limits` are the channel's own, which go before those of the configuration."""

    channel_id: int
    name: str
    limits: ChannelOverrides = NO_LIMITS


@dataclass(slots=True, init=False)
class Run:
    """Consecutive messages of one channel stored by one batch, all of one timestamp.

    The lists run in parallel. `framed` are the messages as delivered (wire.messages),
    `sizes` what they count for, `payloads` and `replies` the fields they were made from;
    an empty `replies` means that no message has one. The first message starts at
    `position`, each further one where the one before it ends.
    """

    channel_id: int
    channel: str
    first_sequence: int
    timestamp_ns: int
    position: int
    framed: list[bytes]
    sizes: list[int]
    payloads: list[bytes]
    replies: list[str]

    def __init__(
        self,
        channel_id: int,
        channel: str,
        first_sequence: int,
        timestamp_ns: int,
        position: int,
        framed: list[bytes],
        sizes: list[int],
        payloads: list[bytes],
        replies: list[str],
    ) -> None:
        # Written out, since the one that a dataclass makes is not compiled.
        self.channel_id = channel_id
        self.channel = channel
        self.first_sequence = first_sequence
        self.timestamp_ns = timestamp_ns
        self.position = position
        self.framed = framed
        self.sizes = sizes
        self.payloads = payloads
        self.replies = replies

    @property
    def end_position(self) -> int:
        """Where the message after the run will start."""
        return self.position + sum(self.sizes)


@dataclass(slots=True, frozen=True)
class Trim:
    """Floors below which a channel's messages are dropped; 0 means no floor.

    Dropped are the messages at the head with a sequence < `min_sequence`, or a position <
    `min_position`, or a timestamp < `min_timestamp_ns`. The last message of the channel
    is spared by the first two, never by the third; with `may_empty` the first spares none.
    A Trim applies after the batch's runs.
    """

    channel_id: int
    min_sequence: int = 0
    min_position: int = 0
    min_timestamp_ns: int = 0
    may_empty: bool = False


@dataclass(slots=True)
class Batch:
    """All that one commit makes true, at once or not at all.

    Order inside: channels deleted, created and limited, runs, trims, single messages deleted, then
    clients and subscriptions. Deleting a channel deletes its messages and subscriptions. `number`
    rises by one with each batch of a server run, starting above the store's.
    """

    number: int
    channels_deleted: list[int] = field(default_factory=list)
    channels_created: list[ChannelRecord] = field(default_factory=list)
    channels_limited: list[ChannelRecord] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    trims: list[Trim] = field(default_factory=list)
    # Single messages, as channel ID and sequence; one that is not there is no error. What it
    # counted for in bytes is let go with the messages before it.
    messages_deleted: list[tuple[int, int]] = field(default_factory=list)
    clients_put: list[ClientRecord] = field(default_factory=list)
    clients_deleted: list[str] = field(default_factory=list)
    subscriptions_put: list[SubscriptionRecord] = field(default_factory=list)
    subscriptions_deleted: list[int] = field(default_factory=list)
    # What was published by those who may send again (engine.guids), and the message IDs of
    # the channels; recorded at `sealed_ns`. Now and then
    # `forget_ns` is set: what was recorded before that may go.
    guids: bytes = b""
    message_ids: list[tuple[int, bytes]] = field(default_factory=list)
    sealed_ns: int = 0
    forget_ns: int = 0
    # Rows of the outbox table that go: they are messages of this batch or of an earlier one;
    # and rows that are set aside, with the reason.
    outbox_taken: list[int] = field(default_factory=list)
    outbox_parked: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Result:
    """What a commit found out: the bounds after it of each channel that had a Trim or lost a
    single message, and the channels whose trim is not finished (the store works in bounded
    steps; seal again)."""

    bounds: dict[int, Bounds] = field(default_factory=dict)
    unfinished: Set[int] = frozenset()


@dataclass(slots=True, frozen=True)
class RangeLoad:
    """Read messages from `from_sequence` on, at most this many and about this many bytes
    (one message at least, however large)."""

    load_id: int
    channel_id: int
    channel: str
    from_sequence: int
    max_messages: int
    max_bytes: int


@dataclass(slots=True, frozen=True)
class TimeLoad:
    """Find the first message with a timestamp >= `timestamp_ns`."""

    load_id: int
    channel_id: int
    timestamp_ns: int


@dataclass(slots=True, frozen=True)
class GuidLoad:
    """Find which of these publishes are stored: guids recorded at `since_ns` or later,
    message IDs at `message_ids_since_ns` or later."""

    load_id: int
    since_ns: int
    message_ids_since_ns: int
    keys: frozenset[Key]


@dataclass(slots=True, frozen=True)
class OutboxLoad:
    """Read the first visible rows of the outbox table, in the order of their IDs: at most this
    many, about this many bytes (one row at least). The data of a row larger than
    `max_payload_bytes` is not read."""

    load_id: int
    max_rows: int
    max_bytes: int
    max_payload_bytes: int


@dataclass(slots=True, frozen=True)
class OutboxRow:
    """A message that an application wrote into its own transaction. `size` is that of the
    data, which is empty when it is too large to be read."""

    row_id: int
    channel: str
    data: bytes
    size: int
    reply: str = ""
    message_id: str = ""


Load = RangeLoad | TimeLoad | GuidLoad | OutboxLoad


@dataclass(slots=True)
class History:
    """The answer to a Load, ascending; sequences may be missing inside.

    To a RangeLoad: the sequences and the framed messages, none when nothing is kept from
    there on. To a TimeLoad: the one sequence found, or none; `framed` stays empty. To a
    GuidLoad: `found`, the keys that are stored, and nothing else. To an OutboxLoad: `rows`.
    """

    sequences: list[int]
    framed: list[bytes]
    found: frozenset[Key] = frozenset()
    rows: list[OutboxRow] = field(default_factory=list)


@dataclass(slots=True)
class Recovered:
    """All that a server needs to go on where the last one stopped. Never any messages."""

    server: ServerRecord | None = None
    batch_number: int = 0
    next_channel_id: int = 1
    next_subscription_id: int = 1
    channels: list[tuple[ChannelRecord, Bounds]] = field(default_factory=list)
    clients: list[ClientRecord] = field(default_factory=list)
    subscriptions: list[SubscriptionRecord] = field(default_factory=list)


# What people ask of a server (engine.administration).


@dataclass(slots=True, frozen=True)
class Purge:
    """Drop the messages up to and with `up_to`, or all but the last `keep`; -1 says nothing, and
    with neither all go."""

    channel: str
    up_to: int = -1
    keep: int = -1


@dataclass(slots=True, frozen=True)
class CreateChannel:
    channel: str
    limits: ChannelOverrides = NO_LIMITS


@dataclass(slots=True, frozen=True)
class LimitChannel:
    """Give the channel these limits of its own in place of those it has."""

    channel: str
    limits: ChannelOverrides


@dataclass(slots=True, frozen=True)
class DeleteChannel:
    """With all it holds; `force` also ends active subscriptions."""

    channel: str
    force: bool = False


@dataclass(slots=True, frozen=True)
class DeleteMessage:
    """Its sequence stays used; whoever has it in flight need not acknowledge it any more."""

    channel: str
    sequence: int


@dataclass(slots=True, frozen=True)
class PublishMessage:
    """Store a message that no client sent, in a channel that is created when it must be."""

    channel: str
    data: bytes
    reply: str = ""


@dataclass(slots=True, frozen=True)
class DurableName:
    """A durable by client and name, or a queue group; a durable one is "durable:group"."""

    channel: str
    client_id: str = ""
    durable: str = ""
    queue_group: str = ""


@dataclass(slots=True, frozen=True)
class MoveDurable:
    """Go on at this sequence, or at the `position` first, last or new."""

    name: DurableName
    sequence: int = 0
    position: str = ""


@dataclass(slots=True, frozen=True)
class DeleteDurable:
    name: DurableName
    force: bool = False


@dataclass(slots=True, frozen=True)
class ResendPending:
    name: DurableName


@dataclass(slots=True, frozen=True)
class Disconnect:
    client_id: str


Operation = (
    Purge
    | CreateChannel
    | LimitChannel
    | DeleteChannel
    | DeleteMessage
    | PublishMessage
    | MoveDurable
    | DeleteDurable
    | ResendPending
    | Disconnect
)


class OperationRefused(Exception):
    """An operation that makes no sense now; `code` is one of HTTP's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code: int = code


@dataclass(slots=True)
class Outcome:
    """What an operation did, in numbers; or the error that kept it from being true."""

    ticket: int
    numbers: dict[str, int] = field(default_factory=dict)
    error: str = ""
