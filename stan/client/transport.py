"""The two ways to reach NATS: a connection of our own, or one that the user lends.

An owned connection is a Link: frames arrive a read chunk at a time and operations leave in
one write. A lent one is any nats-py client, used through its public methods only and never
closed by us. Everything else in the client is the same for both. Nothing here knows what
the frames mean.
"""

import asyncio
import inspect
import logging
import random
import time
from contextlib import suppress
from typing import Any, Protocol

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from stan.client.pulse import wait_ns
from stan.errors import (
    AdminError,
    ConfigError,
    ConnectError,
    InvalidConnectionError,
    RequestTimeoutError,
)
from stan.link.connecting import SecureClient, explain
from stan.link.taps import Link
from stan.wire.frames import Frame

NatsClient = Client
NATS_CLOSED = "nats: connection closed"
NATS_DOWN = "nats: disconnected"
# How long closing waits for what was written on a connection that is lent.
_LAST_WORDS_S = 2.0
# How often somebody who waits for an answer looks whether NATS refused the question.
_LOOK_S = 0.1
_CALLBACKS = ("error_cb", "disconnected_cb", "reconnected_cb", "closed_cb")

_logger = logging.getLogger("stan.client")


class Listener(Protocol):
    """Who is told what NATS does. None of it may raise or wait."""

    def frames(self, frames: list[Frame]) -> None:
        """These arrived."""

    def nats_down(self) -> None:
        """An owned connection was lost; it is being made again."""

    def nats_up(self) -> None:
        """It stands again."""

    def nats_closed(self, *, is_final: bool) -> None:
        """It was closed: by its server, or for good."""


class Transport(Protocol):
    """What a connection needs of NATS."""

    nats: NatsClient
    tells: bool
    """Whether the listener is told of interruptions; otherwise somebody has to look."""

    async def listen(self, subject: str) -> object:
        """Have messages on this subject reach the listener; returns a token for `forget`.

        Raises InvalidConnectionError when the NATS connection is closed or draining."""

    async def forget(self, token: object) -> None:
        """Stop listening. Never raises because the NATS connection is gone."""

    def write(self, operations: list[bytes]) -> bool:
        """Send PUB operations in order, without waiting. False: not connected, dropped."""

    @property
    def unsent_bytes(self) -> int:
        """What was written and has not left the process."""

    async def drained(self) -> None:
        """Wait until most of what was written left the process."""

    async def close(self) -> None:
        """Close the NATS connection if it is ours, after what was written has left."""


class OwnedTransport:
    """A NATS connection made for one STAN connection."""

    tells = True

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
        with suppress(nats.errors.Error, OSError):
            await self._link.untap(token)

    def write(self, operations: list[bytes]) -> bool:
        return self._link.write(b"".join(operations))

    @property
    def unsent_bytes(self) -> int:
        return self._link.unsent_bytes

    async def drained(self) -> None:
        await self._link.drained()

    async def close(self) -> None:
        await self._link.close()


class LentTransport:
    """Somebody else's NATS connection."""

    tells = False

    def __init__(self, client: NatsClient, listener: Listener) -> None:
        self.nats = client
        self._listener = listener
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
        self._listener.frames([(message.subject.encode(), message.reply.encode(), payload)])

    async def forget(self, token: Any) -> None:
        # When the NATS connection is closed or draining, the interest ends with it.
        with suppress(nats.errors.Error, OSError):
            await token.unsubscribe()

    def write(self, operations: list[bytes]) -> bool:
        if not self.nats.is_connected:
            return False
        self._queue += operations
        self._unsent_bytes += sum(map(len, operations))
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())
        return True

    async def _send(self) -> None:
        try:
            while self._queue:
                operations, self._queue = self._queue, []
                for operation in operations:
                    await self._publish(operation)
        except (nats.errors.Error, OSError) as error:
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
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=_LAST_WORDS_S)


