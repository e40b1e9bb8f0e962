"""A NATS connection whose hot subjects arrive a read chunk at a time.

Connecting, TLS, authentication, pings and reconnecting stay nats-py's. What this adds:
a *tapped* subscription bypasses nats-py's stream, queue and task, its messages reach one
callback as a list of frames per chunk read; and `write` sends ready-made operations in one
piece. Of nats-py's internals this touches `_ps`, `_transport`, `_pending`,
`_process_connect_init`, `_process_op_err` and `_process_err`; tests/integration fails when
they move.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nats.errors import Error, ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from stan.link.connecting import SecureClient
from stan.link.websocket import WebSocket
from stan.wire.frames import Frame, Said, split

OnFrames = Callable[[list[Frame]], None]
# How many lines that came are remembered, roughly: a chunk of the smallest adds 5,000.
_MOST_KNOWN = 2048
# A read of so much may well be followed by another one at once.
_LARGE_READ_BYTES = 128 * 1024
_TOO_LARGE = "maximum payload"
_WRONG_SUBJECT = ("invalid publish subject", "invalid subject")

# Over WebSocket, waiting for the socket ends below this; over TCP the stream has its own mark.
_LOW_WATER_BYTES = 64 * 1024


class Link(SecureClient):
    """A nats-py client with taps. `on_frames` must not raise and must not block, nor must
    `on_made`, which tells of each connection before anything can be written to it."""

    def __init__(self, on_frames: OnFrames) -> None:
        super().__init__()
        self._tapped: frozenset[bytes] = frozenset()
        self._on_frames = on_frames
        self.on_made: Callable[[], None] = _nothing
        self._ps = _ChunkParser(self)

    async def tap(self, subject: str) -> int:
        """Subscribe so that messages reach `on_frames`. Returns an ID for `untap`.

        Like any subscription it survives a reconnect.
        """
        # Tapped before the SUB leaves: nats-py numbers a subscription before it first waits.
        sid: int = self._sid + 1
        self._tapped |= {b"%d" % sid}
        subscription = await self.subscribe(subject)
        if subscription._id != sid:
            raise RuntimeError("nats-py numbers its subscriptions differently now")
        return sid

    async def untap(self, sid: int) -> None:
        """End a tapped subscription. Frames that already arrived may still be reported."""
        self._remove_sub(sid)
        self._tapped -= {b"%d" % sid}
        if self.is_connected:
            await self._send_unsubscribe(sid)

    def write(self, operations: bytes) -> bool:
        """Send whole protocol operations, without waiting. False: not connected, dropped.

        Watch `unsent_bytes` and await `drained` to keep memory bounded.
        """
        if not self.is_connected or self._transport is None:
            return False
        writer = self._stream_writer()
        if writer is not None:
            if writer.is_closing():  # it died, and nats-py has not noticed yet
                return False
            if self._pending:  # what nats-py has not flushed yet was asked for earlier
                writer.writelines(self._pending)
                self._pending = []
                self._pending_data_size = 0
            writer.write(operations)
        else:
            self._pending.append(operations)
            self._pending_data_size += len(operations)
            if self._flush_queue is not None and self._flush_queue.empty():
                self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())
        return True

    async def flush(self, timeout: int = 10) -> None:
        """Return when NATS has dealt with all that was asked before.

        nats-py alone would send its PING ahead of what its flusher still holds, such as a SUB.
        """
        if self._pending and self._transport is not None and self.is_connected:
            self._transport.writelines(self._pending)
            self._pending = []
            self._pending_data_size = 0
        await super().flush(timeout)

    async def _process_connect_init(self) -> None:
        """A connection is made: from here on the taps stand before nats-py's stream."""
        await super()._process_connect_init()
        self.on_made()
        writer = self._stream_writer()
        if writer is not None:
            stream: Any = self._transport
            reader = stream._io_reader
            tap = _TapProtocol(_Splitter(self), reader, writer.transport)
            writer.transport.set_protocol(tap)
            tap.take_over()

    async def _process_op_err(self, e: Exception) -> None:
        """The connection failed: nats-py closes it and connects anew.

        Closing waits until what is buffered has left, which on a connection that fell silent
        is never. So it is torn down here.
        """
        if self.is_connected and self.options["allow_reconnect"]:
            self._abort()
        await super()._process_op_err(e)

    async def _process_err(self, err_msg: str) -> None:
        """NATS says why it is about to close the connection.

        For nats-py that is the end. But a wrong subject costs nothing except what was sent to
        it (only a pedantic NATS server looks), and a payload is too large only for a limit that
        we do not know yet: a new connection tells it.
        """
        lowered = err_msg.strip("'").lower()
        is_too_large = _TOO_LARGE in lowered
        if not is_too_large and lowered not in _WRONG_SUBJECT:
            await super()._process_err(err_msg)
            return
        error = Error(f"nats: {lowered}")
        await self._error_cb(error)
        if is_too_large:
            await self._process_op_err(error)

    def forget_unsent(self) -> None:
        """What was asked of a connection that is gone is not said on the next one. nats-py
        subscribes anew to everything by itself."""
        self._pending = []
        self._pending_data_size = 0

    def _stream_writer(self) -> asyncio.StreamWriter | None:
        """The writer of a TCP connection; None over WebSocket, whose writing only nats-py's
        own flusher can do."""
        return getattr(self._transport, "_io_writer", None)

    @property
    def unsent_bytes(self) -> int:
        """How much was written and has not reached the socket yet."""
        if not self.is_connected or self._transport is None:
            return 0
        writer = self._stream_writer()
        if writer is None:
            return int(self._pending_data_size) + self._websocket().unsent_bytes
        return 0 if writer.is_closing() else writer.transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Wait until the write buffer is below its low-water mark, or the connection is gone."""
        if not self.is_connected or self._transport is None:
            return
        writer = self._stream_writer()
        if writer is not None:
            with suppress(OSError):
                await writer.drain()
            return
        transport = self._websocket()
        while self._transport is transport and self.unsent_bytes > _LOW_WATER_BYTES:
            await transport.progress()

    def _websocket(self) -> WebSocket:
        assert isinstance(self._transport, WebSocket)
        return self._transport


class _Splitter:
    """Takes tapped messages out of what one connection reads; leaves whole operations."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._tapped = link._tapped
        self._known: dict[bytes, Said] = {}
        self._parts: list[bytes] = []
        self._held = 0
        self._needed = 0

    def take(self, data: bytes) -> list[bytes]:
        """Report the tapped messages in the chunk; the other operations, in order.

        Raises ProtocolError for what no NATS server says.
        """
        if self._held:
            self._parts.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._parts)
            self._parts = []
            self._held = 0
        link = self._link
        if link._tapped is not self._tapped or len(self._known) > _MOST_KNOWN:
            self._tapped = link._tapped
            self._known = {}
        try:
            frames, others, consumed, self._needed = split(data, self._tapped, self._known)
        except ValueError as error:
            raise ProtocolError(f"nats: {error}") from None
        if consumed < len(data):
            rest = data[consumed:]
            self._parts = [rest]
            self._held = len(rest)
        if frames:
            link._on_frames(frames)
        return others


