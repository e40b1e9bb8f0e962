"""A delivered message: its fields, its ack, and how it prints.

The message keeps the decoded MsgProto and reads through it, so that a field nobody
looks at costs nothing. Nothing here knows asyncio: an ack is handed to the subscription,
which puts it on the way at once.
"""

from collections.abc import Callable, Generator
from typing import Protocol

from stan.wire.stan_pb2 import MsgProto

_ESCAPES = {10: "\\n", 13: "\\r", 9: "\\t", 34: '\\"', 92: "\\\\"}
_QUOTED = [
    _ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}")
    for byte in range(256)
]


class Acked:
    """What `ack()` returns: already done, and awaitable for those who like to await."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


ACKED = Acked()


class Origin(Protocol):
    """What a message can say of its subscription, which is a `Subscription`, described there."""

    channel: str
    queue: str
    durable: str
    manual_acks: bool

    @property
    def is_valid(self) -> bool: ...
    @property
    def delivered(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    async def unsubscribe(self) -> None: ...
    async def close(self) -> None: ...
    async def drain(self, timeout: float | None = None) -> None: ...
    def pending(self) -> tuple[int, int]: ...
    def _ack_by_hand(self, epoch: int, sequence: int) -> None: ...


class Message:
    """One message of a channel."""

    __slots__ = ("_epoch", "_proto", "subscription")

    def __init__(self, proto: MsgProto, subscription: Origin, epoch: int = 0) -> None:
        self._proto = proto
        self._epoch = epoch
        self.subscription = subscription
        """The subscription that it was delivered to."""

    @property
    def sequence(self) -> int:
        """The position in the channel, from 1."""
        return self._proto.sequence

    @property
    def channel(self) -> str:
        """The channel it was published to."""
        return self._proto.subject

    @property
    def subject(self) -> str:
        """The channel, under the name that other clients use."""
        return self._proto.subject

    @property
    def reply(self) -> str:
        """The publisher's reply subject, usually empty."""
        return self._proto.reply

    @property
    def data(self) -> bytes:
        """The payload."""
        return self._proto.data

    @property
    def timestamp(self) -> int:
        """When the server received it, in Unix nanoseconds."""
        return self._proto.timestamp

    @property
    def redelivered(self) -> bool:
        """Whether the server sent it before and saw no ack."""
        return self._proto.redelivered

    @property
    def redelivery_count(self) -> int:
        """1 at the first redelivery, then 2, 3 and so on; 0 at the first delivery."""
        return self._proto.redeliveryCount

    @property
    def crc32(self) -> int:
        """The checksum field of the MsgProto, which servers leave at 0."""
        return self._proto.CRC32

    def ack(self) -> Acked:
        """Acknowledge: the server will not send it again to this subscription.

        The ack is on its way when this returns; ``await msg.ack()`` works as well, and a
        plain function used as callback simply calls it. One that can no longer be given,
        because the server forgot the subscription meanwhile, is dropped in silence.

        Raises ManualAckError when the subscription acks by itself, InvalidSubscriptionError
        after the subscription was closed, and InvalidConnectionError after the connection was.
        """
        self.subscription._ack_by_hand(self._epoch, self._proto.sequence)
        return ACKED

    def __str__(self) -> str:
        """The message as protobuf's compact text, as all tools of this family print it."""
        return format_message(self)

    def __repr__(self) -> str:
        return f"<Message {str(self).rstrip()}>"


def quote(data: bytes) -> str:
    """The bytes in double quotes; what is not printable ASCII as an octal escape."""
    return '"' + "".join([_QUOTED[byte] for byte in data]) + '"'


def format_message(message: Message, spell: Callable[[bytes], str] = quote) -> str:
    """Compact text: each field that is set as ``name:value`` and one space. `spell` puts text
    into quotes."""
    out = ""
    if message.sequence:
        out += f"sequence:{message.sequence} "
    if message.subject:
        out += f"subject:{spell(message.subject.encode())} "
    if message.reply:
        out += f"reply:{spell(message.reply.encode())} "
    if message.data:
        out += f"data:{spell(message.data)} "
    if message.timestamp:
        out += f"timestamp:{message.timestamp} "
    if message.redelivered:
        out += "redelivered:true "
    if message.redelivery_count:
        out += f"redeliveryCount:{message.redelivery_count} "
    if message.crc32:
        out += f"CRC32:{message.crc32} "
    return out
