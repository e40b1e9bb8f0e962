"""How old a message is, for the age of the oldest one that a consumer has not acknowledged.

Views know the ends of a channel, recent messages are in the cache, and what was once read
is remembered: a stored message never changes its timestamp. Only what is left is read from
the store, a bounded number a round, so a scrape cannot turn into a scan.
"""

from stan.engine.records import RangeLoad
from stan.engine.views import View
from stan.errors import StoreError
from stan.store.contract import Store
from stan.wire.messages import message_timestamp, unframe_message

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

    def known_ns(self, channel_id: int, channel: str, sequence: int) -> int:
        """When this message was stored; 0 when the store has to be asked."""
        key = (channel_id, sequence)
        found_ns = self._asked.get(key) or self._known.get(key, 0)
        if not found_ns:
            found_ns = self._view.message_time_ns(channel, sequence)
            if not found_ns:
                return 0
        self._asked[key] = found_ns
        return found_ns

    async def load_ns(self, channel_id: int, channel: str, sequence: int) -> int:
        """When it was stored, as the store tells; 0 when that cannot be told now."""
        if self._loads_left <= 0:
            return 0
        self._loads_left -= 1
        try:
            history = await self._store.load(RangeLoad(0, channel_id, channel, sequence, 1, 1))
        except StoreError:
            self._loads_left = 0
            return 0
        if not history.framed:
            return 0
        found_ns = message_timestamp(unframe_message(history.framed[0]))
        self._asked[channel_id, sequence] = found_ns
        return found_ns
