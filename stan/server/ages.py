"""How old a message is, for the age of the oldest one that a consumer has not acknowledged.

Ends of a channel are known, recent messages are in the cache, and what was once read is
remembered: a stored message never changes its timestamp. Only what is left is read from
the store, a bounded number a round, so a scrape cannot turn into a scan.
"""

from stan.engine.records import RangeLoad
from stan.engine.views import ChannelView, View
from stan.errors import StoreError
from stan.store.contract import Store
from stan.wire.messages import message_timestamp, unsize_message

MOST_LOADS = 64


class Ages:
    """Finds timestamps. Each round begins with `begin`; what a round did not ask for is
    forgotten at the next."""

    def __init__(self, view: View, store: Store) -> None:
        self._view = view
        self._store = store
        self._known: dict[tuple[int, int], int] = {}
        self._asked: dict[tuple[int, int], int] = {}
        self._loads_left = MOST_LOADS

    def begin(self) -> None:
        """Start a round."""
        self._known, self._asked = self._asked, {}
        self._loads_left = MOST_LOADS

    async def timestamp_ns(self, channel: ChannelView, sequence: int) -> int:
        """When this message was stored; 0 when that cannot be told now."""
        if sequence <= channel.first:
            return channel.first_timestamp_ns
        if sequence == channel.last:
            return channel.last_timestamp_ns
        key = (channel.channel_id, sequence)
        found_ns = self._asked.get(key) or self._known.get(key, 0)
        if not found_ns:
            sized = self._view.cached_message(channel.name, sequence)
            if sized is None:
                sized = await self._load(channel, sequence)
            found_ns = message_timestamp(unsize_message(sized)) if sized else 0
        if found_ns:
            self._asked[key] = found_ns
        return found_ns

    async def _load(self, channel: ChannelView, sequence: int) -> bytes | None:
        if self._loads_left <= 0:
            return None
        self._loads_left -= 1
        try:
            load = RangeLoad(0, channel.channel_id, channel.name, sequence, 1, 1)
            history = await self._store.load(load)
        except StoreError:
            self._loads_left = 0
            return None
        return history.sized[0] if history.sized else None
