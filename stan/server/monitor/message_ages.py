"""How old a message is, for the age of the oldest one that a consumer has not acknowledged.

Views know the ends of a channel, recent messages are in the cache, and what was once read
is remembered: a stored message never changes its timestamp. Only what is left is read from
the store, a bounded number a round, so a scrape cannot turn into a scan.
"""

from stan.engine.views import View
from stan.errors import StoreError
from stan.store.contract import MOST_TIMES, Store

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

    async def load(self, messages: list[tuple[int, int]]) -> None:
        """Ask the store for those of these that are not known, as far as the round allows."""
        wanted = [one for one in messages if one not in self._asked][: self._loads_left]
        self._loads_left -= len(wanted)
        for start in range(0, len(wanted), MOST_TIMES):
            try:
                found = await self._store.read_times(wanted[start : start + MOST_TIMES])
            except StoreError:
                self._loads_left = 0
                return
            self._asked.update(found)

    async def load_ns(self, channel_id: int, channel: str, sequence: int) -> int:
        """When it was stored, as the store tells; 0 when that cannot be told now."""
        await self.load([(channel_id, sequence)])
        return self.known_ns(channel_id, channel, sequence)
