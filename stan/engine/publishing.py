"""Publishes on their way into a batch: validation, the queue, sequences, acks.

A burst is a run of publishes that differ only in guid and payload: one publisher, one
channel, one ack subject. Whatever is the same for all of them is looked at once; those
whose bytes differ nowhere else are not even parsed. Bursts wait unsealed; sealing gives
sequences and timestamps and encodes each message once.
"""

from collections.abc import Callable

from google.protobuf.message import DecodeError

from stan.engine.alike import Familiar, make_shape, take_equal, take_similar
from stan.engine.bursts import BURST_BYTES, BURST_MESSAGES, Burst, build_runs
from stan.engine.channels import MAX_NAME_BYTES, Channels, Refusal, is_acceptable_channel
from stan.engine.clients import Clients
from stan.engine.guids import Guids, HeldPublish, key_of
from stan.engine.lanes import Lanes
from stan.engine.outbox import Outbox
from stan.engine.records import OutboxRow, Run
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.engine.state import Channel, Client
from stan.wire.frames import Frame
from stan.wire.messages import (
    MESSAGE_OVERHEAD_BYTES,
    PublishShape,
    delivered_bytes,
    encode_error_ack,
    is_control_message,
    publish_shape,
)
from stan.wire.stan_pb2 import PubMsg

INVALID_PUBLISH = "stan: invalid publish request"
OVERLOADED = "stan: server is overloaded, publish again later"
PAYLOAD_TOO_LARGE = "nats: maximum payload exceeded"


