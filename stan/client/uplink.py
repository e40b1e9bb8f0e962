"""The way to NATS, kept open: an owned connection is made anew when its server closed it, a
lent one is looked at, since it cannot tell.

Whoever drives the session is told three things: NATS is down, NATS is up, NATS is gone for
good. What travels is none of this module's business.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic_ns
from typing import Any, Protocol

from stan.client.options import ConnectOptions
from stan.client.pulse import wait_ns
from stan.client.transport import (
    NATS_CLOSED,
    NATS_DOWN,
    NatsClient,
    OwnedTransport,
    Transport,
    dial,
    lend,
)
from stan.errors import ClientError, ConnectError, ConnectionLostError, StanError
from stan.link.connecting import is_refusal
from stan.wire.frames import Frame

# How often a connection that is lent is looked at.
_LOOK_S = 0.25
# How long NATS may refuse who we are, after it had let us in, until that is final: files of
# credentials are replaced one after the other.
_REFUSED_NS = 10_000_000_000


class Traveller(Protocol):
    """Who uses the way. None of it may raise or wait."""

    def frames(self, frames: list[Frame]) -> None:
        """These arrived."""

    def down(self, reason: str) -> None:
        """Nothing gets through until `up`."""

    def up(self) -> None:
        """NATS is there again, and listens to the same subjects."""

    def gone(self, reason: ClientError) -> None:
        """It will not come back."""


class Uplink:
    """The NATS connection of one STAN connection, whichever it is at the time."""

    def __init__(self, options: ConnectOptions, traveller: Traveller) -> None:
        self.transport: Transport
        self._options = options
        self._traveller = traveller
        self._dial: Callable[[], Coroutine[Any, Any, OwnedTransport]] | None = None
        self._pattern = ""
        self._token: object = None
        self._is_released = False
        self._looking: asyncio.TimerHandle | None = None
        self._seen = (True, 0)
        self._redialing: asyncio.Task[None] | None = None

    async def open(
        self, urls: list[str], client: NatsClient | None, nats_options: dict[str, Any]
    ) -> None:
        """Reach NATS. Raises ConnectError, ConfigError, InvalidConnectionError."""
        if client is None:
            self._dial = lambda: dial(urls, self._options.client_id, self, nats_options)
            self.transport = await self._dial()
        else:
            self.transport = lend(client, self)

    async def listen(self, pattern: str) -> None:
        """Have what comes to these subjects handed over, from now on and after any loss."""
        self._pattern = pattern
        self._token = await self.transport.listen(pattern)
        if not self.transport.tells:
            self._look()

    @property
    def is_gone(self) -> bool:
        """Whether NATS is closed and nobody is about to make it anew."""
        return bool(self.transport.nats.is_closed) and self._redialing is None

    def check(self) -> None:
        """Something could not be written, or it is time: see what became of NATS."""
        nats = self.transport.nats
        if self._is_released:
            return
        if nats.is_closed:
            if self._redialing is None:
                self.nats_closed(is_final=not self.transport.tells)
        elif not nats.is_connected or self.transport.tells:
            self._seen = (False, self._seen[1])
            self.nats_down()

    async def release(self) -> None:
        """Give NATS back: no interest is left on a lent connection, an own one is closed."""
        self._is_released = True
        if self._looking is not None:
            self._looking.cancel()
        if self._redialing is not None:
            self._redialing.cancel()
            await asyncio.wait([self._redialing])
        if self._token is not None:
            await self.transport.forget(self._token)
        with suppress(OSError):
            await self.transport.close()

    # What NATS does

    def frames(self, frames: list[Frame]) -> None:
        self._traveller.frames(frames)

    def nats_down(self) -> None:
        self._traveller.down(NATS_DOWN)

    def nats_up(self) -> None:
        self._traveller.up()

    def nats_closed(self, *, is_final: bool) -> None:
        if self._is_released or self._redialing is not None:
            return
        if is_final or not self._options.resume or self._dial is None:
            self._traveller.gone(ConnectionLostError(NATS_CLOSED))
        else:
            self._redialing = asyncio.get_running_loop().create_task(self._redial(self._dial))
            self._traveller.down(NATS_CLOSED)

    async def _redial(self, dial: Callable[[], Coroutine[Any, Any, OwnedTransport]]) -> None:
        """The NATS server closed our connection: make another one."""
        began_ns = monotonic_ns()
        while True:
            gone_ns = monotonic_ns() - began_ns
            try:
                transport = await dial()
            except StanError as error:
                if is_refusal(error) and gone_ns > _REFUSED_NS:
                    self._redialing = None
                    self._traveller.gone(ConnectError(str(error)))
                    return
                await asyncio.sleep(wait_ns(gone_ns, random.random) / 1e9)
                continue
            try:
                self._token = await transport.listen(self._pattern)
            except BaseException as error:
                await transport.close()
                if not isinstance(error, StanError):
                    raise
                continue
            self.transport = transport
            self._redialing = None
            self._traveller.up()
            return

    def _look(self) -> None:
        """See whether a connection that is lent was closed, lost or made again."""
        self._looking = None
        nats = self.transport.nats
        if nats.is_closed:
            self.nats_closed(is_final=True)
            return
        was_up, reconnects = self._seen
        self._seen = (nats.is_connected, nats.stats["reconnects"])
        if not nats.is_connected:
            self.nats_down()
        elif not was_up or self._seen[1] != reconnects:
            self.nats_up()
        self._looking = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
