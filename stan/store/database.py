"""Connections: one that writes, a few that read, and how a step reaches them.

A step is a blocking function over a Session. `ThreadDatabase` (SQLite) runs it whole in
the writer's own thread; `GreenletDatabase` runs it by `run_sync` of SQLAlchemy's asyncio
engine. Invariant: readers never share a connection with the writer, and a connection on
which anything is in doubt is dropped, never used again.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from stan.errors import ConfigError, StoreRefusedError, StoreUnavailableError
from stan.store.failures import explain
from stan.store.flavor import Flavor
from stan.store.mysql import MysqlFlavor
from stan.store.postgres import PostgresFlavor
from stan.store.session import Phase, Session
from stan.store.sources import Source
from stan.store.sqlite import SqliteFlavor

T = TypeVar("T")
Step = Callable[[Session], T]

_READERS = 4
_log = logging.getLogger("stan.store")


class Database(Protocol):
    """Where steps run. Every method raises StoreError and nothing else."""

    flavor: Flavor

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


def connect_database(source: Source, durability: str, timeout_s: float, lease_s: float) -> Database:
    """The database of this source; nothing is connected yet. Raises ConfigError."""
    if source.family == "sqlite":
        return ThreadDatabase(source, SqliteFlavor(durability), timeout_s, lease_s)
    flavor = PostgresFlavor if source.family == "postgres" else MysqlFlavor
    return GreenletDatabase(source, flavor(durability), timeout_s, lease_s)


def run_step(step: Step[T], connection: Connection, flavor: Flavor) -> T:
    """Run the step; on an error leave no transaction open, or the connection dropped."""
    session = Session(connection, flavor)
    try:
        return step(session)
    except Exception as error:
        failure, dropped = explain(error, session.phase, flavor)
        if not dropped:
            try:
                session.rollback()
            except Exception:
                dropped = True
        if dropped:
            _abandon(connection, flavor)
        raise failure from error
    except BaseException:  # cancelled in the middle: what the connection does now is unknown
        _abandon(connection, flavor)
        raise


def _abandon(connection: Connection, flavor: Flavor) -> None:
    """Drop a connection for good. A polite farewell could wait for a peer that is silent,
    so the driver lets go first."""
    with suppress(Exception):
        flavor.abort(connection.connection.driver_connection)
    with suppress(Exception):
        connection.invalidate()


def _prepare(engine: Engine, flavor: Flavor, timeout_s: float, lease_s: float) -> None:
    """Tell every new connection what it must know."""

    def on_connect(dbapi: Any, record: object) -> None:
        cursor = dbapi.cursor()
        try:
            for sql in flavor.setup_sql(timeout_s, lease_s):
                cursor.execute(sql)
        finally:
            cursor.close()

    event.listen(engine, "connect", on_connect)


class ThreadDatabase:
    """SQLite: blocking calls in threads of their own."""

    def __init__(self, source: Source, flavor: Flavor, timeout_s: float, lease_s: float) -> None:
        self.flavor = flavor
        self._source = source
        self._engine = create_engine(
            source.url,
            isolation_level="AUTOCOMMIT",
            pool_size=_READERS + 1,
            max_overflow=0,
            pool_reset_on_return=None,
            connect_args={"timeout": timeout_s, "cached_statements": 256},
        )
        _prepare(self._engine, flavor, timeout_s, lease_s)
        self._writer: Connection | None = None
        self._write_thread = ThreadPoolExecutor(1, "stan-store-writer")
        self._read_threads = ThreadPoolExecutor(_READERS, "stan-store-reader")
        self._ready = False

    async def write(self, step: Step[T], *, patient: bool = False) -> T:
        return await self._run(self._write_thread, self._write, step)

    async def read(self, step: Step[T]) -> T:
        return await self._run(self._read_threads, self._read, step)

    async def settle(self, step: Step[T]) -> T:
        await self._run(self._write_thread, lambda _: self._drop_writer(), None)
        return await self.write(step)

    async def close(self) -> None:
        if self._ready:
            await self._run(self._write_thread, lambda _: self._drop_writer(), None)
        self._write_thread.shutdown(wait=False)
        self._read_threads.shutdown(wait=False)
        self._engine.dispose()

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[Any], T], step: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work, step)
        except RuntimeError as error:
            raise StoreUnavailableError("the store is closed") from error

    def _write(self, step: Step[T]) -> T:
        if self._writer is None or self._writer.invalidated:
            self._drop_writer()
            self._writer = self._connect()
        return run_step(step, self._writer, self.flavor)

    def _read(self, step: Step[T]) -> T:
        with self._connect() as connection:
            return run_step(step, connection, self.flavor)

    def _connect(self) -> Connection:
        try:
            if not self._ready:
                self._source.path.parent.mkdir(parents=True, exist_ok=True)
                self._ready = True
            return self._engine.connect()
        except OSError as error:
            raise StoreRefusedError(f"cannot create {self._source.path.parent}: {error}") from error
        except Exception as error:
            failure = explain(error, Phase.IDLE, self.flavor)[0]
            raise type(failure)(f"{self._source.location}: {failure}") from error

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(SQLAlchemyError):
                writer.invalidate()
            writer.close()


class GreenletDatabase:
    """A database server: SQLAlchemy's asyncio engine, one exchange bounded in time."""

    def __init__(self, source: Source, flavor: Flavor, timeout_s: float, lease_s: float) -> None:
        self.flavor = flavor
        self._timeout_s = timeout_s
        self._location = source.location
        try:
            self._engine: AsyncEngine = create_async_engine(
                source.url,
                isolation_level="AUTOCOMMIT",
                pool_size=_READERS,
                max_overflow=0,
                pool_timeout=timeout_s,
                pool_reset_on_return=None,
                connect_args=source.connect_args,
            )
            self._write_engine: AsyncEngine = create_async_engine(
                source.url,
                isolation_level="AUTOCOMMIT",
                poolclass=NullPool,
                connect_args=source.connect_args,
            )
        except ImportError as error:
            extra = source.family
            raise ConfigError(
                f"the driver for {extra} is missing ({error.name}): "
                f"install it with pip install 'nats-stan[{extra}]'"
            ) from error
        for engine in (self._engine, self._write_engine):
            _prepare(engine.sync_engine, flavor, timeout_s, lease_s)
        self._writer: AsyncConnection | None = None

    async def write(self, step: Step[T], *, patient: bool = False) -> T:
        if self._writer is None or self._writer.invalidated:
            await self._drop_writer()
            self._writer = await self._connect(self._write_engine)
        return await self._run(self._writer, step, None if patient else self._timeout_s)

    async def read(self, step: Step[T]) -> T:
        # Connections that died while they waited in the pool are found out one by one.
        for _ in range(_READERS):
            connection = await self._connect(self._engine)
            try:
                return await self._run(connection, step, self._timeout_s)
            except StoreUnavailableError as error:
                if not connection.invalidated or isinstance(error.__cause__, TimeoutError):
                    raise
            finally:
                await _close_quietly(connection, self._timeout_s)
        raise StoreUnavailableError(f"{self._location}: no connection stays open")

    async def settle(self, step: Step[T]) -> T:
        await self._drop_writer()
        return await self.write(step)

    async def close(self) -> None:
        await self._drop_writer()
        for engine in (self._engine, self._write_engine):
            with suppress(Exception):
                async with asyncio.timeout(self._timeout_s):
                    await engine.dispose()

    async def _connect(self, engine: AsyncEngine) -> AsyncConnection:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await engine.connect()
        except Exception as error:
            failure = explain(error, Phase.IDLE, self.flavor)[0]
            raise type(failure)(f"{self._location}: {failure}") from error

    async def _run(self, connection: AsyncConnection, step: Step[T], timeout_s: float | None) -> T:
        phase = Phase.IDLE

        def run(blocking: Connection) -> T:
            def watched(session: Session) -> T:
                nonlocal phase
                try:
                    return step(session)
                finally:
                    phase = session.phase

            return run_step(watched, blocking, self.flavor)

        try:
            async with asyncio.timeout(timeout_s):
                return await connection.run_sync(run)
        except TimeoutError as error:
            raise explain(error, phase, self.flavor)[0] from error

    async def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await _close_quietly(writer, self._timeout_s)


async def _close_quietly(connection: AsyncConnection, timeout_s: float) -> None:
    """Close a connection that may already be dead."""
    try:
        async with asyncio.timeout(timeout_s):
            await connection.close()
    except Exception as error:
        _log.debug("closing a database connection: %s", error)
