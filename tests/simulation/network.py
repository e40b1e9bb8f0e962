"""Simulated time and a simulated NATS server: a heap of events, and subjects to deliver to.

NATS keeps the order of one connection and delivers at most once; nothing more is promised.
So each client has one queue towards the server and one back, frames of different clients
overtake each other, and a frame may be lost. Nobody listening is answered with a 503.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from stan.wire.frames import Frame

Listener = Callable[[bytes, bytes], None]


class Events:
    """What will happen, in order of time. Times are nanoseconds of the simulated world."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._pushes = 0

    def at(self, when_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        self._pushes += 1
        heappush(self._heap, (when_ns, self._pushes, action, arguments))

    def after(self, delay_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now_ns + delay_ns, action, *arguments)

    def next_ns(self) -> int:
        """When the next event happens; a very late moment when there is none."""
        return self._heap[0][0] if self._heap else 1 << 62

    def run_next(self) -> None:
        when_ns, _, action, arguments = heappop(self._heap)
        self.now_ns = max(self.now_ns, when_ns)
        action(*arguments)


class Connection:
    """A client's NATS connection: what it listens to, and its two queues."""

    def __init__(self) -> None:
        self.up = True
        self.subjects: set[bytes] = set()
        self.to_server_free_ns = 0
        self.to_client_free_ns = 0


class Network:
    """`to_server` is the server's listener, None while no server runs."""

    def __init__(self, events: Events, rng: Random, delay_ns: int) -> None:
        self.lose_frame = 0.0
        self.server_up = True
        self.to_server: Callable[[Frame], None] | None = None
        self._listeners: dict[bytes, tuple[Connection, Listener]] = {}
        self._events = events
        self._rng = rng
        self._delay_ns = delay_ns

    def listen(self, connection: Connection, subject: bytes, listener: Listener) -> None:
        self._listeners[subject] = connection, listener
        connection.subjects.add(subject)

    def unlisten(self, connection: Connection, subject: bytes) -> None:
        self._listeners.pop(subject, None)
        connection.subjects.discard(subject)

    def drop(self, connection: Connection) -> None:
        """The connection ends; nobody listens to its subjects any more."""
        connection.up = False
        for subject in connection.subjects:
            self._listeners.pop(subject, None)
        connection.subjects.clear()

    def from_client(
        self, connection: Connection, subject: bytes, payload: bytes, reply: bytes = b""
    ) -> None:
        if connection.up and not self._is_lost():
            when_ns = max(connection.to_server_free_ns, self._events.now_ns + self._delay())
            connection.to_server_free_ns = when_ns
            self._events.at(when_ns, self._arrive, (subject, reply, payload))

    def from_server(self, subject: bytes, payload: bytes, reply: bytes) -> None:
        if not self.server_up:
            return
        found = self._listeners.get(subject)
        if found is None:
            if reply:
                self._events.after(self._delay(), self._arrive, (reply, b"", None))
            return
        if not self._is_lost():
            connection, listener = found
            when_ns = max(connection.to_client_free_ns, self._events.now_ns + self._delay())
            connection.to_client_free_ns = when_ns
            self._events.at(when_ns, self._deliver, connection, listener, payload, reply)

    def _arrive(self, frame: Frame) -> None:
        if self.server_up and self.to_server is not None:
            self.to_server(frame)

    def _deliver(
        self, connection: Connection, listener: Listener, payload: bytes, reply: bytes
    ) -> None:
        if connection.up:
            listener(payload, reply)

    def _is_lost(self) -> bool:
        return self.lose_frame > 0.0 and self._rng.random() < self.lose_frame

    def _delay(self) -> int:
        return int(self._rng.random() * self._delay_ns) if self._delay_ns else 0
