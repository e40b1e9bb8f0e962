"""A NATS connection whose hot subjects arrive a read chunk at a time.

Connecting, TLS, authentication, pings and reconnecting stay nats-py's. What this adds:
a *tapped* subscription bypasses nats-py's queue and task, its messages reach one callback
as a list of frames per chunk read; and `write` sends ready-made operations in one piece.
This module is the only one that touches nats-py's internals: `_ps`, `_subs`, `_transport`,
`_pending`, `_process_op_err`; tests/integration fails when they move.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from stan.wire.frames import Frame, split

OnFrames = Callable[[list[Frame]], None]


class Link(Client):
    """A nats-py client with taps. `on_frames` must not raise and must not block."""

    def __init__(self, on_frames: OnFrames) -> None:
        super().__init__()
        self._chunks = _ChunkParser(self, on_frames)
        self._ps = self._chunks

    async def tap(self, subject: str) -> int:
        """Subscribe so that messages reach `on_frames`. Returns an ID for `untap`.

        Like any subscription it survives a reconnect.
        """
        # Tapped before the SUB leaves: nats-py numbers a subscription before it first waits.
        sid: int = self._sid + 1
        self._chunks.tapped |= {b"%d" % sid}
        subscription = await self.subscribe(subject)
        if subscription._id != sid:
            raise RuntimeError("nats-py numbers its subscriptions differently now")
        return sid

    async def untap(self, sid: int) -> None:
        """End a tapped subscription. Frames that already arrived may still be reported."""
        self._remove_sub(sid)
        self._chunks.tapped -= {b"%d" % sid}
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

    async def _process_op_err(self, e: Exception) -> None:
        """The connection failed: nats-py closes it and connects anew.

        Closing waits until what is buffered has left, which on a connection that fell silent
        is never. So it is torn down here.
        """
        if self.is_connected and self.options["allow_reconnect"]:
            writer = self._stream_writer()
            if writer is not None:
                writer.transport.abort()
        await super()._process_op_err(e)

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
            return int(self._pending_data_size)
        return 0 if writer.is_closing() else writer.transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Wait until the write buffer is below its low-water mark, or the connection is gone."""
        writer = self._stream_writer() if self.is_connected else None
        if writer is not None:
            with suppress(OSError):
                await writer.drain()


class _ChunkParser(Parser):
    """Splits tapped messages off each chunk and hands nats-py's parser whole operations."""

    def __init__(self, nc: Any, on_frames: OnFrames) -> None:
        super().__init__(nc)
        self.tapped: frozenset[bytes] = frozenset()
        self._on_frames = on_frames

    def reset(self) -> None:
        super().reset()
        self._parts: list[bytes] = []
        self._held = 0
        self._needed = 0

    async def parse(self, data: bytes = b"") -> None:
        if self._held:
            self._parts.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return
            data = b"".join(self._parts)
            self._parts = []
            self._held = 0
        if not data:
            return
        try:
            frames, others, consumed, self._needed = split(data, self.tapped)
        except ValueError as error:
            raise ProtocolError(f"nats: {error}") from None
        if consumed < len(data):
            rest = data[consumed:]
            self._parts = [rest]
            self._held = len(rest)
        if frames:
            self._on_frames(frames)
        for operation in others:
            await super().parse(operation)
            if self.state != AWAITING_CONTROL_LINE or self.buf:
                raise ProtocolError("nats: unknown protocol")
