"""Simulated time and a simulated NATS server: a heap of events, and subjects to deliver to.

NATS keeps the order of one connection and delivers at most once; nothing more is promised.
So each client has one queue towards each server and one back, frames of different clients
overtake each other, and a frame may be lost. Every server hears every client. Nobody
listening is answered with a 503.
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
        self.to_server_free_ns: dict[Port, int] = {}
        self.to_client_free_ns = 0


class Port:
    """A server's NATS connection. `receive` is None while no server runs there."""

    def __init__(self) -> None:
        self.receive: Callable[[Frame], None] | None = None
        self.hears = True
        self.speaks = True
        self.far_ns = 0  # how much longer its way from clients may be

    @property
    def up(self) -> bool:
        return self.hears and self.speaks

    @up.setter
    def up(self, up: bool) -> None:
        self.hears = self.speaks = up


class Network:
    """`ports` are the servers'; each gets all that clients send."""

    def __init__(self, events: Events, rng: Random, delay_ns: int) -> None:
        self.lose_frame = 0.0
        self.ports: list[Port] = []
        self._listeners: dict[bytes, tuple[Connection, Listener]] = {}
        self._inboxes: dict[
            bytes, tuple[Connection, Callable[[bytes, bytes, bytes | None], None]]
        ] = {}
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

    def catch(
        self,
        connection: Connection,
        prefix: bytes,
        listener: Callable[[bytes, bytes, bytes | None], None],
    ) -> None:
        """Listen to all subjects of an inbox."""
        self._inboxes[prefix] = connection, listener

    def _find(self, subject: bytes) -> tuple[Connection, Listener] | None:
        found = self._listeners.get(subject)
        if found is None and self._inboxes:
            prefix = subject.partition(b".")[0] + b"."
            inbox = self._inboxes.get(prefix)
            if inbox is not None and inbox[0].up:
                connection, listener = inbox
                return connection, lambda payload, reply: listener(subject, reply, payload)
        return found

    def move(self, old: Connection, new: Connection) -> None:
        """A client has another connection; what was on its way to the old one is lost."""
        for subject in old.subjects:
            self._listeners[subject] = new, self._listeners[subject][1]
        for prefix, (connection, inbox) in list(self._inboxes.items()):
            if connection is old:
                self._inboxes[prefix] = new, inbox
        new.subjects = set(old.subjects)
        old.subjects.clear()
        old.up = False

    def from_client(
        self, connection: Connection, subject: bytes, payload: bytes, reply: bytes = b""
    ) -> None:
        if not connection.up:
            return
        frame = subject, reply, payload
        free_ns = connection.to_server_free_ns
        for port in self.ports:
            if not self._is_lost():
                when_ns = max(free_ns.get(port, 0), self._events.now_ns + self._delay(port.far_ns))
                free_ns[port] = when_ns
                self._events.at(when_ns, self._arrive, port, frame)

    def from_server(self, port: Port, subject: bytes, payload: bytes, reply: bytes) -> None:
        if not port.speaks:
            return
        found = self._find(subject)
        if found is None:
            if reply:
                self._events.after(self._delay(), self._arrive, port, (reply, b"", None))
            return
        if not self._is_lost():
            connection, listener = found
            when_ns = max(connection.to_client_free_ns, self._events.now_ns + self._delay())
            connection.to_client_free_ns = when_ns
            self._events.at(when_ns, self._deliver, connection, listener, payload, reply)

    def _arrive(self, port: Port, frame: Frame) -> None:
        if port.hears and port.receive is not None:
            port.receive(frame)

    def _deliver(
        self, connection: Connection, listener: Listener, payload: bytes, reply: bytes
    ) -> None:
        if connection.up:
            listener(payload, reply)

    def _is_lost(self) -> bool:
        return self.lose_frame > 0.0 and self._rng.random() < self.lose_frame

    def _delay(self, more_ns: int = 0) -> int:
        most_ns = self._delay_ns + more_ns
        return int(self._rng.random() * most_ns) if most_ns else 0
