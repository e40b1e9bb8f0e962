"""What was published lately, and publishes that may be stored already.

A client may mark a publish: it sends it again, or the application gave it an ID of its own.
Such a publish is *held*, and behind it everything its client sends, until the store has said
which of the held ones it has. Those are acknowledged once more; the others are queued like
any publish, in the order in which they came. Nothing here costs anything while nobody marks.
Invariant: never are two publishes of one key on their way to the store, and none is looked
up while an earlier publish of its client still may fail or succeed.
"""

from collections import deque
from collections.abc import Callable, Iterable

from stan.engine.bursts import Burst
from stan.engine.outbox import Outbox
from stan.engine.records import GuidLoad, Key, OutboxRow
from stan.engine.settings import Settings
from stan.wire.messages import varint
from stan.wire.stan_pb2 import PubAck, PubMsg

# Between a publish and the record of its guid lie a queue and a commit; clocks of two servers
# that lead one after the other may differ. An age is taken to be this much longer.
_SLACK_NS = 10_000_000_000

# Guids by channel and client.
Wanted = dict[tuple[int, str], set[bytes]]


class HeldPublish:
    """A PubMsg that waits for the store's word, or only keeps its place behind such a one."""

    def __init__(self, payload: bytes, reply: bytes, guid: str, key: Key, since_ns: int) -> None:
        self.payload: bytes = payload
        self.reply: bytes = reply
        self.guid: str = guid
        self.key: Key = key
        # When it was first sent, at the earliest; -1 for one that is not marked.
        self.since_ns: int = since_ns
        self.row: OutboxRow | None = None  # of the outbox table, when it comes from there


def key_of(channel_id: int, client_id: str, message: PubMsg) -> Key:
    """What tells this publish from all others."""
    if message.messageId:
        return channel_id, "", message.messageId.encode()
    return channel_id, client_id, message.guid.encode()


class Hold:
    """What one client sent since its first publish that is held."""

    def __init__(self) -> None:
        self.publishes: deque[HeldPublish] = deque()
        self.close: tuple[bytes, bytes] | None = None  # its close request, and the reply subject
        self.asked: int = 0  # how many of the first ones the load under way decides


class Guids:
    """`admit` queues a held publish like any other; it returns the burst it went into, or
    None when it was refused."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        admit: Callable[[HeldPublish, int], Burst | None],
    ) -> None:
        self.holds: dict[str, Hold] = {}
        # Close requests behind which nothing is held any more, to be answered now.
        self.closes: list[tuple[bytes, bytes]] = []
        self.held_bytes: int = 0
        # Publishes that were held, on their way to the store.
        self.passing: set[Key] = set()
        # What becomes of a row of the outbox table whose message is stored (engine.relaying).
        self.drop_row: Callable[[OutboxRow], None] | None = None
        # By client ID: how many of its bursts are queued or in a batch.
        self.unsettled: dict[str, int] = {}
        self._load_id: int = 0
        self._is_asking: bool = False
        self._settings = settings
        self._outbox = outbox
        self._admit = admit

    def hold(self, client_id: str, publish: HeldPublish) -> None:
        """Keep a publish until it is known whether it is stored, and all before it."""
        hold = self.holds.get(client_id)
        if hold is None:
            hold = self.holds[client_id] = Hold()
        hold.publishes.append(publish)
        self.held_bytes += len(publish.payload)

    def forget(self, client_id: str) -> None:
        """Hold nothing of this client's any more."""
        hold = self.holds.pop(client_id, None)
        if hold is not None:
            self.held_bytes -= sum([len(publish.payload) for publish in hold.publishes])

    def held_of(self, client_id: str) -> set[bytes]:
        """The guids of this client's publishes that wait for the store's word."""
        hold = self.holds.get(client_id)
        if hold is None:
            return set()
        return {one.guid.encode() for one in hold.publishes if one.since_ns >= 0}

    def is_held(self, channel_id: int) -> bool:
        """Whether any publish to this channel is held."""
        return any(
            publish.key[0] == channel_id
            for hold in self.holds.values()
            for publish in hold.publishes
        )

    # What is on its way.

    def began(self, burst: Burst) -> None:
        """A burst whose guids will be recorded was queued."""
        publisher = burst.publisher
        self.unsettled[publisher] = self.unsettled.get(publisher, 0) + 1

    def settled(self, bursts: Iterable[Burst]) -> None:
        """It is known of these bursts whether they are stored."""
        for burst in bursts:
            publisher = burst.publisher
            if publisher:
                left = self.unsettled[publisher] - 1
                if left:
                    self.unsettled[publisher] = left
                else:
                    del self.unsettled[publisher]
            if burst.keys:
                self.passing.difference_update(burst.keys)
                burst.keys = []

    # Asking.

    def ask(self, now_ns: int) -> None:
        """Ask the store about everything held that can be decided. One load at a time."""
        if self._is_asking or not self.holds:
            return
        keys: set[Key] = set()
        since_ns = now_ns
        for client_id, hold in self.holds.items():
            hold.asked = 0
            if client_id in self.unsettled:
                continue
            for publish in hold.publishes:
                if publish.key in self.passing:  # nothing from here on is decided before
                    break
                if publish.since_ns >= 0:
                    keys.add(publish.key)
                    since_ns = min(since_ns, publish.since_ns)
                hold.asked += 1
        if keys:
            self._is_asking = True
            self._load_id += 1
            window_ns = self._settings.dedupe_window_ns
            since_ns = max(since_ns, now_ns - window_ns) - _SLACK_NS
            # A copy finds the first one also when the window ends while it is on its way.
            ids_since_ns = min(since_ns, now_ns - window_ns)
            self._outbox.loads.append(
                GuidLoad(self._load_id, since_ns, ids_since_ns, frozenset(keys))
            )
        elif any(hold.asked for hold in self.holds.values()):
            self._decide(frozenset(), now_ns)

    def answered(self, load: GuidLoad, found: frozenset[Key], now_ns: int) -> None:
        """The store said which of the keys it has."""
        if load.load_id != self._load_id:
            return
        self._is_asking = False
        self._decide(found, now_ns)
        self.ask(now_ns)

    def not_answered(self, load: GuidLoad, now_ns: int) -> None:
        """The store could not be read: ask again. The caller has waited a little."""
        if load.load_id == self._load_id:
            self._is_asking = False
            self.ask(now_ns)

    def _decide(self, found: frozenset[Key], now_ns: int) -> None:
        for client_id in list(self.holds):
            hold = self.holds[client_id]
            while hold.asked and hold.publishes[0].key not in self.passing:
                hold.asked -= 1
                publish = hold.publishes.popleft()
                self.held_bytes -= len(publish.payload)
                key = publish.key
                if publish.since_ns >= 0 and key in found:
                    if publish.row is not None and self.drop_row is not None:
                        self.drop_row(publish.row)
                        continue
                    ack = PubAck(guid=publish.guid, duplicate=True)
                    self._outbox.send(publish.reply, ack.SerializeToString())
                    continue
                burst = self._admit(publish, now_ns)
                if burst is not None:
                    burst.keys.append(key)
                    self.passing.add(key)
            hold.asked = 0
            if not hold.publishes:
                del self.holds[client_id]
                if hold.close is not None:
                    self.closes.append(hold.close)


