"""The publish window: what was published and has no ack yet, and the bytes of a publish.

Sans-I/O. The clock is an argument, and whoever owns the window drains `settled`. Each
publish in the window settles exactly once: by its ack, by its deadline, or by `fail`; an
interruption settles nothing. The window is keyed by the bytes of the ack that says
"stored", so that the usual ack is one dictionary look-up and no parsing. `written` counts
the publishes that left: what came later is certainly nowhere.
"""

from typing import TYPE_CHECKING

from stan.errors import (
    ClientError,
    ConfigError,
    PayloadTooLargeError,
    PublishError,
    PublishTimeoutError,
)
from stan.wire.messages import parse, string_field, varint
from stan.wire.stan_pb2 import PubAck
from stan.wire.subjects import is_publishable_subject, is_valid_channel

if TYPE_CHECKING:
    from stan.client.receipt import Receipt

Settled = tuple["Receipt", ClientError | None]

UNKNOWN_CLIENT = "stan: invalid publish request"
"""What a server says that does not know us; our own publishes are valid otherwise."""

# How many channels keep their ready-made bytes; a publisher to more of them stays right,
# only a little slower.
_MAX_ENVELOPES = 4096
_GUID_CHARS = 22
_NS_IN_MS = 1_000_000
# The tags of the fields that are ours, and how many bytes a mark takes at most.
_RESENT_AFTER = varint(1001 << 3)
_MESSAGE_ID = varint(1002 << 3 | 2)
_MARK_BYTES = 8


def mark_resent(operation: bytes, age_ms: int) -> bytes:
    """The operation of a publish that was sent before, first so many milliseconds ago."""
    line, _, rest = operation.partition(b"\r\n")
    head, _, size = line.rpartition(b" ")
    mark = _RESENT_AFTER + varint(age_ms)
    return b"%b %d\r\n%b%b\r\n" % (head, int(size) + len(mark), rest[:-2], mark)


