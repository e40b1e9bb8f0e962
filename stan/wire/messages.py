"""The protocol's messages: parsing that never raises anything but ValueError, and the
encoders of the hot path.

The generated module does whatever is not hot. The encoders by hand produce exactly the
bytes that protobuf would (tests/wire proves it), at a fraction of the cost. A *framed*
message is one framed for delivery: its length in ASCII, CRLF, the bytes, CRLF, so that
``b"PUB <inbox> " + framed`` is a whole NATS operation and a run of them is one join.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from stan.wire.server_pb2 import CtrlMsg
from stan.wire.stan_pb2 import MsgProto, PubAck, PubMsg

M = TypeVar("M", bound=Message)

# Five names of the longest that NATS can carry, and plenty.
MAX_REQUEST_BYTES = 64 * 1024

# What a MsgProto adds to channel, reply and data, at most: two tags with varints of ten
# bytes, the data's tag and length, and a redelivery mark.
MESSAGE_OVERHEAD_BYTES = 2 * 11 + 6 + 8

_SMALL = [bytes((n,)) for n in range(128)]
_LOW_BYTES = [bytes((n | 128,)) for n in range(128)]


def parse(kind: type[M], payload: bytes) -> M:
    """Decode `payload` as a message of this kind. Raises ValueError when it is not one."""
    try:
        return kind.FromString(payload)
    except DecodeError as error:
        raise ValueError(str(error)) from None


def parse_request(kind: type[M], payload: bytes) -> M:
    """`parse` for what is no publish: none is large, and a large one is not looked at."""
    if len(payload) > MAX_REQUEST_BYTES:
        raise ValueError(f"a request of {len(payload)} bytes")
    return parse(kind, payload)


def varint(value: int) -> bytes:
    """The protobuf varint of a non-negative integer below 2**64."""
    if value < 128:
        return _SMALL[value]
    if value < 16384:
        return bytes((value & 127 | 128, value >> 7))
    if value < 2097152:
        return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, position: int) -> int:
    """The varint that fills `data` from `position` to its very end, or -1 when the rest is
    not exactly one varint below 2**64."""
    last = len(data) - 1
    if last < position or last - position > 9 or data[last] > 127:
        return -1
    value = data[last]
    while last > position:  # from the highest bits down
        last -= 1
        byte = data[last]
        if byte < 128:
            return -1
        value = value << 7 | byte & 127
    return value if value < 1 << 64 else -1


def string_field(tag: int, value: bytes) -> bytes:
    """A length-delimited field; nothing at all for an empty value, as in proto3."""
    return b"%c%b%b" % (tag, varint(len(value)), value) if value else b""


def encode_message(
    sequence: int, channel_field: bytes, reply: str, data: bytes, timestamp_ns: int
) -> bytes:
    """A MsgProto as first delivered. `channel_field` is `string_field(0x12, channel)`."""
    return b"\x08%b%b%b%b%b%b" % (
        varint(sequence),
        channel_field,
        string_field(0x1A, reply.encode()) if reply else b"",
        b"\x22" + varint(len(data)) if data else b"",
        data,
        _timestamp_field(timestamp_ns),
    )


@lru_cache(maxsize=16)  # a batch has one
def _timestamp_field(timestamp_ns: int) -> bytes:
    if timestamp_ns < 1 << 28:
        return b"\x28" + varint(timestamp_ns) if timestamp_ns else b""
    return b"\x28%c%c%c%c%b" % (
        timestamp_ns & 127 | 128,
        timestamp_ns >> 7 & 127 | 128,
        timestamp_ns >> 14 & 127 | 128,
        timestamp_ns >> 21 & 127 | 128,
        _high_varint(timestamp_ns >> 28),
    )


@lru_cache(maxsize=16)  # another one four times a second
def _high_varint(value: int) -> bytes:
    return varint(value)


def frame_message(message: bytes) -> bytes:
    """Frame an encoded message for delivery (see the module's head)."""
    return b"%d\r\n%b\r\n" % (len(message), message)


def framed_bytes(message_bytes: int) -> int:
    """What a message of this size measures when framed. It rises with the size."""
    return len(b"%d" % message_bytes) + message_bytes + 4


def frame_run(
    sequence: int, channel_field: bytes, payloads: list[bytes], timestamp_ns: int
) -> tuple[list[bytes], list[int]]:
    """The framed messages of consecutive sequences from this one on, all of one timestamp and
    without reply, and the sizes of the messages encoded."""
    if len(payloads) == 1:
        message = encode_message(sequence, channel_field, "", payloads[0], timestamp_ns)
        return [frame_message(message)], [len(message)]
    # The hot path: no call and one formatting a message while lengths stay the same.
    framed: list[bytes] = []
    sizes: list[int] = []
    tail = _timestamp_field(timestamp_ns) + b"\r\n"
    low_bytes = _LOW_BYTES
    head = middle = high = b""
    last_size = high_of = -1
    whole_size = 0
    for data in payloads:
        size = len(data)
        if sequence >> 7 != high_of or size != last_size:
            high_of = sequence >> 7
            high = varint(high_of) if high_of else b""
            last_size = size
            middle = high + channel_field + (b"\x22" + varint(size) if size else b"")
            whole_size = size + len(middle) + len(tail)  # its CRLF stands for tag and low byte
            head = b"%d\r\n\x08" % whole_size
        low = low_bytes[sequence & 127] if high_of else _SMALL[sequence]
        framed.append(b"%b%b%b%b%b" % (head, low, middle, data, tail))
        sizes.append(whole_size)
        sequence += 1
    return framed, sizes


def unframe_message(framed: bytes) -> bytes:
    """The encoded message inside a framed one."""
    return framed[framed.index(b"\n") + 1 : -2]


def mark_redelivered(message: bytes, count: int) -> bytes:
    """The encoded message with the redelivered flag and its count appended."""
    return b"%b\x30\x01\x38%b" % (message, varint(min(count, 0xFFFFFFFF)))


def message_timestamp(message: bytes) -> int:
    """The timestamp inside an encoded MsgProto, in Unix nanoseconds."""
    return MsgProto.FromString(message).timestamp


def ack_head(ack_subject: bytes, guid_size: int) -> bytes:
    """Everything of a successful publish ack's PUB operation that stands before the guid.

    The whole operation is this, the guid, and CRLF. Only for guids below 128 bytes.
    """
    return b"PUB %b %d\r\n\x0a%c" % (ack_subject, guid_size + 2, guid_size)


@dataclass(slots=True, frozen=True)
class PublishShape:
    """Where an encoded PubMsg holds guid and payload, and all its other bytes.

    Another one of `size` bytes with the same `head` (up to the guid), `middle` (between
    guid and payload) and `tail` has the same fields but for these two.
    """

    size: int
    head: bytes
    guid_start: int
    guid_end: int
    middle: bytes
    data_start: int
    data_end: int
    tail: bytes
    channel_field: bytes
    """What `middle` begins with; tag and length of a payload follow, if there is one."""


def publish_shape(payload: bytes, message: PubMsg, guid: bytes) -> PublishShape | None:
    """The shape of `payload`, which was decoded as `message`; None when it was encoded in
    another way than clients do, or has other fields than nearly all have."""
    data = message.data
    head = string_field(0x0A, message.clientID.encode()) + b"\x12" + varint(len(guid))
    middle = channel_field = string_field(0x1A, message.subject.encode())
    if data:
        middle += b"\x2a" + varint(len(data))
    tail = string_field(0x32, message.connID)
    if not (guid and guid.isascii()) or b"".join((head, guid, middle, data, tail)) != payload:
        return None  # how many characters other bytes are, their number does not tell
    start, end, size = len(head), len(head) + len(guid), len(payload)
    data_start, data_end = end + len(middle), size - len(tail)
    return PublishShape(size, head, start, end, middle, data_start, data_end, tail, channel_field)


def encode_error_ack(guid: str, error: str) -> bytes:
    """A PubAck that refuses a message."""
    return PubAck(guid=guid, error=error).SerializeToString()


def is_control_message(payload: bytes) -> bool:
    """Whether this is what servers tell each other on the publish subject, to be ignored.

    A CtrlMsg begins with its type, a number, where a PubMsg has the text of its client ID;
    a decoder takes the one for the other and finds that field missing.
    """
    try:
        return parse(CtrlMsg, payload).MsgType != 0
    except ValueError:
        return False


def delivered_bytes(message: PubMsg) -> int:
    """The size of the largest operation payload that delivers this message."""
    names_bytes = len(message.subject.encode()) + len(message.reply.encode())
    return names_bytes + len(message.data) + MESSAGE_OVERHEAD_BYTES
