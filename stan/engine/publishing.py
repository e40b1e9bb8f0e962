"""Publishes on their way into a batch: validation, the queue, sequences, acks.

A burst is a run of publishes that differ only in guid and payload: one publisher, one
channel, one ack subject. Whatever is the same for all of them is looked at once; those
whose bytes differ nowhere else are not even parsed. Bursts wait unsealed; sealing gives
sequences and timestamps and encodes each message once.
"""

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from stan.engine.channels import Channel, Channels, Refusal, is_acceptable_channel
from stan.engine.clients import Clients
from stan.engine.lanes import Lanes
from stan.engine.outbox import Outbox
from stan.engine.records import Run
from stan.engine.settings import Settings
from stan.wire.frames import Frame, pub
from stan.wire.messages import (
    PublishShape,
    ack_head,
    encode_error_ack,
    encode_message,
    frame_message,
    frame_run,
    parse,
    publish_shape,
    string_field,
    varint,
)
from stan.wire.server_pb2 import CtrlMsg
from stan.wire.stan_pb2 import PubMsg

INVALID_PUBLISH = "stan: invalid publish request"
OVERLOADED = "stan: server is overloaded, publish again later"
PAYLOAD_TOO_LARGE = "nats: maximum payload exceeded"

# What a MsgProto adds to channel, reply and data, at most: two tags with varints of ten
# bytes, the data's tag and length, and a redelivery mark.
_MESSAGE_OVERHEAD_BYTES = 2 * 11 + 6 + 8
# A burst that has reached one of these is followed by another one, so that a batch can be
# shared between publishers, and bounded.
BURST_MESSAGES = 256
BURST_BYTES = 256 * 1024


class Burst:
    def __init__(
        self, channel: Channel, client_id: str, ack_subject: bytes, guid_size: int
    ) -> None:
        self.channel: Channel = channel
        self.client_id: str = client_id
        self.ack_subject: bytes = ack_subject
        self.guid_size: int = guid_size  # in bytes; 0: of different lengths, or too long
        self.guids: list[bytes] = []
        self.payloads: list[bytes] = []
        self.replies: list[str] = []  # empty while no message has one
        self.payload_bytes: int = 0
        self.queued_bytes: int = 0  # of the requests as they came
        self.number: int = 0  # in the order of arrival

    def is_full(self) -> bool:
        return len(self.guids) >= BURST_MESSAGES or self.queued_bytes >= BURST_BYTES


