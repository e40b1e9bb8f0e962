"""Connections: one that writes, a few that read, and how a step reaches them.

A step is a blocking function over a Session. `ThreadDatabase` (SQLite) runs it whole in
the writer's own thread; `GreenletDatabase` runs it by `run_sync` of SQLAlchemy's asyncio
engine. Invariant: readers never share a connection with the writer, and a connection on
which anything is in doubt is dropped, never used again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from stan.errors import ConfigError, StoreError, StoreRefusedError, StoreUnavailableError
from stan.store.settings import StoreSettings
from stan.store.sql.dialect import Dialect, Phase, Session
from stan.store.sql.failures import explain
from stan.store.sql.mysql import MysqlDialect
from stan.store.sql.postgres import PostgresDialect
from stan.store.sql.sources import Source
from stan.store.sql.sqlite import SqliteDialect, find_reason, is_busy

T = TypeVar("T")
Step = Callable[[Session], T]

_READERS = 4
_BUSY_PAUSE_S = 0.01
_log = logging.getLogger("stan.store")


class Database(Protocol):
    """Where steps run. Every method raises StoreError and nothing else."""

    dialect: Dialect

    async def write(self, step: Step[T], *, patient: bool = False) -> T:
        """Run a step on the one writing connection, connecting when needed.

        A patient one may take as long as it likes.
        """
        ...

    async def read(self, step: Step[T]) -> T:
        """Run a step on a connection that never waits for the writer."""
        ...

    async def settle(self, step: Step[T]) -> T:
        """Run a writing step on a new connection; the old writing one is dropped."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def connect_database(source: Source, settings: StoreSettings) -> Database:
    """The database of this source; nothing is connected yet. Raises ConfigError."""
    if source.family == "sqlite":
        return ThreadDatabase(source, SqliteDialect(settings.durability), settings)
    dialect = PostgresDialect if source.family == "postgres" else MysqlDialect
    return GreenletDatabase(source, dialect(settings.durability), settings)


def run_step(step: Step[T], connection: Connection, dialect: Dialect) -> T:
    """Run the step; on an error leave no transaction open, or the connection dropped."""
    session = Session(connection, dialect)
    try:
        return step(session)
    except Exception as error:
        failure, dropped = explain(error, session.phase, dialect)
        if not dropped:
            try:
                session.rollback()
            except Exception:
                dropped = True
        if dropped:
            _abandon(connection, dialect)
        raise failure from error
    except BaseException:  # cancelled in the middle: what the connection does now is unknown
        _abandon(connection, dialect)
        raise


def _abandon(connection: Connection, dialect: Dialect) -> None:
    """Drop a connection for good. A polite farewell could wait for a peer that is silent,
    so the driver lets go first."""
    with suppress(Exception):
        dialect.abort(connection.connection.driver_connection)
    with suppress(Exception):
        connection.invalidate()


def _prepare(engine: Engine, dialect: Dialect, settings: StoreSettings) -> None:
    """Tell every new connection what it must know."""

    def on_connect(dbapi: Any, record: object) -> None:
        cursor = dbapi.cursor()
        try:
            for sql in dialect.setup_sql(settings.timeout_s, settings.lease_s):
                cursor.execute(sql)
        finally:
            cursor.close()

    event.listen(engine, "connect", on_connect)


class ThreadDatabase:
    """SQLite: the writer lives in a thread of its own, readers use aiosqlite."""

    def __init__(self, source: Source, dialect: Dialect, settings: StoreSettings) -> None:
        self.dialect = dialect
        self._source = source
        self._timeout_s = settings.timeout_s
        connect_args = {"timeout": settings.timeout_s, "cached_statements": 256}
        self._engine = create_engine(
            source.url,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            connect_args=connect_args,
        )
        self._readers = Greenlets(
            source.url.set(drivername="sqlite+aiosqlite"),
            connect_args,
            source.location,
            dialect,
            settings,
        )
        _prepare(self._engine, dialect, settings)
        self._writer: Connection | None = None
        self._write_thread = ThreadPoolExecutor(1, "stan-store-writer")
        self._ready = False

    async def write(self, step: Step[T], *, patient: bool = False) -> T:
        return await self._run(self._write, step)

    async def read(self, step: Step[T]) -> T:
        return await self._readers.read(step)

    async def settle(self, step: Step[T]) -> T:
        await self._run(lambda _: self._drop_writer(), None)
        return await self.write(step)

    async def close(self) -> None:
        if self._ready:
            await self._run(lambda _: self._drop_writer(), None)
        self._write_thread.shutdown(wait=False)
        self._engine.dispose()
        await self._readers.close()

    async def _run(self, work: Callable[[Any], T], step: Any) -> T:
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._write_thread, work, step)
        except RuntimeError as error:
            raise StoreUnavailableError("the store is closed") from error

    def _write(self, step: Step[T]) -> T:
        if self._writer is None or self._writer.invalidated:
            self._drop_writer()
            self._writer = self._connect()
        return run_step(step, self._writer, self.dialect)

    def _connect(self) -> Connection:
        patient_until_s = time.monotonic() + self._timeout_s
        while True:
            try:
                connection = self._engine.connect()
                self._ready = True
                return connection
            except Exception as error:
                # Of two that turn a new file into one with a write-ahead log at once, SQLite
                # sends one away without waiting.
                if not is_busy(error) or time.monotonic() >= patient_until_s:
                    raise self._refusal(error) from error
            time.sleep(_BUSY_PAUSE_S)

    def _refusal(self, error: Exception) -> StoreError:
        """Why the file does not open: the system's reason where there is one."""
        reason = find_reason(self._source.path, error)
        if reason:
            return StoreRefusedError(f"cannot open {self._source.location}: {reason}")
        failure, _ = explain(error, Phase.IDLE, self.dialect)
        return type(failure)(f"{self._source.location}: {failure}")

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(SQLAlchemyError):
                writer.invalidate()
            writer.close()


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
        _prepare(engine.sync_engine, self._dialect, self._settings)
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

    async def write(self, step: Step[T], *, patient: bool = False) -> T:
        if self._writer is None or self._writer.invalidated:
            await self._drop_writer()
            self._writer = await self._greenlets.connect(self._write_engine)
        timeout_s = None if patient else self._timeout_s
        return await self._greenlets.run(self._writer, step, timeout_s)

    async def read(self, step: Step[T]) -> T:
        return await self._greenlets.read(step)

    async def settle(self, step: Step[T]) -> T:
        await self._drop_writer()
        return await self.write(step)

    async def close(self) -> None:
        await self._drop_writer()
        await self._greenlets.close(self._write_engine)

    async def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._greenlets.close_quietly(writer)
