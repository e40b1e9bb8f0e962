"""Records to rows and back: pure functions, no database.

Invariant: whatever text a client sent survives every database, and a person can still
read it. The one character that PostgreSQL's text cannot hold, NUL, is written as two.
Payloads are decrypted here and nowhere else.
"""

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stan.engine.limits import ChannelOverrides
from stan.engine.records import (
    NO_LIMITS,
    ClientRecord,
    History,
    SubscriptionRecord,
)
from stan.errors import StoreRefusedError
from stan.wire.messages import encode_message, frame_message, frame_run, string_field

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

Row = tuple[Any, ...]

CLIENT_COLUMNS = (
    "client_key",
    "client_id",
    "heartbeat_inbox",
    "connection_id",
    "protocol",
    "ping_interval_s",
    "ping_max_out",
    "resends",
)
SUBSCRIPTION_COLUMNS = (
    "subscription_id",
    "channel_id",
    "client_id",
    "inbox",
    "ack_inbox",
    "max_in_flight",
    "ack_wait_s",
    "durable_name",
    "queue_group",
    "is_durable",
    "is_closed",
    "last_sent",
    "in_flight",
)
# In the order of Bounds, which is a row as it stands.
BOUNDS_COLUMNS = (
    "first_sequence",
    "last_sequence",
    "first_position",
    "end_position",
    "first_timestamp_ns",
    "last_timestamp_ns",
    "count",
)
MESSAGE_COLUMNS = ("channel_id", "sequence", "timestamp_ns", "position", "reply", "data")
DELETE_MESSAGES = "DELETE FROM stan_messages WHERE channel_id=? AND sequence>=? AND sequence<?"

_LONGEST_KEY = 64
# How a channel's own limits are called in its row, and in a record.
_LIMITS = {
    "max_msgs": "max_messages",
    "max_bytes": "max_bytes",
    "max_age_ns": "max_age_ns",
    "max_inactivity_ns": "max_inactivity_ns",
    "max_subs": "max_subscriptions",
}


def pack_text(text: str) -> str:
    """`text` without NUL: NUL becomes backslash 0, a backslash two."""
    if "\\" in text or "\0" in text:
        return text.replace("\\", "\\\\").replace("\0", "\\0")
    return text


def unpack_text(text: str) -> str:
    """What `pack_text` was given."""
    if "\\" not in text:
        return text
    return "\\".join(part.replace("\\0", "\0") for part in text.split("\\\\"))


def pack_limits(limits: ChannelOverrides) -> str | None:
    """A channel's own limits as a JSON object of those that it has; nothing for none."""
    own = {
        name: value
        for name, attribute in _LIMITS.items()
        if (value := getattr(limits, attribute)) is not None
    }
    return json.dumps(own) if own else None


def unpack_limits(text: str | None) -> ChannelOverrides:
    """What `pack_limits` was given."""
    if not text:
        return NO_LIMITS
    own = json.loads(text)
    return ChannelOverrides(**{attribute: own.get(name) for name, attribute in _LIMITS.items()})


def pack_ranges(sequences: Iterable[int]) -> str:
    """Ascending numbers as text: 12, 13, 14 and 42 are "12-14,42"."""
    parts: list[str] = []
    first = last = -1
    for sequence in sequences:
        if sequence == last + 1 and first >= 0:
            last = sequence
            continue
        if first >= 0:
            parts.append(f"{first}-{last}" if last > first else f"{first}")
        first = last = sequence
    if first >= 0:
        parts.append(f"{first}-{last}" if last > first else f"{first}")
    return ",".join(parts)


def unpack_ranges(text: str) -> tuple[int, ...]:
    """What `pack_ranges` was given."""
    return tuple(_expand(text)) if text else ()


