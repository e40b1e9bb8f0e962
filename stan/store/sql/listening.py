"""Hearing PostgreSQL's notifications, on a connection that does nothing else.

They only make the server look sooner: whoever looks from time to time anyway misses nothing
when one is lost. Transactions that notify commit one after the other, which would slow many
writers down; so a lock tells them whether the server sleeps, and they notify only then (the
trigger in the migration). Invariants: nobody sleeps while a transaction is open that did not
notify; a connection that broke is replaced, and that counts as a notification.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from stan.errors import StoreError

_RETRY_S = 1.0
_AWAKE_S = 0.1  # how long after the last rows
_SLEEP_LOCK = 6001823419
_TIMEOUT_S = 5.0
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
        self._driver: Any = None
        self._notified = asyncio.Event()
        self._is_asleep = False
        self._found_s = 0.0

    async def attend(self, found: bool) -> bool:
        """There were rows, or none. True when the server sleeps from now on: it has to look once
        more, for what was written by those who thought that it was awake."""
        driver, was_asleep = self._driver, self._is_asleep
        if driver is None:
            return False
        try:
            if found:
                self._found_s = time.monotonic()
                self._is_asleep = False
                if was_asleep:
                    await self._ask(driver, "SELECT pg_advisory_unlock($1)")
            elif not was_asleep and time.monotonic() - self._found_s > _AWAKE_S:
                self._is_asleep = await self._ask(driver, "SELECT pg_try_advisory_lock($1)")
                return self._is_asleep
        except Exception as error:  # the connection is about to be replaced
            _log.debug("telling writers of the outbox: %s", error)
            driver.terminate()
        return False

    async def _ask(self, driver: Any, sql: str) -> bool:
        return bool(await driver.fetchval(sql, _SLEEP_LOCK, timeout=_TIMEOUT_S))

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
        self._connection, self._driver, self._is_asleep = connection, driver, False
        self._notified.set()  # what was written before

    def _heard(self, *_: object) -> None:
        self._notified.set()

    def _ended(self, _: object) -> None:
        self._connection = self._driver = None
        self._notified.set()

    async def close(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            await self._close(connection)