class Publishing:
    def __init__(
        self, settings: Settings, channels: Channels, clients: Clients, outbox: Outbox
    ) -> None:
        self.in_messages: int = 0
        self.in_bytes: int = 0
        self.refused: int = 0
        self.queued_messages: int = 0
        self.queued_bytes: int = 0
        self.lanes: Lanes = Lanes()
        self._settings = settings
        self._channels = channels
        self._clients = clients
        self._outbox = outbox
        self.familiar: Familiar = Familiar(clients)
        self.guids: Guids = Guids(settings, outbox, self._admit)
        # How a row of the outbox table is queued (engine.relaying).
        self.admit_row: Callable[[OutboxRow, int], Burst | None] | None = None
        self.interrupt()

    # Intake.

    def interrupt(self) -> None:
        """Something else happened: the next publish is looked at from scratch."""
        self._burst: Burst | None = None
        self._shape: PublishShape | None = None
        self._client_id: str = ""
        self._connection_id: bytes = b""
        self._publisher: str = ""

    def receive(self, frames: list[Frame], index: int, now_ns: int) -> int:
        """Take the PubMsg at `index` and those behind it that are alike. Returns the index
        of the first frame that was not looked at."""
        subject, reply, payload = frames[index]
        if self._shape is not None:
            taken = self._take_alike(frames, index, self._shape, subject)
            if taken > index:
                return taken
        if payload is not None and not self._take_familiar(subject, reply, payload):
            message = self._take(payload, reply, now_ns)
            if message is not None and self._burst is not None:
                self.familiar.learn(subject, reply, payload, message, self._burst.channel)
        return index + 1

    def _take_alike(self, frames: list[Frame], index: int, shape: PublishShape, to: bytes) -> int:
        """Queue the publishes from `index` on that were sent to the same subject and differ
        from the burst's last one only in the bytes of guid and payload."""
        burst = self._burst
        if burst is None:
            return index
        if burst.is_full():
            if self.is_full():
                return index
            burst = self._queue_burst(burst.channel, burst.ack_subject, burst.guid_size)
        index += self._take_equal(frames, index, shape, to, burst)
        if index < len(frames):
            payload = frames[index][2]
            if payload is not None and len(payload) != shape.size:
                index += self._take_similar(frames, index, shape, to, burst)
        if not burst.guids:  # begun in vain
            self.lanes.drop_last(burst)
            self.guids.settled((burst,))
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
        taken = take_equal(frames, index, end, shape, to, burst)
        self._count(burst, taken, taken * size, taken * (shape.data_end - shape.data_start))
        return taken

    def _take_similar(
        self, frames: list[Frame], index: int, shape: PublishShape, to: bytes, burst: Burst
    ) -> int:
        """Queue those whose payloads may have another length. Returns how many."""
        settings = self._settings
        largest = settings.max_payload_bytes - MESSAGE_OVERHEAD_BYTES
        bytes_left = min(
            settings.queue_bytes - self.queued_bytes, BURST_BYTES - burst.queued_bytes - 1
        )
        room = min(
            settings.queue_messages - self.queued_messages, BURST_MESSAGES - len(burst.guids) - 1
        )
        end = min(len(frames), index + room + 1)
        taken, taken_bytes, payload_bytes = take_similar(
            frames, index, end, shape, to, burst, largest, bytes_left
        )
        self._count(burst, taken, taken_bytes, payload_bytes)
        return taken

    def _take_familiar(self, subject: bytes, reply: bytes, payload: bytes) -> bool:
        """Queue one that is like others before it. False: it has to be decoded."""
        found = self.familiar.find(subject, reply, payload)
        size = len(payload)
        if (
            found is None
            or self.guids.holds
            or size > self._settings.max_payload_bytes - MESSAGE_OVERHEAD_BYTES
            or self.is_full()
        ):
            return False
        sender, channel, data_start = found
        guid = payload[sender.guid_start : sender.guid_end]
        data_end = size - len(sender.tail)
        burst = self._burst
        if (
            burst is None
            or burst.channel is not channel
            or burst.ack_subject != reply
            or sender.connection_id != self._connection_id
            or sender.client_id != self._client_id
            or burst.is_full()
        ):
            self._follow(sender.client, sender.client_id, sender.connection_id)
            burst = self._queue_burst(channel, reply, len(guid) if len(guid) < 128 else 0)
        elif burst.replies:
            return False
        if len(guid) != burst.guid_size:
            burst.guid_size = 0
        burst.guids.append(guid)
        burst.payloads.append(payload[data_start:data_end])
        self._count(burst, 1, size, data_end - data_start)
        self._shape = None
        if len(burst.guids) > 1:
            self._shape = make_shape(payload, sender, channel, data_start)
        return True

    def _count(self, burst: Burst, taken: int, taken_bytes: int, payload_bytes: int) -> None:
        """So many more publishes are in the burst, of so many bytes as they came."""
        self.in_messages += taken
        self.in_bytes += taken_bytes
        burst.payload_bytes += payload_bytes
        burst.queued_bytes += taken_bytes
        self.queued_messages += taken
        self.queued_bytes += taken_bytes

    def _take(self, payload: bytes, reply: bytes, now_ns: int) -> PubMsg | None:
        """Take one PubMsg: queue it, or refuse it at once. Returns what was queued."""
        try:
            message = PubMsg.FromString(payload)
        except DecodeError:
            if not is_control_message(payload):
                self.refuse(reply, "", INVALID_PUBLISH)
            return None
        size = len(payload)
        self.in_messages += 1
        self.in_bytes += size
        if size > self._settings.max_payload_bytes - MESSAGE_OVERHEAD_BYTES and (
            self._is_too_large(message, reply)
        ):
            return None
        if message.resentAfter or message.messageId or self.guids.holds:
            client_id = self._client_id_of(message)
            if message.resentAfter or message.messageId or client_id in self.guids.holds:
                marked = bool(message.resentAfter or message.messageId)
                since_ns = now_ns - max(message.resentAfter, 0) * MILLISECOND_NS
                self._hold(client_id, message, payload, reply, since_ns if marked else -1, now_ns)
                return None
        return message if self._queue_one(message, payload, reply, now_ns) is not None else None

    def replay(self, payload: bytes, reply: bytes, arrived_ns: int, now_ns: int) -> None:
        """Take a PubMsg that another server may have stored since it arrived there, too."""
        try:
            message = PubMsg.FromString(payload)
        except DecodeError:
            self._take(payload, reply, now_ns)
            return
        self.in_messages += 1
        self.in_bytes += len(payload)
        if not self._is_too_large(message, reply):
            since_ns = min(arrived_ns, now_ns - 1) - max(message.resentAfter, 0) * MILLISECOND_NS
            client_id = self._client_id_of(message)
            self._hold(client_id, message, payload, reply, since_ns, now_ns)

    def _is_too_large(self, message: PubMsg, reply: bytes) -> bool:
        """Refuse a publish that nobody could be sent."""
        if delivered_bytes(message) <= self._settings.max_payload_bytes:
            return False
        self.refuse(reply, message.guid, PAYLOAD_TOO_LARGE if message.guid else INVALID_PUBLISH)
        return True

    def _queue_one(
        self, message: PubMsg, payload: bytes, reply: bytes, now_ns: int
    ) -> Burst | None:
        """Queue a publish that fits; returns the burst it joined, None when it is refused."""
        guid = message.guid
        size = len(payload)
        burst = self._burst
        if (
            burst is None
            or reply != burst.ack_subject
            or message.subject != burst.channel.name
            or message.connID != self._connection_id
            or message.clientID != self._client_id
            or not 0 < len(guid) <= MAX_NAME_BYTES
            or burst.is_full()
            or self.is_full()
        ):
            burst = self._begin(message, payload, reply, now_ns)
            if burst is None:
                return None
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
        return burst

    def _begin(self, message: PubMsg, payload: bytes, reply: bytes, now_ns: int) -> Burst | None:
        """Look at everything a burst shares; None when this message was refused."""
        self._burst = None
        guid, name = message.guid, message.subject
        client = self._clients.publisher(message.clientID, message.connID)
        error = OVERLOADED if self.is_full() else self._validate(message, guid, name, client)
        if not error:
            try:
                channel = self._channels.open(name, now_ns)
            except Refusal as refusal:
                error = str(refusal)
        if error:
            if error is not INVALID_PUBLISH or not is_control_message(payload):
                self.refuse(reply, guid, error)
            return None
        guid_size = len(guid.encode())
        self._follow(client, message.clientID, message.connID)
        return self._queue_burst(channel, reply, guid_size if guid_size < 128 else 0)

    def _follow(self, client: Client | None, client_id: str, connection_id: bytes) -> None:
        """The next burst is this client's, by the IDs in its publishes."""
        recorded = client is not None and (client.record.resends or self._settings.record_all_guids)
        self._publisher = client.client_id if client is not None and recorded else ""
        self._client_id = client_id
        self._connection_id = connection_id

    def _queue_burst(self, channel: Channel, ack_subject: bytes, guid_size: int) -> Burst:
        burst = Burst(channel, self._client_id, ack_subject, guid_size)
        burst.publisher = self._publisher
        if self._publisher:
            self.guids.began(burst)
        self.lanes.append(burst)
        self._burst = burst
        return burst

    def is_full(self) -> bool:
        """Whether nothing more may be queued."""
        most = self._settings
        return self.queued_bytes > most.queue_bytes or self.queued_messages > most.queue_messages

    def _validate(self, message: PubMsg, guid: str, name: str, client: Client | None) -> str:
        """Why this is refused, if it is. Each look at a field decodes it: so guid and channel."""
        if client is None or not 0 < len(guid) <= MAX_NAME_BYTES:
            return INVALID_PUBLISH
        if len(message.messageId) > MAX_NAME_BYTES:
            return INVALID_PUBLISH
        is_valid = name in self._channels.by_name or is_acceptable_channel(name)
        return "" if is_valid else INVALID_PUBLISH

    # Publishes that may be stored already.

    def _client_id_of(self, message: PubMsg) -> str:
        client = self._clients.publisher(message.clientID, message.connID)
        return client.client_id if client is not None else ""

    def _hold(
        self,
        client_id: str,
        message: PubMsg,
        payload: bytes,
        reply: bytes,
        since_ns: int,
        now_ns: int,
    ) -> None:
        """Keep one that may be stored since then, or with -1 comes behind such a one."""
        is_copy = 0 <= since_ns < now_ns
        guid, name = message.guid, message.subject
        error = self._validate(
            message, guid, name, self._clients.publisher(message.clientID, message.connID)
        )
        error = OVERLOADED if self.is_full() and not is_copy else error
        if not error and self.guids.held_bytes > self._settings.queue_bytes:
            if is_copy:  # an error would say that it is not stored
                self.refused += 1
                return
            error = OVERLOADED
        try:
            channel_id = 0 if error else self._channels.open(name, now_ns).channel_id
        except Refusal as refusal:
            error = str(refusal)
        if error:
            if error is not INVALID_PUBLISH or not is_control_message(payload):
                self.refuse(reply, guid, error)
            return
        key = key_of(channel_id, client_id, message)
        self.interrupt()
        self.guids.hold(client_id, HeldPublish(payload, reply, guid, key, since_ns))

    def _admit(self, publish: HeldPublish, now_ns: int) -> Burst | None:
        """Queue a held publish that is not stored."""
        if publish.row is not None:
            assert self.admit_row is not None
            return self.admit_row(publish.row, now_ns)
        message = PubMsg.FromString(publish.payload)
        burst = self._queue_one(message, publish.payload, publish.reply, now_ns)
        self._shape = None  # what comes alike may have to stay behind one that is still held
        if burst is not None and message.messageId:
            burst.message_ids.append(message.messageId.encode())
        return burst

    def refuse(self, reply: bytes, guid: str, error: str) -> None:
        self.refused += 1
        ack = encode_error_ack(guid, error)
        if len(ack) <= self._settings.max_payload_bytes:  # else NATS would cut us off
            self._outbox.send(reply, ack)

    def refuse_overloaded(self, payload: bytes, reply: bytes) -> None:
        """Refuse a publish that can wait nowhere; in silence when a copy may be stored."""
        try:
            message = PubMsg.FromString(payload)
        except DecodeError:
            message = PubMsg()
        if not message.resentAfter:
            self.refuse(reply, message.guid, OVERLOADED)

    # Sealing.

    def has_several(self, client_id: str) -> bool:
        """Whether more than one burst of this publisher waits for a batch."""
        return self.lanes.has_several(client_id)

    def seal(self, now_ns: int) -> tuple[dict[int, Run], list[Burst]]:
        """Give sequences to what is queued, up to the size of a batch."""
        self.interrupt()
        settings = self._settings
        most_messages, most_bytes = settings.batch_messages, settings.batch_bytes
        if self.queued_messages <= most_messages and self.queued_bytes <= most_bytes:
            bursts = self.lanes.take_all()
        else:
            bursts = self.lanes.take(most_messages, most_bytes)
        for burst in bursts:
            self.queued_messages -= len(burst.guids)
            self.queued_bytes -= burst.queued_bytes
        return build_runs(bursts, now_ns, settings.payload_overhead_bytes), bursts

    def put_back(self, bursts: list[Burst]) -> None:
        """Queue the bursts of a failed batch again, before everything that came since."""
        self.lanes.put_back(bursts)
        for burst in bursts:
            self.queued_messages += len(burst.guids)
            self.queued_bytes += burst.queued_bytes
        self.interrupt()

    def refuse_all(self, bursts: list[Burst], error: str) -> None:
        """Tell the publishers that these are not stored, but of those whose copy is to be tried."""
        for burst in bursts:
            again = self.guids.held_of(burst.publisher)
            for guid in burst.guids:
                if guid not in again:
                    self.refuse(burst.ack_subject, guid.decode(), error)
