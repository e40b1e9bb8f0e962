"""The near side of one subscription: what arrived and was not handed out, and its acks.

Sans-I/O. A feed that is not open keeps what arrives apart, because the first messages may
overtake the response that names the ack subject. Pending counts are messages and bytes of
encoded messages not yet handed out; what exceeds the limits is dropped and counted, and
the server sends it again after the ack wait.

A feed outlives the server's memory of it: `request` is how it was asked for and `last` the
highest sequence that arrived, from which it is asked for again. Each time it is, `epoch`
rises, and acks of messages from before are nobody's any more.
"""

from collections import deque
from typing import Protocol

from stan.client.events import Gap
from stan.errors import ClientError
from stan.wire.messages import parse, string_field, varint
from stan.wire.stan_pb2 import (
    First,
    LastReceived,
    MsgProto,
    NewOnly,
    SequenceStart,
    SubscriptionRequest,
    TimeDeltaStart,
)

UNLIMITED = -1
STALE = -1
"""The epoch of a message that was handed out too late to be acknowledged."""


class Consumer(Protocol):
    """Who gets the messages of a feed."""

    def _deliver(self) -> None: ...

    def _stop(self, lost: ClientError | None = None) -> None: ...

    def _begin_to_drain(self) -> None: ...

    async def _drained(self, deadline_s: float) -> None: ...


class Feed:
    """Messages of one subscription between NATS and the user's code."""

    def __init__(self, channel: str, inbox: str, request: SubscriptionRequest, now_ns: int) -> None:
        self.channel = channel
        self.inbox = inbox
        self.request = request
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
        self.is_draining = False
        self.last = 0
        self.epoch = 0
        self.registration = 0
        """Which registration of the client it belongs to."""
        self.stale = 0
        """Not 0 while what was taken last, arrived in an earlier epoch."""
        self.gap: Gap | None = None
        """Found missing; whoever sees it takes it away."""
        self._expected = 0
        self._early: list[bytes | None] = []
        self._asked_ns = now_ns
        self._ack_heads: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether the server accepted the subscription."""
        return bool(self.ack_inbox)

    @property
    def is_shared(self) -> bool:
        """Whether the server keeps the position: for a durable, or for a queue group."""
        return bool(self.request.durableName or self.request.qGroup)

    @property
    def awaits_proof(self) -> bool:
        """Whether the next message will show if something is missing."""
        return self._expected > 0

    def open(self, ack_inbox: str, registration: int) -> None:
        """The server accepted: acks go to this subject."""
        self.ack_inbox = ack_inbox
        self.registration = registration
        channel_field = string_field(0x0A, self.channel.encode())
        self._ack_heads = [
            b"PUB %b %d\r\n%b\x10"
            % (ack_inbox.encode(), len(channel_field) + 1 + sequence_bytes, channel_field)
            for sequence_bytes in range(11)
        ]
        early, self._early = self._early, []
        if early:
            self.offer(early)

    def stop(self) -> None:
        """Hand out nothing more; what is pending is forgotten."""
        self.is_stopped = True
        self.messages.clear()
        self._early.clear()
        self.pending_bytes = 0

    def offer(self, payloads: list[bytes | None]) -> None:
        """Take what arrived, within the limits."""
        if self.is_stopped or self.is_draining:
            return
        if not self.ack_inbox:
            self._early += payloads
            return
        limited = self.limit_messages > 0 or self.limit_bytes > 0
        messages = self.messages
        before = len(messages)
        for payload in payloads:
            if payload is None:
                continue
            if limited and self._is_full(len(payload)):
                self.dropped += 1
                continue
            messages.append(payload)
            self.pending_bytes += len(payload)
        if self._expected:
            self._look_for_gap(before)
        if len(messages) > before:
            self._note_last(before)
        if len(messages) > self.max_pending_messages:
            self.max_pending_messages = len(messages)
        if self.pending_bytes > self.max_pending_bytes:
            self.max_pending_bytes = self.pending_bytes

    def _is_full(self, payload_bytes: int) -> bool:
        return 0 < self.limit_messages <= len(self.messages) or (
            0 < self.limit_bytes < self.pending_bytes + payload_bytes
        )

    def _note_last(self, before: int) -> None:
        """Remember the highest sequence. First deliveries rise, so it is that of the last one
        that is none of the redelivered."""
        for index in range(len(self.messages) - 1, before - 1, -1):
            try:
                proto = parse(MsgProto, self.messages[index])
            except ValueError:
                continue
            if not proto.redelivered:
                self.last = max(self.last, proto.sequence)
                return

    def _look_for_gap(self, before: int) -> None:
        """The first message since it was asked for again: is it the expected one?"""
        for index in range(before, len(self.messages)):
            try:
                sequence = parse(MsgProto, self.messages[index]).sequence
            except ValueError:
                continue
            if sequence < self._expected:
                self.gap = Gap(self.channel, self._expected, 0, begun_anew=True)
                # Of the channel as it is now they are not the first.
                while len(self.messages) > before:
                    self.pending_bytes -= len(self.messages.pop())
                self.last = 0
            elif sequence > self._expected:
                self.gap = Gap(self.channel, self._expected, sequence - 1)
            self._expected = 0
            return

    def take(self) -> bytes:
        """The next message's bytes; raises IndexError when there is none."""
        payload = self.messages.popleft()
        self.pending_bytes -= len(payload)
        self.delivered += 1
        if self.stale:
            self.stale -= 1
        return payload

    def ack(self, sequence: int) -> bytes:
        """The NATS operation that acknowledges a message."""
        number = varint(sequence)
        return b"%b%b\r\n" % (self._ack_heads[len(number)], number)

    # Asking again

    def ask_again(self, inbox: str, now_ns: int, heard_ns: int) -> SubscriptionRequest:
        """The request with which it goes on, on another inbox. `heard_ns` is when the server,
        which has forgotten it, was last heard."""
        self.inbox = inbox
        self.ack_inbox = ""
        self._early.clear()
        self.epoch += 1
        self.stale = len(self.messages) + 1 if self.messages else 0
        self._expected = 0
        request = SubscriptionRequest()
        request.CopyFrom(self.request)
        request.inbox = inbox
        age_ns = now_ns - self._asked_ns
        if self.gap is not None and self.gap.begun_anew:
            request.startPosition = First
        elif not self.last:
            if request.startPosition in (NewOnly, LastReceived, TimeDeltaStart):
                # What was new when it was asked for is still to be delivered.
                request.startPosition = TimeDeltaStart
                request.startTimeDelta += age_ns
        elif not self.is_shared:
            request.startPosition = SequenceStart
            request.startSequence = self._expected = self.last + 1
        elif request.startPosition != First:
            # Counts only if the server has forgotten the position as well.
            request.startPosition = TimeDeltaStart
            request.startTimeDelta = now_ns - heard_ns
        return request