async def dial(
    urls: list[str], name: str, listener: Listener, nats_options: dict[str, Any]
) -> OwnedTransport:
    """Connect to NATS. Raises ConnectError when none of the servers lets us in, and ConfigError
    for options that nats-py does not know.

    Each server is tried once; a connection that stood is then kept up for ever, with waits
    that grow and are random unless `reconnect_time_wait` says how long they are.
    """
    options = {"name": name, "ping_interval": 10, **nats_options}
    is_patient = "reconnect_time_wait" not in options
    user = {kind: options.pop(kind, None) for kind in _CALLBACKS}
    link = Link(listener.frames)
    down_s = 0.0

    async def report(error: Exception) -> None:
        if is_patient and down_s:
            gone_ns = int((time.monotonic() - down_s) * 1e9)
            link.options["reconnect_time_wait"] = wait_ns(gone_ns, random.random) / 1e9
        if user["error_cb"] is not None:
            await _call(user["error_cb"], error)
        else:
            _logger.debug("NATS: %s", error)

    async def disconnected() -> None:
        nonlocal down_s
        down_s = time.monotonic()
        if is_patient:
            link.options["reconnect_time_wait"] = wait_ns(0, random.random) / 1e9
        if not link.is_closed:
            listener.nats_down()
        await _call(user["disconnected_cb"])

    async def reconnected() -> None:
        listener.nats_up()
        await _call(user["reconnected_cb"])

    async def closed() -> None:
        listener.nats_closed(is_final=link.was_closed)
        await _call(user["closed_cb"])

    options |= {
        "disconnected_cb": disconnected,
        "reconnected_cb": reconnected,
        "closed_cb": closed,
    }
    await _open(link, urls, report, options)
    return OwnedTransport(link)


async def dial_plainly(urls: list[str], name: str, nats_options: dict[str, Any]) -> NatsClient:
    """A connection to NATS for requests only, which nobody registers with a streaming server.
    Raises ConnectError and ConfigError as `dial` does."""
    client = SecureClient()

    async def report(error: Exception) -> None:
        _logger.debug("NATS: %s", error)

    await _open(client, urls, report, {"name": name, **nats_options})
    return client


async def ask(
    client: NatsClient, subject: str, payload: bytes, timeout_s: float
) -> tuple[dict[str, str], bytes] | None:
    """One request: the headers and the data of its answer, None when nobody is there.
    Raises RequestTimeoutError, InvalidConnectionError, and AdminError when NATS forbids it."""
    asking = asyncio.ensure_future(client.request(subject, payload, timeout=timeout_s))
    try:
        while not (await asyncio.wait((asking,), timeout=_LOOK_S))[0]:
            # Of a refusal NATS tells the connection, not whoever asked.
            if f'for publish to "{subject.lower()}"' in str(client.last_error or "").lower():
                raise AdminError(403, f"this NATS user may not publish to {subject}")
        answer = asking.result()
    except nats.errors.NoRespondersError:
        return None
    except nats.errors.TimeoutError:
        raise RequestTimeoutError(f"stan: no answer within {timeout_s:g} seconds") from None
    except (nats.errors.Error, OSError) as error:
        raise InvalidConnectionError(explain(error)) from None
    finally:
        asking.cancel()
    return answer.headers or {}, answer.data


async def _open(client: SecureClient, urls: list[str], report: Any, options: Any) -> None:
    try:
        await client.open(urls, report, **options)
    except ImportError as error:
        raise ConnectError(f"nats: these credentials need the package {error.name}") from error
    except (TypeError, AttributeError) as error:
        raise ConfigError(f"stan: {error}".replace("Client.connect()", "nats.connect")) from error
    except (nats.errors.Error, OSError, ValueError) as error:
        raise ConnectError(explain(error)) from error


async def _call(callback: Any, *arguments: object) -> None:
    """One of the user's callbacks, which must not harm nats-py."""
    if callback is None:
        return
    try:
        result = callback(*arguments)
        if inspect.isawaitable(result):
            await result
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "stan: a callback for NATS failed", "exception": error}
        )


def lend(client: NatsClient, listener: Listener) -> LentTransport:
    """Use a connection of the user's. Raises InvalidConnectionError when it is not connected,
    and ConfigError when it is none."""
    if not isinstance(client, Client):
        raise ConfigError(f"stan: nats is a connected nats-py client, not {client!r}")
    if not client.is_connected:
        raise InvalidConnectionError("stan: invalid connection")
    return LentTransport(client, listener)