class Window:
    """Publishes without an ack: `waiting`, oldest first, because all wait equally long."""

    def __init__(
        self,
        *,
        client_id: str,
        connection_id: str,
        guid_stem: str,
        ack_inbox: str,
        ack_wait_ns: int,
    ) -> None:
        self.settled: list[Settled] = []
        self.waiting: dict[bytes, tuple[int, Receipt, bytes]] = {}
        self.pending_bytes = 0
        self.written = 0
        self.is_doubted = False
        """Set when an ack shows that nobody listens, or that the server does not know us."""
        self.keeps_refused = False
        """Whether a publish of a client that the server does not know is kept, to be sent again."""
        self._refused: set[bytes] = set()
        self._envelopes: dict[str, tuple[bytes, bytes, bytes, int]] = {}
        self._publish_prefix = ""
        self._dedupe_ns = 0
        self._mark_bytes = 0
        self._ack_inbox = ack_inbox
        self._ack_wait_ns = ack_wait_ns
        self._client_field = string_field(0x0A, client_id.encode())
        self._tail = string_field(0x32, connection_id.encode())
        # b"\n\x16" and the guid are the whole ack of a stored message.
        self._key_stem = b"\x0a%c%b" % (_GUID_CHARS, guid_stem.encode())
        self._count = 0

    def address(self, publish_prefix: str, dedupe_ns: int) -> None:
        """Where publishes go from now on, and how long they are recognised when sent again."""
        if self._publish_prefix and publish_prefix != self._publish_prefix:
            old, new = (b"PUB %b." % p.encode() for p in (self._publish_prefix, publish_prefix))
            for key, (deadline_ns, receipt, operation) in self.waiting.items():
                moved = new + operation.removeprefix(old)
                self.waiting[key] = (deadline_ns, receipt, moved)
        self._publish_prefix = publish_prefix
        self._dedupe_ns = dedupe_ns
        self._mark_bytes = _MARK_BYTES if dedupe_ns else 0
        self._envelopes.clear()

    @property
    def next_deadline_ns(self) -> int | None:
        """When the oldest publish gives up; None when nothing waits."""
        for deadline_ns, _, _ in self.waiting.values():
            return deadline_ns
        return None

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest publish began to wait; None when nothing waits."""
        deadline_ns = self.next_deadline_ns
        return None if deadline_ns is None else deadline_ns - self._ack_wait_ns

    @property
    def recognises(self) -> bool:
        """Whether the server recognises what is sent again."""
        return self._dedupe_ns > 0

    def publish(
        self,
        channel: str,
        data: bytes | bytearray | memoryview,
        receipt: "Receipt",
        now_ns: int,
        max_payload_bytes: int,
        message_id: str = "",
    ) -> bytes:
        """Take the message into the window; returns the NATS operation that sends it.

        Raises PublishError for a channel name that no server accepts or NATS cannot carry,
        PayloadTooLargeError, and ConfigError for arguments of another kind; the window is
        then unchanged.
        """
        if not isinstance(data, bytes):
            if not isinstance(data, bytearray | memoryview):
                raise ConfigError(f"stan: data must be bytes, not {type(data).__name__}")
            data = bytes(data)
        try:
            envelope = self._envelopes[channel]
        except (KeyError, TypeError):
            envelope = self._make_envelope(channel)
        head, before_guid, after_guid, fixed_bytes = envelope
        if data:
            data_head = b"\x2a" + varint(len(data))
            size = fixed_bytes + len(data_head) + len(data)
        else:
            data_head = b""
            size = fixed_bytes
        tail = self._tail
        if message_id:
            tail += self._message_id_field(message_id)
            size += len(tail) - len(self._tail)
        if size > max_payload_bytes - self._mark_bytes:
            raise PayloadTooLargeError("nats: maximum payload exceeded")
        self._count += 1
        key = b"%b%010d" % (self._key_stem, self._count)
        operation = b"%b%d\r\n%b%b%b%b%b%b\r\n" % (
            head,
            size,
            before_guid,
            key[1:],
            after_guid,
            data_head,
            data,
            tail,
        )
        receipt.issue(key)
        self.waiting[key] = (now_ns + self._ack_wait_ns, receipt, operation)
        self.pending_bytes += len(operation)
        return operation

    def _message_id_field(self, message_id: str) -> bytes:
        if not isinstance(message_id, str):
            raise ConfigError(f"stan: msg_id is text, not {type(message_id).__name__}")
        if not self._dedupe_ns:
            raise ConfigError("stan: this server does not know msg_id")
        try:
            encoded = message_id.encode()
        except UnicodeEncodeError:
            raise ConfigError("stan: msg_id is not valid text") from None
        return b"%b%b%b" % (_MESSAGE_ID, varint(len(encoded)), encoded)

    def _make_envelope(self, channel: str) -> tuple[bytes, bytes, bytes, int]:
        """The bytes that all publishes to this channel share."""
        if not isinstance(channel, str):
            raise ConfigError(f"stan: a channel is text, not {type(channel).__name__}")
        if not is_valid_channel(channel):
            raise PublishError(UNKNOWN_CLIENT)
        subject = f"{self._publish_prefix}.{channel}"
        try:
            carried = is_publishable_subject(subject)
        except UnicodeEncodeError:
            carried = False
        if not carried:
            raise PublishError("nats: invalid subject")
        head = f"PUB {subject} {self._ack_inbox} ".encode()
        before_guid = self._client_field + b"\x12"
        after_guid = string_field(0x1A, channel.encode())
        fixed_bytes = len(before_guid) + 1 + _GUID_CHARS + len(after_guid) + len(self._tail)
        if len(self._envelopes) >= _MAX_ENVELOPES:
            self._envelopes.clear()
        envelope = self._envelopes[channel] = (head, before_guid, after_guid, fixed_bytes)
        return envelope

    def max_data_bytes(self, channel: str, max_payload_bytes: int) -> int:
        """The largest payload that fits a publish to this channel."""
        fixed_bytes = self._make_envelope(channel)[3]
        room = max_payload_bytes - self._mark_bytes - fixed_bytes - 1
        data_bytes = room - 1
        while data_bytes > 0 and data_bytes + len(varint(data_bytes)) > room:
            data_bytes -= 1
        return max(data_bytes, 0)

    # Sending again

    def flushed(self) -> None:
        """All publishes so far have left."""
        self.written = self._count

    def again(self, now_ns: int, resend: str) -> tuple[list[bytes], int]:
        """After an interruption: what is to be sent now, in the original order, and how many of
        those may have arrived before. What is not among it stays until its deadline.

        Those that certainly arrived nowhere are simply sent. The others are marked where the
        server recognises them; elsewhere they are sent for `resend` "always", and when they were
        refused. A refusal answers one copy: an earlier one may be stored.
        """
        operations: list[bytes] = []
        repeated = 0
        for key, (deadline_ns, _, operation) in self.waiting.items():
            if int(key[-10:]) > self.written:
                operations.append(operation)
                continue
            is_refused = key in self._refused
            age_ns = now_ns - (deadline_ns - self._ack_wait_ns)
            if self._dedupe_ns and resend != "never" and age_ns < self._dedupe_ns:
                operations.append(mark_resent(operation, max(1, -(-age_ns // _NS_IN_MS))))
            elif resend == "always" or is_refused:
                operations.append(operation)
            else:
                continue
            repeated += not is_refused
        self._refused.clear()
        return operations, repeated

    # Settling

    def acknowledge(self, acks: list[bytes | None]) -> None:
        """Take the payloads of acks. Late, repeated and foreign ones change nothing."""
        pop = self.waiting.pop
        settle = self.settled.append
        done_bytes = 0
        for ack in acks:
            if ack is None:  # nobody listens; which publish that was, NATS does not say
                self.is_doubted = True
                continue
            entry = pop(ack, None)
            if entry is not None:
                done_bytes += len(entry[2])
                settle((entry[1], None))
            else:
                self._acknowledge_slowly(ack)
        self.pending_bytes -= done_bytes

    def _acknowledge_slowly(self, payload: bytes) -> None:
        try:
            ack = parse(PubAck, payload)
        except ValueError:
            return
        guid = ack.guid.encode()
        key = b"\x0a%b%b" % (varint(len(guid)), guid)
        if self.keeps_refused and ack.error == UNKNOWN_CLIENT and key in self.waiting:
            self._refused.add(key)
            self.is_doubted = True
            return
        entry = self._take(key)
        if entry is not None:
            if ack.duplicate:
                entry[1].mark_duplicate()
            self.settled.append((entry[1], PublishError(ack.error) if ack.error else None))

    def _take(self, key: bytes) -> "tuple[int, Receipt, bytes] | None":
        entry = self.waiting.pop(key, None)
        if entry is not None:
            self.pending_bytes -= len(entry[2])
            self._refused.discard(key)
        return entry

    def settle_refused(self) -> None:
        """The server knows us: what it refused, it refused for another reason."""
        for key in sorted(self._refused):
            entry = self._take(key)
            if entry is not None:
                self.settled.append((entry[1], PublishError(UNKNOWN_CLIENT)))

    def expire(self, now_ns: int) -> None:
        """Settle what waited too long."""
        expired = []
        for key, (deadline_ns, _, _) in self.waiting.items():
            if deadline_ns > now_ns:
                break
            expired.append(key)
        for key in expired:
            entry = self._take(key)
            assert entry is not None
            self.settled.append((entry[1], PublishTimeoutError("stan: publish ack timeout")))

    def fail(self, kind: type[ClientError], text: str) -> None:
        """Settle everything with an error: the connection ended."""
        entries = list(self.waiting.values())
        self.waiting.clear()
        self._refused.clear()
        self.pending_bytes = 0
        self.settled.extend((receipt, kind(text)) for _, receipt, _ in entries)