def _expand(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def digest_key(text: str) -> str:
    """What stands for a name in a primary key, whatever its length: the name itself, or its
    digest when it is long, holds a colon, so that no name is mistaken for a digest, or ends
    with a space, which MySQL would not tell from one that does not."""
    packed = pack_text(text)
    if len(packed) <= _LONGEST_KEY and ":" not in packed and not packed.endswith(" "):
        return packed
    return "sha256:" + sha256(text.encode()).hexdigest()


def client_row(client: ClientRecord) -> Row:
    return (
        digest_key(client.client_id),
        pack_text(client.client_id),
        pack_text(client.heartbeat_inbox),
        client.connection_id,
        client.protocol,
        client.ping_interval_s,
        client.ping_max_out,
        int(client.resends),
    )


def client_record(row: Row) -> ClientRecord:
    _, client_id, inbox, connection_id, protocol, interval_s, max_out, resends = row
    return ClientRecord(
        client_id=unpack_text(client_id),
        heartbeat_inbox=unpack_text(inbox),
        connection_id=bytes(connection_id),
        protocol=protocol,
        ping_interval_s=interval_s,
        ping_max_out=max_out,
        resends=bool(resends),
    )


def subscription_row(record: SubscriptionRecord) -> Row:
    return (
        record.subscription_id,
        record.channel_id,
        pack_text(record.client_id),
        pack_text(record.inbox),
        pack_text(record.ack_inbox),
        record.max_in_flight,
        record.ack_wait_s,
        pack_text(record.durable_name),
        pack_text(record.queue_group),
        int(record.is_durable),
        int(record.is_closed),
        record.last_sent,
        pack_ranges(record.in_flight),
    )


def subscription_record(row: Row) -> SubscriptionRecord:
    return SubscriptionRecord(
        subscription_id=row[0],
        channel_id=row[1],
        client_id=unpack_text(row[2]),
        inbox=unpack_text(row[3]),
        ack_inbox=unpack_text(row[4]),
        max_in_flight=row[5],
        ack_wait_s=row[6],
        durable_name=unpack_text(row[7]),
        queue_group=unpack_text(row[8]),
        is_durable=bool(row[9]),
        is_closed=bool(row[10]),
        last_sent=row[11],
        in_flight=unpack_ranges(row[12]),
    )


def history(channel: str, rows: Iterable[Row], encryption: "Encryption | None" = None) -> History:
    """Rows of (sequence, timestamp_ns, reply, data) as they will be delivered.

    Ends before a message that cannot be decrypted; raises StoreRefusedError when that is
    the first one.
    """
    if encryption is not None:
        rows = _decrypt(channel, rows, encryption)
    channel_field = string_field(0x12, channel.encode())
    sequences: list[int] = []
    framed: list[bytes] = []
    payloads: list[bytes] = []  # of a run: consecutive, of one timestamp, without reply
    next_sequence = run_ns = 0
    for sequence, timestamp_ns, reply, data in rows:
        sequences.append(sequence)
        if payloads and (sequence != next_sequence or timestamp_ns != run_ns or reply):
            first = next_sequence - len(payloads)
            framed += frame_run(first, channel_field, payloads, run_ns)[0]
            payloads = []
        if reply:
            text = unpack_text(reply)
            message = encode_message(sequence, channel_field, text, data, timestamp_ns)
            framed.append(frame_message(message))
        else:
            payloads.append(data)
            next_sequence, run_ns = sequence + 1, timestamp_ns
    if payloads:
        framed += frame_run(next_sequence - len(payloads), channel_field, payloads, run_ns)[0]
    return History(sequences, framed)


def _decrypt(channel: str, rows: Iterable[Row], encryption: "Encryption") -> Iterator[Row]:
    """The rows with plain payloads. What comes before a message that nobody can read is
    still to be delivered."""
    found = False
    for sequence, timestamp_ns, reply, data in rows:
        try:
            payload = encryption.decrypt(channel, data, sequence)
        except StoreRefusedError:
            if found:
                return
            raise
        found = True
        yield sequence, timestamp_ns, reply, payload