class Publishing:
    def __init__(
        self, settings: Settings, channels: Channels, clients: Clients, outbox: Outbox
    ) -> None:
        self.in_messages: int = 0
        self.in_bytes: int = 0
        self.refused: int = 0
        self.queued_messages: int = 0
        self.queued_bytes: int = 0
        self._queue: Lanes = Lanes()
        self._settings = settings
        self._channels = channels
        self._clients = clients
        self._outbox = outbox
        self.interrupt()

    # Intake.

    def interrupt(self) -> None:
        """Something else happened: the next publish is looked at from scratch."""
        self._burst: Burst | None = None
        self._shape: PublishShape | None = None
        self._reply: bytes = b""
        self._channel_name: str = ""
        self._client_id: str = ""
        self._connection_id: bytes = b""

    def receive(self, frames: list[Frame], index: int, now_ns: int) -> int:
        """Take the PubMsg at `index` and those behind it that are alike. Returns the index
        of the first frame that was not looked at."""
        frame = frames[index]
        if self._shape is not None:
            taken = self._take_alike(frames, index, self._shape, frame[0])
            if taken > index:
                return taken
        payload = frame[2]
        if payload is not None:
            self._take(payload, frame[1], now_ns)
        return index + 1

    def _take_alike(self, frames: list[Frame], index: int, shape: PublishShape, to: bytes) -> int:
        """Queue the publishes from `index` on that were sent to the same subject and differ
        from the burst's last one only in the bytes of guid and payload."""
        burst = self._burst
        if burst is None:
            return index
        if burst.is_full():
            if self._is_full():
                return index
            burst = self._queue_burst(burst.channel, burst.ack_subject, burst.guid_size)
        index += self._take_equal(frames, index, shape, to, burst)
        if index < len(frames):
            payload = frames[index][2]
            if payload is not None and len(payload) != shape.size:
                index += self._take_similar(frames, index, shape, to, burst)
        if not burst.guids:  # begun in vain
            self._queue.drop_last(burst)
            self.interrupt()
        return index

    def _take_equal(
        self, frames: list[Frame], index: int, shape: PublishShape, to: bytes, burst: Burst
    ) -> int:
        """Queue those that have the size of the burst's last one, too. Returns how many."""
        settings = self._settings
        size = shape.size
        # One more than the limit, as if each had been looked at by itself.
        room = min(
            settings.queue_messages - self.queued_messages,
            (settings.queue_bytes - self.queued_bytes) // size,
            BURST_MESSAGES - len(burst.guids) - 1,
            (BURST_BYTES - burst.queued_bytes - 1) // size,
        )
        if room < 0:
            return 0
        end = min(len(frames), index + room + 1)
        first_reply = self._reply
        head, middle, tail = shape.head, shape.middle, shape.tail
        guid_start, guid_end = shape.guid_start, shape.guid_end
        data_start, data_end = shape.data_start, shape.data_end
        guids, payloads = burst.guids, burst.payloads
        had = len(guids)
        for position in range(index, end):
            subject, reply, payload = frames[position]
            if (
                payload is None
                or len(payload) != size
                or not payload.startswith(head)
                or not payload.startswith(middle, guid_end)
                or not payload.endswith(tail)
                or reply != first_reply
                or subject != to
            ):
                break
            guid = payload[guid_start:guid_end]
            if not guid.isascii():
                break
            guids.append(guid)
            payloads.append(payload[data_start:data_end])
        taken = len(guids) - had
        self._count(burst, taken, taken * size, taken * (data_end - data_start))
        return taken

    def _take_similar(
        self, frames: list[Frame], index: int, shape: PublishShape, to: bytes, burst: Burst
    ) -> int:
        """Queue those whose payloads may have another length. Returns how many."""
        settings = self._settings
        largest = settings.max_payload_bytes - _MESSAGE_OVERHEAD_BYTES
        bytes_left = min(
            settings.queue_bytes - self.queued_bytes, BURST_BYTES - burst.queued_bytes - 1
        )
        room = min(
            settings.queue_messages - self.queued_messages, BURST_MESSAGES - len(burst.guids) - 1
        )
        first_reply = self._reply
        head, channel_field, tail = shape.head, shape.channel_field, shape.tail
        guid_start, guid_end = shape.guid_start, shape.guid_end
        tag_at = guid_end + len(channel_field)
        tail_size = len(tail)
        guids, payloads = burst.guids, burst.payloads
        had = len(guids)
        taken_bytes = payload_bytes = 0
        for position in range(index, min(len(frames), index + room + 1)):
            subject, reply, payload = frames[position]
            if (
                taken_bytes > bytes_left
                or payload is None
                or not payload.startswith(head)
                or not payload.startswith(channel_field, guid_end)
                or not payload.endswith(tail)
                or reply != first_reply
                or subject != to
            ):
                break
            size = len(payload)
            start, end = tag_at, size - tail_size
            if start != end:
                if end - start < 3 or payload[start] != 0x2A or size > largest:
                    break
                length = payload[start + 1]
                start += 2
                if length > 127:
                    high = payload[start]
                    if high > 127:
                        break
                    length = length & 127 | high << 7
                    start += 1
                if not length or start + length != end:
                    break
            guid = payload[guid_start:guid_end]
            if not guid.isascii():
                break
            guids.append(guid)
            payloads.append(payload[start:end])
            taken_bytes += size
            payload_bytes += end - start
        taken = len(guids) - had
        self._count(burst, taken, taken_bytes, payload_bytes)
        return taken

    def _count(self, burst: Burst, taken: int, taken_bytes: int, payload_bytes: int) -> None:
        """So many more publishes are in the burst, of so many bytes as they came."""
        self.in_messages += taken
        self.in_bytes += taken_bytes
        burst.payload_bytes += payload_bytes
        burst.queued_bytes += taken_bytes
        self.queued_messages += taken
        self.queued_bytes += taken_bytes

    def _take(self, payload: bytes, reply: bytes, now_ns: int) -> None:
        """Take one PubMsg: queue it, or refuse it at once."""
        try:
            message = PubMsg.FromString(payload)
        except DecodeError:
            if not is_control_message(payload):
                self.refuse(reply, "", INVALID_PUBLISH)
            return
        self.in_messages += 1
        size = len(payload)
        self.in_bytes += size
        guid = message.guid
        if size > self._settings.max_payload_bytes - _MESSAGE_OVERHEAD_BYTES and (
            delivered_bytes(message) > self._settings.max_payload_bytes
        ):
            self.refuse(reply, guid, PAYLOAD_TOO_LARGE if guid else INVALID_PUBLISH)
            return
        burst = self._burst
        if (
            burst is None
            or reply != self._reply
            or message.subject != self._channel_name
            or message.connID != self._connection_id
            or message.clientID != self._client_id
            or not guid
            or burst.is_full()
            or self._is_full()
        ):
            burst = self._begin(message, payload, reply, now_ns)
            if burst is None:
                return
        data = message.data
        guid_bytes = guid.encode()
        if len(guid_bytes) != burst.guid_size:
            burst.guid_size = 0
        if message.reply or burst.replies:
            burst.replies.extend([""] * (len(burst.guids) - len(burst.replies)))
            burst.replies.append(message.reply)
        burst.guids.append(guid_bytes)
        burst.payloads.append(data)
        burst.payload_bytes += len(data)
        burst.queued_bytes += size
        self.queued_messages += 1
        self.queued_bytes += size
        self._shape = None
        if len(burst.guids) > 1 and not burst.replies:
            self._shape = publish_shape(payload, message, guid_bytes)

    def _begin(self, message: PubMsg, payload: bytes, reply: bytes, now_ns: int) -> Burst | None:
        """Look at everything a burst shares; None when this message was refused."""
        self._burst = None
        error = self._validate(message)
        if not error:
            try:
                channel = self._channels.open(message.subject, now_ns)
            except Refusal as refusal:
                error = str(refusal)
        if error:
            if error is not INVALID_PUBLISH or not is_control_message(payload):
                self.refuse(reply, message.guid, error)
            return None
        guid_size = len(message.guid.encode())
        self._reply = reply
        self._channel_name = message.subject
        self._client_id = message.clientID
        self._connection_id = message.connID
        return self._queue_burst(channel, reply, guid_size if guid_size < 128 else 0)

    def _queue_burst(self, channel: Channel, ack_subject: bytes, guid_size: int) -> Burst:
        burst = Burst(channel, self._client_id, ack_subject, guid_size)
        self._queue.append(burst)
        self._burst = burst
        return burst

    def _is_full(self) -> bool:
        settings = self._settings
        return (
            self.queued_bytes > settings.queue_bytes
            or self.queued_messages > settings.queue_messages
        )

    def _validate(self, message: PubMsg) -> str:
        if self._is_full():
            return OVERLOADED
        if message.connID:
            known = message.connID in self._clients.by_connection_id
        else:
            known = message.clientID in self._clients.by_id
        if not known or not message.guid:
            return INVALID_PUBLISH
        if message.subject in self._channels.by_name or is_acceptable_channel(message.subject):
            return ""
        return INVALID_PUBLISH

    def refuse(self, reply: bytes, guid: str, error: str) -> None:
        self.refused += 1
        ack = encode_error_ack(guid, error)
        if len(ack) <= self._settings.max_payload_bytes:  # else NATS would cut us off
            self._outbox.send(reply, ack)

    def refuse_overloaded(self, payload: bytes, reply: bytes) -> None:
        """Refuse a publish that can wait nowhere."""
        try:
            guid = PubMsg.FromString(payload).guid
        except DecodeError:
            guid = ""
        self.refuse(reply, guid, OVERLOADED)

    # Sealing.

    def has_queued(self) -> bool:
        return self.queued_messages > 0

    def queued(self) -> Iterable[Burst]:
        """What waits for a batch; that of each publisher in order."""
        return self._queue

    def queued_bursts(self, client_id: str) -> int:
        """How many bursts of this publisher wait for a batch."""
        return self._queue.count(client_id)

    def seal(self, now_ns: int) -> tuple[dict[int, Run], list[Burst]]:
        """Give sequences to what is queued, up to the size of a batch."""
        self.interrupt()
        runs: dict[int, Run] = {}
        settings = self._settings
        most_messages, most_bytes = settings.batch_messages, settings.batch_bytes
        if self.queued_messages <= most_messages and self.queued_bytes <= most_bytes:
            bursts = self._queue.take_all()
        else:
            bursts = self._queue.take(most_messages, most_bytes)
        for burst in bursts:
            self.queued_messages -= len(burst.guids)
            self.queued_bytes -= burst.queued_bytes
            run = runs.get(burst.channel.channel_id)
            if run is None:
                run = begin_run(burst.channel, now_ns)
                runs[burst.channel.channel_id] = run
            extend_run(run, burst, settings.payload_overhead_bytes)
        return runs, bursts

    def put_back(self, bursts: list[Burst]) -> None:
        """Queue the bursts of a failed batch again, before everything that came since."""
        self._queue.put_back(bursts)
        for burst in bursts:
            self.queued_messages += len(burst.guids)
            self.queued_bytes += burst.queued_bytes
        self.interrupt()

    def acknowledge(self, bursts: list[Burst]) -> None:
        """Tell the publishers that their messages are stored, in order."""
        operations = self._outbox.operations
        head = join = subject = b""
        guid_size = 0
        for burst in bursts:
            if not burst.ack_subject:
                continue
            if burst.guid_size:
                if burst.guid_size != guid_size or burst.ack_subject != subject:
                    guid_size, subject = burst.guid_size, burst.ack_subject
                    head = ack_head(subject, guid_size)
                    join = b"\r\n" + head
                operations.append(head + join.join(burst.guids) + b"\r\n")
            else:
                for guid in burst.guids:
                    ack = string_field(0x0A, guid)
                    operations.append(pub(burst.ack_subject, ack))

    def refuse_all(self, bursts: list[Burst], error: str) -> None:
        """Tell the publishers that their messages are not stored."""
        for burst in bursts:
            for guid in burst.guids:
                self.refuse(burst.ack_subject, guid.decode(), error)


