"""The protocol as the log shows it with -SV: a line for whatever arrives and leaves.

Reads bytes and writes lines; decides nothing, and is called only while the log shows such
lines. Invariant: no payload of a message is ever in a line, only its size; names that
clients chose cannot break a line.
"""

from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from stan.server.log import on_one_line
from stan.wire.frames import CRLF, Frame
from stan.wire.messages import parse
from stan.wire.stan_pb2 import (
    Ack,
    CloseRequest,
    ConnectRequest,
    MsgProto,
    Ping,
    PubMsg,
    SubscriptionRequest,
    UnsubscribeRequest,
)
from stan.wire.subjects import ServerSubjects

_MSG_PROTO_STARTS = 0x08  # the sequence; nothing else that a server sends begins with a number


def trace_frames(frames: Iterable[Frame], subjects: ServerSubjects) -> Iterator[str]:
    """A line for each frame that arrived."""
    kinds: dict[str, type[Message]] = {
        subjects.connect: ConnectRequest,
        subjects.subscribe: SubscriptionRequest,
        subjects.unsubscribe: UnsubscribeRequest,
        subjects.subscription_close: UnsubscribeRequest,
        subjects.close: CloseRequest,
        subjects.pings: Ping,
    }
    publishes = f"{subjects.publish_prefix}."
    for raw_subject, _, payload in frames:
        subject = raw_subject.decode(errors="replace")
        if payload is None:
            yield f"Nobody listens for {on_one_line(subject)}"
        elif not payload:
            yield f"Answer on {on_one_line(subject)}"
        else:
            kind = PubMsg if subject.startswith(publishes) else kinds.get(subject, Ack)
            yield f"Received {kind.__name__} on {on_one_line(subject)}: {_describe(kind, payload)}"


def trace_operations(operations: bytes) -> Iterator[str]:
    """A line for each message that leaves, from whole PUB operations."""
    position = 0
    while position < len(operations):
        line_end = operations.index(CRLF, position)
        words = operations[position:line_end].split()
        start = line_end + 2
        position = start + int(words[-1])
        payload = operations[start:position]
        position += 2
        subject = on_one_line(words[1].decode(errors="replace"))
        if payload[:1] == bytes((_MSG_PROTO_STARTS,)):
            yield f"Sent MsgProto to {subject}: {_describe(MsgProto, payload)}"
        else:
            yield f"Sent {len(payload)} bytes to {subject}"


def _describe(kind: type[Message], payload: bytes) -> str:
    try:
        message = parse(kind, payload)
    except ValueError:
        return f"{len(payload)} bytes that are none"
    fields = []
    for field, value in message.ListFields():
        shown = f"{len(value)} bytes" if isinstance(value, bytes) else on_one_line(str(value))
        fields.append(f"{field.name}={shown}")
    return ", ".join(fields)
