"""Hearing PostgreSQL's notifications, on a connection that does nothing else.

They only make the server look sooner: whoever looks from time to time anyway misses nothing
when one is lost. Invariant: a connection that broke is replaced, and that counts as a
notification, since some may have been missed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from stan.errors import StoreError

_RETRY_S = 1.0
_log = logging.getLogger("stan.store")


class Listening:
    """`connect` gives a connection of its own, `close` lets go of one that may be dead."""

    def __init__(
        self,
        channel: str,
        connect: Callable[[], Awaitable[AsyncConnection]],
        close: Callable[[AsyncConnection], Awaitable[None]],
    ) -> None:
        self._channel = channel
        self._connect = connect
        self._close = close
        self._connection: AsyncConnection | None = None
        self._notified = asyncio.Event()

    async def wait(self) -> None:
        """Wait for a notification since the last time."""
        while self._connection is None:
            try:
                await self._listen()
            except Exception as error:
                if not isinstance(error, StoreError):
                    _log.debug("listening to the database: %s", error)
                await asyncio.sleep(_RETRY_S)
        await self._notified.wait()
        self._notified.clear()

    async def _listen(self) -> None:
        connection = await self._connect()
        try:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_termination_listener(self._ended)
            await driver.add_listener(self._channel, self._heard)
        except BaseException:
            await self._close(connection)
            raise
        self._connection = connection
        self._notified.set()  # what was written before

    def _heard(self, *_: object) -> None:
        self._notified.set()

    def _ended(self, _: object) -> None:
        self._connection = None
        self._notified.set()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._close(connection)
