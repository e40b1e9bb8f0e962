"""Those who wait for a free place in the publish window, first come, first served.

A place is reserved for a publisher between the moment it is woken and the moment it
publishes, so nobody who came later takes it. Cancelling a wait gives the place on. This
module knows futures and no protocol.
"""

import asyncio
from collections import deque
from collections.abc import Sized
from typing import Protocol

from stan.errors import ClientError


class Fill(Protocol):
    """How much of the window is taken."""

    pending_bytes: int

    @property
    def waiting(self) -> Sized: ...


class Publishers:
    """The queue in front of the window. One publish always fits, however large it is."""

    def __init__(self, places: int, max_bytes: int, window: Fill) -> None:
        self._places = places
        self._max_bytes = max_bytes
        self._window = window
        self._reserved = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def must_wait(self) -> bool:
        """Whether a publisher who comes now has to queue."""
        window = self._window
        return (  # asked for each publish, so without a call
            bool(self._queue)
            or len(window.waiting) + self._reserved >= self._places
            or window.pending_bytes >= self._max_bytes
        )

    def _has_place(self) -> bool:
        window = self._window
        return (
            len(window.waiting) + self._reserved < self._places
            and window.pending_bytes < self._max_bytes
        )

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
        while self._queue and self._has_place():
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
