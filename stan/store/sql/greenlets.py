"""Connections of SQLAlchemy's asyncio engine: a database server's, and those that read SQLite.

A step runs in a greenlet over the asynchronous driver, for a bounded time. This module takes
long to load, so a SQLite server that reads no history does without it. Invariant: readers
never share a connection with the writer.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from stan.errors import ConfigError, StoreUnavailableError
from stan.store.settings import StoreSettings
from stan.store.sql.dialect import Dialect, Phase, Session
from stan.store.sql.failures import explain
from stan.store.sql.listening import Listening
from stan.store.sql.outbox import WAKE_CHANNEL
from stan.store.sql.running import Step, T, prepare, run_step
from stan.store.sql.sources import Source

_READERS = 4
_log = logging.getLogger("stan.store")


class Greenlets:
    """SQLAlchemy's asyncio engine and the connections that read; an exchange bounded in time."""

    def __init__(
        self,
        url: URL,
        connect_args: dict[str, Any],
        location: str,
        dialect: Dialect,
        settings: StoreSettings,
    ) -> None:
        self._dialect = dialect
        self._settings = settings
        self._timeout_s = settings.timeout_s
        self._location = location
        self._url = url
        self._connect_args = connect_args
        self._engine = self.engine(
            pool_size=_READERS,
            max_overflow=0,
            pool_timeout=settings.timeout_s,
            pool_reset_on_return=None,
        )

    def engine(self, **options: Any) -> AsyncEngine:
        """An engine of this database. Raises ImportError when its driver is missing."""
        engine = create_async_engine(
            self._url,
            isolation_level="AUTOCOMMIT",
            connect_args=self._connect_args,
            **options,
        )
        prepare(engine.sync_engine, self._dialect, self._settings)
        return engine

    async def read(self, step: Step[T]) -> T:
        # Connections that died while they waited in the pool are found out one by one.
        for _ in range(_READERS):
            connection = await self.connect(self._engine)
            try:
                return await self.run(connection, step, self._timeout_s)
            except StoreUnavailableError as error:
                if not connection.invalidated or isinstance(error.__cause__, TimeoutError):
                    raise
            finally:
                await self.close_quietly(connection)
        raise StoreUnavailableError(f"{self._location}: no connection stays open")

    async def connect(self, engine: AsyncEngine) -> AsyncConnection:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await engine.connect()
        except Exception as error:
            failure = explain(error, Phase.IDLE, self._dialect)[0]
            raise type(failure)(f"{self._location}: {failure}") from error

    async def run(self, connection: AsyncConnection, step: Step[T], timeout_s: float | None) -> T:
        phase = Phase.IDLE

        def run(blocking: Connection) -> T:
            def watched(session: Session) -> T:
                nonlocal phase
                try:
                    return step(session)
                finally:
                    phase = session.phase

            return run_step(watched, blocking, self._dialect)

        try:
            async with asyncio.timeout(timeout_s):
                return await connection.run_sync(run)
        except TimeoutError as error:
            raise explain(error, phase, self._dialect)[0] from error

    async def close_quietly(self, connection: AsyncConnection) -> None:
        """Close a connection that may already be dead."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.close()
        except Exception as error:
            _log.debug("closing a database connection: %s", error)

    async def close(self, *engines: AsyncEngine) -> None:
        """Close the readers, and these engines with them."""
        for engine in (self._engine, *engines):
            with suppress(Exception):
                async with asyncio.timeout(self._timeout_s):
                    await engine.dispose()


class GreenletDatabase:
    """A database server: every step in a greenlet over the asynchronous driver."""

    def __init__(self, source: Source, dialect: Dialect, settings: StoreSettings) -> None:
        self.dialect = dialect
        self._timeout_s = settings.timeout_s
        try:
            self._greenlets = Greenlets(
                source.url, source.connect_args, source.location, dialect, settings
            )
            self._write_engine = self._greenlets.engine(poolclass=NullPool)
        except ImportError as error:
            raise ConfigError(
                f"the driver for {source.family} is missing ({error.name}): "
                f"pip install {dialect.driver_package}"
            ) from error
        self._writer: AsyncConnection | None = None
        self._listening = Listening(
            WAKE_CHANNEL,
            lambda: self._greenlets.connect(self._write_engine),
            self._greenlets.close_quietly,
        )

    async def write(self, step: Step[T], *, patient: bool = False) -> T:
        if self._writer is None or self._writer.invalidated:
            await self._drop_writer()
            self._writer = await self._greenlets.connect(self._write_engine)
        timeout_s = None if patient else self._timeout_s
        return await self._greenlets.run(self._writer, step, timeout_s)

    async def read(self, step: Step[T]) -> T:
        return await self._greenlets.read(step)

    async def look(self, step: Step[T]) -> T:
        return await self._greenlets.read(step)

    async def attend(self, found: bool) -> bool:
        return await self._listening.attend(found)

    async def notified(self) -> None:
        if self.dialect.name != "postgres":
            await asyncio.get_running_loop().create_future()
        await self._listening.wait()

    async def settle(self, step: Step[T]) -> T:
        await self._drop_writer()
        return await self.write(step)

    async def close(self) -> None:
        await self._listening.close()
        await self._drop_writer()
        await self._greenlets.close(self._write_engine)

    async def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._greenlets.close_quietly(writer)
