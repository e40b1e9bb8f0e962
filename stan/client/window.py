"""The publish window: what was published and has no ack yet, and the bytes of a publish.

Sans-I/O. The clock is an argument, and whoever owns the window drains `settled`. Each
publish in the window settles exactly once: by its ack, by its deadline, or by `fail`.
The window is keyed by the bytes of the ack that says "stored", so that the usual ack is
one dictionary look-up and no parsing.
"""

from typing import TYPE_CHECKING

from stan.errors import ClientError, PayloadTooLargeError, PublishError, PublishTimeoutError
from stan.wire.messages import parse, string_field, varint
from stan.wire.stan_pb2 import PubAck
from stan.wire.subjects import is_publishable_subject, is_valid_channel

if TYPE_CHECKING:
    from stan.client.receipt import Receipt

Settled = tuple["Receipt", ClientError | None]

# How many channels keep their ready-made bytes; a publisher to more of them stays right,
# only a little slower.
_MAX_ENVELOPES = 4096
_GUID_CHARS = 22


class Window:
    """Publishes without an ack: `waiting`, oldest first, because all wait equally long."""

    def __init__(
        self,
        *,
        client_id: str,
        connection_id: str,
        guid_stem: str,
        publish_prefix: str,
        ack_inbox: str,
        ack_wait_ns: int,
    ) -> None:
        self.settled: list[Settled] = []
        self.waiting: dict[bytes, tuple[int, Receipt]] = {}
        self._envelopes: dict[str, tuple[bytes, bytes, bytes, int]] = {}
        self._publish_prefix = publish_prefix
        self._ack_inbox = ack_inbox
        self._ack_wait_ns = ack_wait_ns
        self._client_field = string_field(0x0A, client_id.encode())
        self._tail = string_field(0x32, connection_id.encode())
        # b"\n\x16" and the guid are the whole ack of a stored message.
        self._key_stem = b"\x0a%c%b" % (_GUID_CHARS, guid_stem.encode())
        self._count = 0

    @property
    def next_deadline_ns(self) -> int | None:
        """When the oldest publish gives up; None when nothing waits."""
        for deadline_ns, _ in self.waiting.values():
            return deadline_ns
        return None

    def publish(
        self, channel: str, data: bytes, receipt: "Receipt", now_ns: int, max_payload_bytes: int
    ) -> bytes:
        """Take the message into the window; returns the NATS operation that sends it.

        Raises PublishError for a channel name that no server accepts or NATS cannot carry,
        PayloadTooLargeError, and TypeError for data that is not bytes; the window is then
        unchanged.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        envelope = self._envelopes.get(channel) or self._make_envelope(channel)
        head, before_guid, after_guid, fixed_bytes = envelope
        if data:
            data_head = b"\x2a" + varint(len(data))
            size = fixed_bytes + len(data_head) + len(data)
        else:
            data_head = b""
            size = fixed_bytes
        if size > max_payload_bytes:
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
            self._tail,
        )
        receipt.issue(key)
        self.waiting[key] = (now_ns + self._ack_wait_ns, receipt)
        return operation

    def _make_envelope(self, channel: str) -> tuple[bytes, bytes, bytes, int]:
        """The bytes that all publishes to this channel share."""
        if not is_valid_channel(channel):
            raise PublishError("stan: invalid publish request")
        subject = f"{self._publish_prefix}.{channel}"
        if not is_publishable_subject(subject):
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
        fixed_bytes = (self._envelopes.get(channel) or self._make_envelope(channel))[3]
        room = max_payload_bytes - fixed_bytes - 1
        data_bytes = room - 1
        while data_bytes > 0 and data_bytes + len(varint(data_bytes)) > room:
            data_bytes -= 1
        return max(data_bytes, 0)

    def acknowledge(self, acks: list[bytes | None]) -> None:
        """Take the payloads of acks. Late, repeated and foreign ones change nothing."""
        pop = self.waiting.pop
        settle = self.settled.append
        for ack in acks:
            if ack is None:
                continue  # nobody listens; which publish that was, NATS does not say
            entry = pop(ack, None)
            if entry is not None:
                settle((entry[1], None))
            else:
                self._acknowledge_slowly(ack)

    def _acknowledge_slowly(self, payload: bytes) -> None:
        try:
            ack = parse(PubAck, payload)
        except ValueError:
            return
        guid = ack.guid.encode()
        entry = self.waiting.pop(b"\x0a%b%b" % (varint(len(guid)), guid), None)
        if entry is not None:
            self.settled.append((entry[1], PublishError(ack.error) if ack.error else None))

    def expire(self, now_ns: int) -> None:
        """Settle what waited too long."""
        expired = []
        for key, (deadline_ns, _) in self.waiting.items():
            if deadline_ns > now_ns:
                break
            expired.append(key)
        for key in expired:
            receipt = self.waiting.pop(key)[1]
            self.settled.append((receipt, PublishTimeoutError("stan: publish ack timeout")))

    def fail(self, kind: type[ClientError], text: str) -> None:
        """Settle everything with an error: the connection ended."""
        entries = list(self.waiting.values())
        self.waiting.clear()
        self.settled.extend((receipt, kind(text)) for _, receipt in entries)
