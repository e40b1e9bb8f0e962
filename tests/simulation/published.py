"""What was published, sent again, stored, refused and recorded: the books of exactly once.

The records of guids are kept as the engine packed them, and searched as each store does it.
Everything else here is told by those who see it happen: clients say what they send, the
model store what is stored, the observer what is refused. Whatever does not fit raises
AssertionError.
"""

from dataclasses import dataclass

from stan.engine.guids import find_guids, group_guids
from stan.engine.publishing import INVALID_PUBLISH
from stan.engine.records import Batch, GuidLoad, Key

GUID_BYTES = 8
# The number of the sending stands behind the guid in the payload.
GENERATION_BYTES = 3


@dataclass(slots=True)
class Publish:
    """A publish that may be sent several times."""

    guid: str
    channel: str
    size: int
    message_id: str
    client_id: str
    first_ns: int  # the world's time
    generation: int = 0  # of its last sending; 0: it was never sent
    wire_guid: bytes = b""  # where that is another one


class Published:
    def __init__(self, window_ns: int) -> None:
        self.window_ns = window_ns
        self.clocks_differ_ns = 0  # at most, whatever happened
        self.sent: dict[bytes, Publish] = {}
        self.repeated: set[bytes] = set()  # sent twice without a mark
        self.refusals_last = True  # a copy that was refused is never stored
        self.duplicates = 0
        self._generations: dict[bytes, dict[int, int]] = {}  # guid -> channel ID -> sending
        self._refused: dict[bytes, int] = {}  # guid -> neither this sending nor earlier ones
        self._unknown: set[tuple[bytes, int]] = set()  # guid and the sending of a stranger
        self._answered: set[bytes] = set()
        self._denied: dict[bytes, str] = {}
        self._names: dict[bytes, bytes] = {}
        self._turned_away: set[bytes] = set()
        self._true_ids: set[tuple[str, str]] = set()  # channel and message ID
        self._records: list[tuple[int, bytes]] = []
        self._ids: dict[tuple[int, str], int] = {}

    def add(self, one: Publish) -> None:
        """Somebody publishes this."""
        guid = one.guid.encode()
        self.sent[guid] = one
        if one.wire_guid:
            self._names[one.wire_guid] = guid

    # Storing.

    def store(self, channel_id: int, payload: bytes, batch: Batch) -> tuple[int, bytes]:
        """A message becomes true. Returns what orders it among its publisher's."""
        guid = payload[:GUID_BYTES]
        sent = self.sent.get(guid)
        generation = 0
        if sent is not None:
            generation = int(payload[GUID_BYTES : GUID_BYTES + GENERATION_BYTES])
            key = (channel_id, sent.client_id, sent.wire_guid or guid)
            here = find_guids(batch.guids, group_guids({key}))
            assert here, f"{guid!r} is stored and not recorded"
            if sent.message_id:
                self._store_id(channel_id, sent, batch)
        assert guid not in self._denied, (
            f"{guid!r} was denied ({self._denied[guid]}), and is stored"
        )
        known = self._generations.setdefault(guid, {})
        assert channel_id not in known or guid in self.repeated, f"{guid!r} is stored twice"
        if sent is not None and self.refusals_last:  # else another server may have refused it
            refused = self._refused.get(guid, 0)
            assert generation > refused, f"{guid!r}: copy {generation} of {refused} refused"
            assert (guid, generation) not in self._unknown, f"{guid!r} of a stranger is stored"
        known[channel_id] = generation
        return generation, guid

    def _store_id(self, channel_id: int, sent: Publish, batch: Batch) -> None:
        assert (channel_id, sent.message_id.encode()) in batch.message_ids
        last_ns = self._ids.get((channel_id, sent.message_id))
        if last_ns is not None:
            apart_ns = batch.sealed_ns - last_ns + self.clocks_differ_ns
            assert apart_ns >= self.window_ns, f"{sent.message_id} is stored twice"
        self._ids[channel_id, sent.message_id] = batch.sealed_ns
        self._true_ids.add((sent.channel, sent.message_id))

    def delete(self, channel_id: int) -> None:
        """A channel goes, and with it all that was stored there."""
        for guid, known in self._generations.items():
            if known.pop(channel_id, None) is not None:
                self._turned_away.add(guid)

    def record(self, batch: Batch) -> None:
        """What the batch lets the store remember, and forget."""
        if batch.guids:
            self._records.append((batch.sealed_ns, batch.guids))
        if batch.forget_ns:
            self._records = [one for one in self._records if one[0] >= batch.forget_ns]

    def find(self, load: GuidLoad) -> frozenset[Key]:
        """Which publishes are known."""
        found: set[Key] = set()
        for recorded_ns, guids in self._records:
            if recorded_ns >= load.since_ns:
                found |= find_guids(guids, group_guids(load.keys))
        for key in load.keys:
            channel_id, client_id, message_id = key
            if not client_id:
                recorded_ns = self._ids.get((channel_id, message_id.decode()), -1)
                if recorded_ns >= load.message_ids_since_ns:
                    found.add(key)
        return frozenset(found)

    def is_settled(self, guid: bytes) -> bool:
        """Whether it is stored, or its publisher was told something."""
        return guid in self._generations or guid in self._answered

    def may_be_late(self, guid: bytes) -> bool:
        """Whether the next server may store it long after: one refused it, or stored it in a
        channel that is deleted."""
        return not self.refusals_last and guid in self._turned_away

    # Answers.

    def acknowledge(self, guid: bytes, duplicate: bool) -> None:
        """A server says that this is stored."""
        guid = self._names.get(guid, guid)
        self.duplicates += duplicate
        self._answered.add(guid)
        sent = self.sent.get(guid)
        if guid in self._generations:
            return
        by_other = sent is not None and (sent.channel, sent.message_id) in self._true_ids
        assert by_other, f"{guid!r} acked, not stored"
        assert duplicate, f"{guid!r} acked as stored, but another one is"

    def deny(self, guid: bytes, error: str) -> None:
        """A client tells its user that this is not stored."""
        self._denied[guid] = error
        stored = self._generations.get(guid)
        assert not stored, f"{guid!r} is denied ({error}), but stored"

    def refuse(self, guid: bytes, generation: int, error: str) -> None:
        """A server says that this copy is not stored, and unless it does not know the client,
        that no earlier one is."""
        guid = self._names.get(guid, guid)
        self._answered.add(guid)
        self._turned_away.add(guid)
        if guid in self.repeated or not self.refusals_last:
            return
        stored = self._generations.get(guid, {}).values()
        if error == INVALID_PUBLISH and generation:
            self._unknown.add((guid, generation))
            wrong = generation in stored
        else:
            self._refused[guid] = max(generation, self._refused.get(guid, 0))
            wrong = any(one <= generation for one in stored)
        assert not wrong, f"{guid!r} refused ({error}), but stored"
