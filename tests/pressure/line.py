"""A NATS connection with nothing between the test and the socket.

A library would queue, pace or give up; here a test writes what it likes and can stop reading.
"""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from stan.wire.frames import Frame, split

_HELLO = b'CONNECT {"verbose":false,"pedantic":false,"lang":"raw"}\r\n'
_PING, _PONG = b"PING\r\n", b"PONG\r\n"


class Line(asyncio.Protocol):
    """Messages of every subscription go to `on_frames`. Made by `Line.open`."""

    def __init__(self, on_frames: Callable[[list[Frame]], None]) -> None:
        self.complaint = ""
        """What the NATS server said last before it hung up."""
        self.closed = asyncio.Event()
        self._on_frames = on_frames
        self._transport: asyncio.Transport
        self._rest = b""
        self._sids: frozenset[bytes] = frozenset()
        self._fences: list[asyncio.Future[None]] = []
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def open(cls, url: str, on_frames: Callable[[list[Frame]], None]) -> "Line":
        where = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(
            lambda: cls(on_frames), where.hostname or "127.0.0.1", where.port or 4222
        )
        line.send(_HELLO)
        await line.fence()
        return line

    def subscribe(self, subject: str) -> None:
        sid = b"%d" % (len(self._sids) + 1)
        self._sids |= {sid}
        self.send(b"SUB %b %b\r\n" % (subject.encode(), sid))

    def send(self, operations: bytes) -> None:
        """Write; nothing holds it back."""
        if not self._transport.is_closing():
            self._transport.write(operations)

    async def drained(self) -> None:
        """Wait until the socket has taken most of what was written, or is closed."""
        await self._writable.wait()

    async def fence(self) -> None:
        """Wait until the NATS server has read all that was sent."""
        fence: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fences.append(fence)
        self.send(_PING)
        await fence

    def stop_reading(self) -> None:
        """Leave everything that comes from now on in the socket."""
        self._transport.pause_reading()

    def close(self) -> None:
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        frames, others, consumed, _ = split(data, self._sids)
        self._rest = data[consumed:]
        for operation in others:
            if operation == _PING:
                self.send(_PONG)
            elif operation == _PONG:
                self._fences.pop(0).set_result(None)
            elif operation.startswith(b"-ERR"):
                self.complaint = operation.decode(errors="replace").strip()
        if frames:
            self._on_frames(frames)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._writable.set()
        for fence in self._fences:
            fence.cancel()
