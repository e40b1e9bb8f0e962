"""Those who wait for a free place in the publish window, first come, first served.

A place is reserved for a publisher between the moment it is woken and the moment it
publishes, so nobody who came later takes it. Cancelling a wait gives the place on. This
module knows futures and no protocol.
"""

import asyncio
from collections import deque
from collections.abc import Sized

from stan.errors import ClientError


class Publishers:
    """The queue in front of the window, whose length tells how many places are taken."""

    def __init__(self, places: int, window: Sized) -> None:
        self._places = places
        self._window = window
        self._reserved = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def must_wait(self) -> bool:
        """Whether a publisher who comes now has to queue."""
        return bool(self._queue) or len(self._window) + self._reserved >= self._places

    async def wait(self) -> None:
        """Wait for a place, which is the caller's until it next gives up control.

        Raises the error of `fail` when the connection ends.
        """
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place in self._queue:
                self._queue.remove(place)
            elif not place.cancelled() and place.exception() is None:
                self._reserved -= 1
                self.wake()
            raise
        self._reserved -= 1

    def wake(self) -> None:
        """Places became free: give them to those who wait longest."""
        while self._queue and len(self._window) + self._reserved < self._places:
            place = self._queue.popleft()
            if not place.done():
                self._reserved += 1
                place.set_result(None)

    def fail(self, kind: type[ClientError], text: str) -> None:
        """Send everybody away with an error."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_exception(kind(text))