# The record of a batch: a section for each burst, which is the channel's ID, the client's ID
# with its length, the size of a guid, the length of what follows, and the guids. Guids of one
# size stand in columns, a column for each of their places, and one that is the same in all of
# them is written once: of a stem and a counter little is left. With size 0 each guid has its
# own length before it.


def pack_guids(bursts: Iterable[Burst]) -> bytes:
    """The guids of those bursts whose publishers may send again; empty when there are none."""
    parts: list[bytes] = []
    for burst in bursts:
        if not burst.publisher:
            continue
        publisher = burst.publisher.encode()
        if burst.guid_size:
            body = _pack_columns(burst.guids, burst.guid_size)
        else:
            body = b"".join([varint(len(guid)) + guid for guid in burst.guids])
        parts.append(
            b"%b%b%b%b%b%b"
            % (
                varint(burst.channel.channel_id),
                varint(len(publisher)),
                publisher,
                varint(burst.guid_size),
                varint(len(body)),
                body,
            )
        )
    return b"".join(parts)


def _pack_columns(guids: list[bytes], size: int) -> bytes:
    count = len(guids)
    joined = b"".join(guids)
    parts = [varint(count)]
    for place in range(size):
        column = joined[place::size]
        same = column[:1]
        parts.append(b"\x01" + same if column.count(same) == count else b"\x00" + column)
    return b"".join(parts)


def group_guids(keys: Iterable[Key]) -> Wanted:
    """These keys as they are looked for in many records."""
    wanted: Wanted = {}
    for channel_id, client_id, guid in keys:
        wanted.setdefault((channel_id, client_id), set()).add(guid)
    return wanted


def find_guids(record: bytes, wanted: Wanted) -> set[Key]:
    """Which of the wanted stand in the record of a batch; they are not wanted any more."""
    found: set[Key] = set()
    position = 0
    while position < len(record):
        channel_id, position = _read_number(record, position)
        size, position = _read_number(record, position)
        client_id = record[position : position + size].decode()
        guid_size, position = _read_number(record, position + size)
        size, position = _read_number(record, position)
        end = position + size
        guids = wanted.get((channel_id, client_id))
        if guids:
            stored = (
                _read_columns(record, position, guid_size)
                if guid_size
                else _read_guids(record, position, end)
            )
            here = guids.intersection(stored)
            guids -= here
            for guid in here:
                found.add((channel_id, client_id, guid))
        position = end
    return found


def _read_columns(record: bytes, position: int, size: int) -> list[bytes]:
    count, position = _read_number(record, position)
    joined = bytearray(count * size)
    for place in range(size):
        if record[position]:
            column = record[position + 1 : position + 2] * count
            position += 2
        else:
            column = record[position + 1 : position + 1 + count]
            position += 1 + count
        joined[place::size] = column
    whole = bytes(joined)
    return [whole[at : at + size] for at in range(0, count * size, size)]


def _read_guids(record: bytes, position: int, end: int) -> list[bytes]:
    guids: list[bytes] = []
    while position < end:
        size, position = _read_number(record, position)
        guids.append(record[position : position + size])
        position += size
    return guids


def _read_number(data: bytes, position: int) -> tuple[int, int]:
    """The varint at `position`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
