"""nats-py's WebSocket transport, which also tells how much it has not sent yet.

nats-py takes bytes out of its own count before the socket has taken them, so the count of
what waits for the socket is kept here. `progress` wakes at each piece that left, and at the
end of the connection. Of nats-py's internals this touches `_pending` and `_ws` of its
transport; tests/integration fails when they move.
"""

import asyncio
from typing import Any

from nats.aio.transport import WebSocketTransport


class WebSocket(WebSocketTransport):
    """One connection over WebSocket."""

    def __init__(self, headers: dict[str, list[str]] | None = None) -> None:
        super().__init__(ws_headers=headers)
        self.unsent_bytes = 0
        self._progress: asyncio.Future[None] | None = None

    def write(self, payload: bytes) -> None:
        self.unsent_bytes += len(payload)
        super().write(payload)  # type: ignore[no-untyped-call]

    async def drain(self) -> None:
        while not self._pending.empty():
            payload = self._pending.get_nowait()
            socket: Any = self._ws
            try:
                await socket.send_bytes(payload)
            finally:
                self.unsent_bytes -= len(payload)
                self._wake()

    async def progress(self) -> None:
        """Wait until something more has left, or the connection is closed."""
        if self._progress is None:
            self._progress = asyncio.get_running_loop().create_future()
        # Waited for, not awaited: others wait for the same future.
        await asyncio.wait([self._progress])

    def close(self) -> None:
        super().close()  # type: ignore[no-untyped-call]
        self.unsent_bytes = 0
        self._wake()

    def _wake(self) -> None:
        if self._progress is not None:
            self._progress.set_result(None)
            self._progress = None
