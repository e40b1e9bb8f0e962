"""The loads: history asked for from the store, and who waits for it.

One load serves all cursors that need history from the same sequence on. What arrives goes
into the cache; the cursors that waited are returned, and sending to them is `delivery`'s.
Every load handed out is known here until it is answered, and nobody waits for another one.
"""

from stan.engine.cache import Block, Cache
from stan.engine.outbox import Outbox
from stan.engine.records import History, RangeLoad, TimeLoad
from stan.engine.settings import Settings
from stan.engine.state import Channel, Cursor


class Loads:
    def __init__(self, settings: Settings, outbox: Outbox, cache: Cache) -> None:
        # By load ID: the channel, and its last sequence when the load was asked for.
        self.asked: dict[int, tuple[Channel, int]] = {}
        self._last_load_id: int = 0
        self._settings = settings
        self._outbox = outbox
        self._cache = cache

    # Asking.

    def wait(self, cursor: Cursor, sequence: int) -> None:
        """The cursor goes on when the history from this sequence on has arrived."""
        load_id = self._request(cursor.channel, sequence)
        cursor.channel.waiting.setdefault(load_id, []).append(cursor)
        cursor.waiting = True

    def prefetch(self, channel: Channel, block: Block, sequence: int) -> None:
        """Ask for the history behind a block when half of it is sent, before somebody must
        wait for it."""
        if (
            block.next <= channel.last
            and 2 * sequence >= block.first + block.next
            and channel.shelf.find(block.next) is None
        ):
            self._request(channel, block.next)

    def seek(self, channel: Channel, timestamp_ns: int) -> int:
        """Ask for the first message not older than this moment. Returns the load's ID."""
        load_id = self._next_id(channel)
        self._outbox.loads.append(TimeLoad(load_id, channel.channel_id, timestamp_ns))
        return load_id

    def _request(self, channel: Channel, sequence: int) -> int:
        load_id = channel.loading.get(sequence)
        if load_id is not None:
            return load_id
        load_id = self._next_id(channel)
        load = RangeLoad(
            load_id,
            channel.channel_id,
            channel.name,
            sequence,
            self._settings.load_messages,
            self._settings.load_bytes,
        )
        channel.loading[sequence] = load_id
        self._outbox.loads.append(load)
        return load_id

    def _next_id(self, channel: Channel) -> int:
        self._last_load_id += 1
        self.asked[self._last_load_id] = (channel, channel.last)
        return self._last_load_id

    # Answers.

    def loaded(self, load: RangeLoad, history: History) -> list[Cursor]:
        """History arrived: keep it. Returns the cursors that waited for it; the cache is to
        be evicted when they have been served."""
        entry = self.asked.get(load.load_id)
        channel = self._finish(load)
        if channel is None or entry is None:
            return []
        sequences, framed = history.sequences, history.framed
        if channel.removed:  # it may have been read before they were
            kept = [n for n, one in enumerate(sequences) if one not in channel.removed]
            sequences, framed = [sequences[n] for n in kept], [framed[n] for n in kept]
        # An empty answer proves only that nothing was there when it was asked for.
        next_sequence = history.sequences[-1] + 1 if history.sequences else entry[1] + 1
        # A commit still under way may show in what was read: it is not true here yet.
        self._cache.insert(
            channel.shelf,
            load.from_sequence,
            min(next_sequence, channel.last + 1),
            sequences,
            framed,
        )
        return release(channel, load.load_id)

    def load_failed(self, load: RangeLoad) -> list[Cursor]:
        """Nothing could be read. Returns the cursors that waited: they will ask again."""
        channel = self._finish(load)
        return release(channel, load.load_id) if channel is not None else []

    def sought(self, load: TimeLoad) -> None:
        """A search was answered, or failed."""
        self.asked.pop(load.load_id, None)

    def _finish(self, load: RangeLoad) -> Channel | None:
        entry = self.asked.pop(load.load_id, None)
        if entry is None:
            return None
        channel = entry[0]
        if channel.loading.get(load.from_sequence) == load.load_id:
            del channel.loading[load.from_sequence]
        return None if channel.deleted else channel


def release(channel: Channel, load_id: int) -> list[Cursor]:
    """Let those go on that wait for this load."""
    cursors = channel.waiting.pop(load_id, [])
    for cursor in cursors:
        cursor.waiting = False
    return cursors
