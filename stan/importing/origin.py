"""What an import reads, wherever it comes from: records, and the Protocol of an origin.

Sequences, times and sizes are the original's own. Payloads are as stored, which may mean
encrypted. Invariant: an origin is only read, in pieces of bounded size.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stan.errors import OriginError
from stan.wire.messages import parse
from stan.wire.server_pb2 import SubState
from stan.wire.stan_pb2 import MsgProto

PIECE_MESSAGES = 1000
PIECE_BYTES = 4 << 20
"""How much is read, and then committed, at a time; more only for one large message."""

SEQUENCE_MAX = 1 << 62
"""No channel gets this far. Beyond twice that no database has numbers for sequences."""

Warn = Callable[[str], None]


class OriginMessage(NamedTuple):
    """One stored message."""

    sequence: int
    timestamp_ns: int
    reply: str
    payload: bytes


@dataclass(slots=True)
class OriginSubscription:
    """A subscription: its state as last stored, and what became of it since then.

    `state` is None when only the position is known. `pending` are the sequences sent and
    not acked.
    """

    state: SubState | None
    last_sent: int
    pending: set[int] = field(default_factory=set)


@dataclass(slots=True, frozen=True)
class OriginChannel:
    """A channel. `number` is the origin's own way of finding it again; `last_sequence` a
    sequence that the channel had reached, whatever messages are left."""

    number: int
    name: str
    last_sequence: int


class Origin(Protocol):
    """The original's data. Every method raises OriginError or StoreError, nothing else."""

    location: str
    """Where it is, for people; no password in it."""
    follows_messages: bool
    """Whether the original numbered by the messages that were left, even if a subscription
    had got later ones. Otherwise it went on behind those, and delivered none before them."""

    async def open(self) -> str:
        """Look whether it can be read; the cluster ID, empty when none was recorded."""
        ...

    async def channels(self) -> list[OriginChannel]:
        """Every channel that was not deleted."""
        ...

    async def count_clients(self) -> int:
        """How many clients were connected."""
        ...

    async def subscriptions(self, channel: OriginChannel) -> list[OriginSubscription]:
        """The channel's subscriptions, durable or not."""
        ...

    def messages(self, channel: OriginChannel) -> AsyncIterator[list[OriginMessage]]:
        """The channel's messages, ascending, a piece at a time."""
        ...

    async def has_grown(self, channel: OriginChannel, last_sequence: int) -> bool:
        """Whether messages came after `last_sequence`, the last one that `messages` gave:
        the original is running."""
        ...

    async def close(self) -> None:
        """Let go of everything. Safe to call twice."""
        ...


def decode_message(data: bytes, where: str) -> OriginMessage:
    """A stored message. `where` says which, for the OriginError when it is not one."""
    try:
        message = parse(MsgProto, data)
    except ValueError as error:
        raise OriginError(f"{where} cannot be read: {error}") from None
    if message.sequence > SEQUENCE_MAX:
        raise OriginError(f"{where} has sequence {message.sequence}, which no channel reaches")
    return OriginMessage(message.sequence, message.timestamp, message.reply, message.data)
