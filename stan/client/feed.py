"""The near side of one subscription: what arrived and was not handed out, and its acks.

Sans-I/O. A feed that is not open yet keeps what arrives, because the first messages may
overtake the response that names the ack subject. Pending counts are messages and bytes of
encoded messages not yet handed out; what exceeds the limits is dropped and counted, and
the server sends it again after the ack wait.
"""

from collections import deque

from stan.wire.messages import string_field, varint

UNLIMITED = -1


class Feed:
    """Messages of one subscription between NATS and the user's code."""

    def __init__(self, channel: str, inbox: str) -> None:
        self.channel = channel
        self.inbox = inbox
        self.ack_inbox = ""
        self.messages: deque[bytes] = deque()
        self.pending_bytes = 0
        self.max_pending_messages = 0
        self.max_pending_bytes = 0
        self.limit_messages = UNLIMITED
        self.limit_bytes = UNLIMITED
        self.delivered = 0
        self.dropped = 0
        self.is_stopped = False
        self._ack_heads: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether the server accepted the subscription."""
        return bool(self.ack_inbox)

    def open(self, ack_inbox: str) -> None:
        """The server accepted: acks go to this subject."""
        self.ack_inbox = ack_inbox
        channel_field = string_field(0x0A, self.channel.encode())
        self._ack_heads = [
            b"PUB %b %d\r\n%b\x10"
            % (ack_inbox.encode(), len(channel_field) + 1 + sequence_bytes, channel_field)
            for sequence_bytes in range(11)
        ]

    def stop(self) -> None:
        """Hand out nothing more; what is pending is forgotten."""
        self.is_stopped = True
        self.messages.clear()
        self.pending_bytes = 0

    def offer(self, payloads: list[bytes | None]) -> None:
        """Take what arrived, within the limits."""
        if self.is_stopped:
            return
        limited = self.limit_messages > 0 or self.limit_bytes > 0
        for payload in payloads:
            if payload is None:
                continue
            if limited and self._is_full(len(payload)):
                self.dropped += 1
                continue
            self.messages.append(payload)
            self.pending_bytes += len(payload)
        if len(self.messages) > self.max_pending_messages:
            self.max_pending_messages = len(self.messages)
        if self.pending_bytes > self.max_pending_bytes:
            self.max_pending_bytes = self.pending_bytes

    def _is_full(self, payload_bytes: int) -> bool:
        return 0 < self.limit_messages <= len(self.messages) or (
            0 < self.limit_bytes < self.pending_bytes + payload_bytes
        )

    def take(self) -> bytes:
        """The next message's bytes; raises IndexError when there is none."""
        payload = self.messages.popleft()
        self.pending_bytes -= len(payload)
        self.delivered += 1
        return payload

    def ack(self, sequence: int) -> bytes:
        """The NATS operation that acknowledges a message."""
        number = varint(sequence)
        return b"%b%b\r\n" % (self._ack_heads[len(number)], number)
