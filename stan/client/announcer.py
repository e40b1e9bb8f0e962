"""Tells the user what becomes of the connection: callbacks, and iteration over events.

Callbacks are called one at a time and in order, from a task, so that a slow one holds up
nobody; what they raise goes to the event loop's exception handler.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from stan.client.events import Event

# An iterator that nobody reads keeps no more than this.
_MAX_EVENTS = 10_000


class Events:
    """The events of a connection from now on: ``async for event in sc.events()``."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, event: Event) -> None:
        """One more event."""
        self._events.append(event)
        self._changed.set()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._changed.set()

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()


class Announcer:
    """Hands events to whoever wants them."""

    def __init__(self) -> None:
        self._iterators: list[Events] = []
        self._calls: deque[Callable[[], Any]] = deque()
        self._calling: asyncio.Task[None] | None = None
        self._ended = False

    def events(self) -> Events:
        """Another iterator."""
        events = Events()
        if self._ended:
            events.end()
        self._iterators.append(events)
        return events

    def put(self, event: Event) -> None:
        """One more event, for those who iterate."""
        for iterator in self._iterators:
            iterator.put(event)

    def call(self, callback: Callable[..., Awaitable[None] | None], *arguments: object) -> None:
        """Call this after those that were asked for before."""
        self._calls.append(lambda: callback(*arguments))
        if self._calling is None:
            self._calling = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._calls:
            call = self._calls.popleft()
            try:
                result = call()
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "stan: a callback of the connection failed", "exception": error}
                )
        self._calling = None

    def end(self) -> None:
        """The connection is closed or lost: iteration ends."""
        self._ended = True
        for iterator in self._iterators:
            iterator.end()
        self._iterators.clear()