class _TapProtocol(asyncio.Protocol):
    """Stands before the protocol of nats-py's stream and keeps tapped messages from it.

    Their frames are reported in the turn of the loop in which the socket was read: no
    stream, task or copy in between, and as large a chunk as the socket had.
    """

    def __init__(self, splitter: _Splitter, reader: Any, transport: Any) -> None:
        self._splitter = splitter
        self._reader = reader
        self._transport = transport
        self._stream: Any = transport.get_protocol()

    def take_over(self) -> None:
        """Take what came right behind the handshake, which may end in the middle of an
        operation, or be the connection's last words: a stream that ended takes no more."""
        buffer = self._reader._buffer
        rest = bytes(buffer)
        buffer.clear()
        buffer.extend(self._take(rest))

    def data_received(self, data: bytes) -> None:
        others = self._take(data)
        if others:
            self._stream.data_received(others)
        if len(data) >= _LARGE_READ_BYTES and not self._reader._paused:
            # uvloop would read up to 32 times while there is more, before anything else runs.
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _take(self, data: bytes) -> bytes:
        """Report the tapped messages; the rest is for the stream."""
        if not data or self._reader.exception() is not None:
            return b""
        try:
            return b"".join(self._splitter.take(data))
        except ProtocolError as error:
            self._reader.set_exception(error)  # nats-py reads it, and connects anew
            return b""

    def eof_received(self) -> bool | None:
        return bool(self._stream.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()


class _ChunkParser(Parser):
    """What nats-py's read loop calls. Over WebSocket no protocol can stand before the stream,
    and the taps are here; nats-py's own parser gets whole operations only."""

    def __init__(self, link: Link) -> None:
        self._link = link
        super().__init__(link)

    def reset(self) -> None:
        super().reset()
        self._splitter = _Splitter(self._link)

    async def parse(self, data: bytes = b"") -> None:
        if not data:
            return
        for operation in self._splitter.take(data):
            await super().parse(operation)
            if self.state != AWAITING_CONTROL_LINE or self.buf:
                raise ProtocolError("nats: unknown protocol")


def _nothing() -> None:
    return None