def delivered_bytes(message: PubMsg) -> int:
    """The size of the largest operation payload that delivers this message."""
    names_bytes = len(message.subject.encode()) + len(message.reply.encode())
    return names_bytes + len(message.data) + _MESSAGE_OVERHEAD_BYTES


def is_control_message(payload: bytes) -> bool:
    """Whether this is what servers tell each other on the publish subject, to be ignored.

    A CtrlMsg begins with its type, a number, where a PubMsg has the text of its client ID;
    a decoder takes the one for the other and finds that field missing.
    """
    try:
        return parse(CtrlMsg, payload).MsgType != 0
    except ValueError:
        return False


def begin_run(channel: Channel, now_ns: int) -> Run:
    """An empty run at the end of a channel. Its timestamp never goes back."""
    return Run(
        channel_id=channel.channel_id,
        channel=channel.name,
        first_sequence=channel.last + 1,
        timestamp_ns=max(now_ns, channel.last_timestamp_ns),
        position=channel.end_position,
        framed=[],
        sizes=[],
        payloads=[],
        replies=[],
    )


def extend_run(run: Run, burst: Burst, overhead_bytes: int = 0) -> None:
    """Encode a burst's messages behind those the run has. The store adds `overhead_bytes`
    to each payload that is not empty."""
    field = burst.channel.field
    sequence = run.first_sequence + len(run.framed)
    had = len(run.framed)
    framed, sizes = run.framed, run.sizes
    if burst.replies or run.replies:
        run.replies.extend([""] * (had - len(run.replies)))
        run.replies.extend(burst.replies)
        run.replies.extend([""] * (had + len(burst.guids) - len(run.replies)))
    if burst.replies:
        replies = burst.replies + [""] * (len(burst.guids) - len(burst.replies))
        for reply, data in zip(replies, burst.payloads, strict=True):
            message = encode_message(sequence, field, reply, data, run.timestamp_ns)
            framed.append(frame_message(message))
            sizes.append(len(message) + _growth(len(data), overhead_bytes))
            sequence += 1
    else:
        more, more_sizes = frame_run(sequence, field, burst.payloads, run.timestamp_ns)
        framed.extend(more)
        if overhead_bytes:
            for n, data in enumerate(burst.payloads):
                more_sizes[n] += _growth(len(data), overhead_bytes)
        sizes.extend(more_sizes)
    run.payloads.extend(burst.payloads)


def _growth(payload_size: int, overhead_bytes: int) -> int:
    """By how much a message grows when the store adds this to its payload."""
    if not payload_size or not overhead_bytes:
        return 0
    stored_size = payload_size + overhead_bytes
    return overhead_bytes + len(varint(stored_size)) - len(varint(payload_size))
