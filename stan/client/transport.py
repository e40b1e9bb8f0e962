"""The two ways to reach NATS: a connection of our own, or one that the user lends.

An owned connection is a Link: frames arrive a read chunk at a time and operations leave in
one write. A lent one is any nats-py client, used through its public methods only and never
closed by us. Everything else in the client is the same for both. Nothing here knows what
the frames mean; `on_frames` must not raise.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from stan.errors import ConfigError, ConnectError, InvalidConnectionError
from stan.link.connecting import explain
from stan.link.taps import Link
from stan.wire.frames import Frame

NatsClient = Client
OnFrames = Callable[[list[Frame]], None]
NATS_CLOSED = "nats: connection closed"

_logger = logging.getLogger("stan.client")


class Transport(Protocol):
    """What a connection needs of NATS."""

    nats: NatsClient

    async def listen(self, subject: str) -> object:
        """Have messages on this subject reach `on_frames`; returns a token for `forget`.

        Raises InvalidConnectionError when the NATS connection is closed or draining."""

    async def forget(self, token: object) -> None:
        """Stop listening. Never raises because the NATS connection is gone."""

    def write(self, operations: list[bytes]) -> None:
        """Send PUB operations in order, without waiting. Dropped while disconnected."""

    @property
    def unsent_bytes(self) -> int:
        """What was written and has not left the process."""

    async def drained(self) -> None:
        """Wait until most of what was written left the process."""

    async def close(self) -> None:
        """Close the NATS connection if it is ours, after what was written has left."""


class OwnedTransport:
    """A NATS connection made for one STAN connection."""

    def __init__(self, link: Link) -> None:
        self.nats: NatsClient = link
        self._link = link

    async def listen(self, subject: str) -> object:
        try:
            return await self._link.tap(subject)
        except nats.errors.Error as error:
            raise InvalidConnectionError(str(error)) from None

    async def forget(self, token: object) -> None:
        assert isinstance(token, int)
        await self._link.untap(token)

    def write(self, operations: list[bytes]) -> None:
        self._link.write(b"".join(operations))

    @property
    def unsent_bytes(self) -> int:
        return self._link.unsent_bytes

    async def drained(self) -> None:
        await self._link.drained()

    async def close(self) -> None:
        await self._link.close()


class LentTransport:
    """Somebody else's NATS connection."""

    def __init__(self, client: NatsClient, on_frames: OnFrames) -> None:
        self.nats = client
        self._on_frames = on_frames
        self._queue: list[bytes] = []
        self._unsent_bytes = 0
        self._sending: asyncio.Task[None] | None = None

    async def listen(self, subject: str) -> object:
        # 0 means unlimited here: STAN's own flow control bounds what can be pending.
        try:
            return await self.nats.subscribe(
                subject, cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0
            )
        except nats.errors.Error as error:
            raise InvalidConnectionError(str(error)) from None

    async def _receive(self, message: Msg) -> None:
        nobody = message.headers is not None and message.headers.get("Status") == "503"
        payload = None if nobody else message.data
        self._on_frames([(message.subject.encode(), message.reply.encode(), payload)])

    async def forget(self, token: Any) -> None:
        try:
            await token.unsubscribe()
        except nats.errors.Error:
            return  # the NATS connection is closed or draining: the interest ends with it

    def write(self, operations: list[bytes]) -> None:
        if not self.nats.is_connected:
            return
        self._queue += operations
        self._unsent_bytes += sum(map(len, operations))
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._queue:
                operations, self._queue = self._queue, []
                for operation in operations:
                    await self._publish(operation)
        except nats.errors.Error as error:
            _logger.debug("operations dropped: %s", error)
        finally:
            self._queue = []
            self._unsent_bytes = 0
            self._sending = None

    async def _publish(self, operation: bytes) -> None:
        """Take one PUB operation apart again, for nats-py to send."""
        line, _, rest = operation.partition(b"\r\n")
        words = line.decode().split(" ")
        reply = words[2] if len(words) == 4 else ""
        await self.nats.publish(words[1], rest[:-2], reply=reply)
        self._unsent_bytes -= len(operation)

    @property
    def unsent_bytes(self) -> int:
        return self._unsent_bytes

    async def drained(self) -> None:
        if self._sending is not None:
            # Waited for, not awaited: cancelling the waiter must not cancel the sending.
            await asyncio.wait([self._sending])

    async def close(self) -> None:
        await self.drained()


async def dial(
    urls: list[str],
    name: str,
    on_frames: OnFrames,
    on_closed: Callable[[], None],
    nats_options: dict[str, Any],
) -> OwnedTransport:
    """Connect to NATS. Raises ConnectError when none of the servers lets us in, and ConfigError
    for options that nats-py does not know.

    Each server is tried once; a connection that stood is then kept up for ever.
    """
    options = {"name": name, "ping_interval": 10, **nats_options}
    user_error = options.pop("error_cb", None)
    user_closed = options.pop("closed_cb", None)
    link = Link(on_frames)

    async def report(error: Exception) -> None:
        if user_error is not None:
            await user_error(error)
        else:
            _logger.debug("NATS: %s", error)

    async def closed() -> None:
        on_closed()
        if user_closed is not None:
            await user_closed()

    try:
        await link.open(urls, report, closed_cb=closed, **options)
    except ImportError as error:
        raise ConnectError(f"nats: these credentials need the package {error.name}") from error
    except TypeError as error:
        raise ConfigError(f"stan: {error}".replace("Client.connect()", "nats.connect")) from error
    except (nats.errors.Error, OSError, ValueError) as error:
        raise ConnectError(explain(error)) from error
    return OwnedTransport(link)


def lend(client: NatsClient, on_frames: OnFrames) -> LentTransport:
    """Use a connection of the user's. Raises InvalidConnectionError when it is not connected."""
    if not client.is_connected:
        raise InvalidConnectionError("stan: invalid connection")
    return LentTransport(client, on_frames)


async def request(transport: Transport, subject: str, payload: bytes, wait_s: float) -> bytes:
    """Send a request after everything written before; returns the answer's payload.

    Raises TimeoutError when nobody answers or listens, and InvalidConnectionError when the
    NATS connection is closed or cannot send.
    """
    try:
        async with asyncio.timeout(wait_s):
            if isinstance(transport, LentTransport):
                await transport.drained()
            answer = await transport.nats.request(subject, payload, timeout=wait_s)
    except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
        raise TimeoutError from None
    except nats.errors.Error as error:
        raise InvalidConnectionError(str(error)) from None
    return bytes(answer.data)
