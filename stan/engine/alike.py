"""Publishes that are like one that was decoded before: cut out, not decoded.

Neighbors often differ only in guid and payload; those behind each other are taken in one go.
Others take turns among channels, or come alone: of these it is remembered how their sender's
publishes begin and end, and which channel stands in those to a subject. Invariant: every byte
is compared, so whatever is taken here decodes to just what it is taken for.
"""

from stan.engine.bursts import Burst
from stan.engine.clients import Clients
from stan.engine.state import Channel, Client
from stan.wire.frames import Frame
from stan.wire.messages import PublishShape, publish_shape
from stan.wire.stan_pb2 import PubMsg

# So many senders and subjects are remembered at most, and none that is longer: clients choose
# what is in them. Others are decoded each time.
_MOST_KNOWN = 16384
_MOST_BYTES = 512


class Sender:
    """Who publishes with this ack subject, and how all that is theirs begins and ends."""

    def __init__(self, client: Client, message: PubMsg, shape: PublishShape) -> None:
        self.client: Client = client
        self.client_id: str = message.clientID
        self.connection_id: bytes = message.connID
        self.head: bytes = shape.head
        self.guid_start: int = shape.guid_start
        self.guid_end: int = shape.guid_end
        self.tail: bytes = shape.tail


class Familiar:
    """Senders by ack subject, channels by the subject to which it was published."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._senders: dict[bytes, Sender] = {}
        self._channels: dict[bytes, Channel] = {}

    def find(
        self, subject: bytes, reply: bytes, payload: bytes
    ) -> tuple[Sender, Channel, int] | None:
        """Whose it is, where it goes, and where its data begins; None for what must be decoded."""
        sender = self._senders.get(reply)
        channel = self._channels.get(subject)
        if (
            sender is None
            or channel is None
            or channel.deleted
            or not payload.startswith(sender.head)
            or not payload.startswith(channel.publish_field, sender.guid_end)
            or not payload.endswith(sender.tail)
            or not payload[sender.guid_start : sender.guid_end].isascii()
            or self._clients.publisher(sender.client_id, sender.connection_id) is not sender.client
        ):
            return None
        field_end = sender.guid_end + len(channel.publish_field)
        start = find_data(payload, field_end, len(payload) - len(sender.tail))
        return (sender, channel, start) if start >= 0 else None

    def forget(self) -> None:
        """Have everything decoded once more."""
        self._senders.clear()
        self._channels.clear()

    def learn(
        self, subject: bytes, reply: bytes, payload: bytes, message: PubMsg, channel: Channel
    ) -> None:
        """This was decoded and is fine; the next one like it need not be."""
        if len(subject) + len(reply) > _MOST_BYTES:
            return
        sender = self._senders.get(reply)
        if sender is None or sender.client.gone:
            client = self._clients.publisher(message.clientID, message.connID)
            shape = publish_shape(payload, message, message.guid.encode())
            if client is None or shape is None or len(shape.head + shape.tail) > _MOST_BYTES:
                return
            if len(self._senders) >= _MOST_KNOWN:
                self.forget()
            self._senders[reply] = Sender(client, message, shape)
        if self._channels.get(subject) is not channel:
            if len(self._channels) >= _MOST_KNOWN:
                self._channels.clear()
            self._channels[subject] = channel


def make_shape(payload: bytes, sender: Sender, channel: Channel, data_start: int) -> PublishShape:
    """The shape of a familiar publish whose data begins there."""
    guid_end, size = sender.guid_end, len(payload)
    return PublishShape(
        size,
        sender.head,
        sender.guid_start,
        guid_end,
        payload[guid_end:data_start],
        data_start,
        size - len(sender.tail),
        sender.tail,
        channel.publish_field,
    )


def find_data(payload: bytes, start: int, end: int) -> int:
    """Where the data begins when the field with it, or nothing, is all there is from `start` to
    `end`; -1 for anything else, and for more than 16 KB."""
    if start == end:
        return start
    if end - start < 3 or payload[start] != 0x2A:
        return -1
    length = payload[start + 1]
    start += 2
    if length > 127:
        high = payload[start]
        if high > 127:
            return -1
        length = length & 127 | high << 7
        start += 1
    return start if length and start + length == end else -1


def take_equal(
    frames: list[Frame], index: int, end: int, shape: PublishShape, to: bytes, burst: Burst
) -> int:
    """Put those from `index` on into the burst that have the size of its last one and differ
    from it only in the bytes of guid and payload. Returns how many."""
    size = shape.size
    head, middle, tail = shape.head, shape.middle, shape.tail
    guid_start, guid_end = shape.guid_start, shape.guid_end
    data_start, data_end = shape.data_start, shape.data_end
    first_reply = burst.ack_subject
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
    return len(guids) - had


def take_similar(
    frames: list[Frame],
    index: int,
    end: int,
    shape: PublishShape,
    to: bytes,
    burst: Burst,
    largest: int,
    bytes_left: int,
) -> tuple[int, int, int]:
    """The same for those whose payloads have another length: up to `largest` bytes each as they
    came, until `bytes_left` are used up. Returns how many, their bytes and payload bytes."""
    head, channel_field, tail = shape.head, shape.channel_field, shape.tail
    guid_start, guid_end = shape.guid_start, shape.guid_end
    tag_at = guid_end + len(channel_field)
    tail_size = len(tail)
    first_reply = burst.ack_subject
    guids, payloads = burst.guids, burst.payloads
    had = len(guids)
    taken_bytes = payload_bytes = 0
    for position in range(index, end):
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
        start = find_data(payload, tag_at, size - tail_size)
        if start < 0 or size > largest:
            break
        guid = payload[guid_start:guid_end]
        if not guid.isascii():
            break
        guids.append(guid)
        payloads.append(payload[start : size - tail_size])
        taken_bytes += size
        payload_bytes += size - tail_size - start
    return len(guids) - had, taken_bytes, payload_bytes
