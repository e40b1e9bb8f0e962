"""Connections: one that writes, a few that read, and how a step reaches them.

A step is a blocking function over a Session. `ThreadDatabase` (SQLite) runs it whole in
the writer's own thread; `GreenletDatabase` (the others, in stan.store.sql.greenlets) runs it
by `run_sync` of SQLAlchemy's asyncio engine. Invariant: readers never share a connection
with the writer.
"""

import asyncio
import importlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from stan.errors import StoreError, StoreRefusedError, StoreUnavailableError
from stan.store.settings import StoreSettings
from stan.store.sql.dialect import Dialect, Phase
from stan.store.sql.failures import explain
from stan.store.sql.running import Step, T, prepare, run_step
from stan.store.sql.sources import Source
from stan.store.sql.sqlite import SqliteDialect, find_reason, is_busy

if TYPE_CHECKING:
    from stan.store.sql.greenlets import Greenlets

_BUSY_PAUSE_S = 0.01


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

    async def look(self, step: Step[T]) -> T:
        """Run a step that reads a little, where that costs least."""
        ...

    async def attend(self, found: bool) -> bool:
        """The outbox table had rows, or none. True when it has to be looked at once more."""
        ...

    async def notified(self) -> None:
        """Wait until the database says that the outbox table was written to, if it ever does."""
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
    from stan.store.sql.greenlets import GreenletDatabase  # not for SQLite: it loads slowly
    from stan.store.sql.mysql import MysqlDialect
    from stan.store.sql.postgres import PostgresDialect

    dialect = PostgresDialect if source.family == "postgres" else MysqlDialect
    return GreenletDatabase(source, dialect(settings.durability), settings)


class ThreadDatabase:
    """SQLite: the writer lives in a thread of its own, readers use aiosqlite."""

    def __init__(self, source: Source, dialect: Dialect, settings: StoreSettings) -> None:
        self.dialect = dialect
        self._source = source
        self._settings = settings
        self._timeout_s = settings.timeout_s
        self._connect_args = {"timeout": settings.timeout_s, "cached_statements": 256}
        self._engine = create_engine(
            source.url,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            connect_args=self._connect_args,
        )
        prepare(self._engine, dialect, settings)
        self._readers: Greenlets | None = None
        self._writer: Connection | None = None
        self._write_thread = ThreadPoolExecutor(1, "stan-store-writer")
        self._ready = False

    async def write(self, step: Step[T], *, patient: bool = False) -> T:
        return await self._run(self._write, step)

    async def read(self, step: Step[T]) -> T:
        if self._readers is None:
            # Loaded in a thread, so that nobody waits meanwhile who does not read.
            await asyncio.to_thread(importlib.import_module, "stan.store.sql.greenlets")
            self._readers = self._readers or self._make_readers()
        return await self._readers.read(step)

    async def look(self, step: Step[T]) -> T:
        return await self._run(self._write, step)  # a reader would have to be loaded first

    async def attend(self, found: bool) -> bool:
        return False

    async def notified(self) -> None:
        await asyncio.get_running_loop().create_future()  # a file tells nobody

    async def settle(self, step: Step[T]) -> T:
        await self._run(lambda _: self._drop_writer(), None)
        return await self.write(step)

    async def close(self) -> None:
        if self._ready:
            await self._run(lambda _: self._drop_writer(), None)
        self._write_thread.shutdown(wait=False)
        self._engine.dispose()
        if self._readers is not None:
            await self._readers.close()

    def _make_readers(self) -> "Greenlets":
        from stan.store.sql.greenlets import Greenlets

        url = self._source.url.set(drivername="sqlite+aiosqlite")
        location = self._source.location
        return Greenlets(url, self._connect_args, location, self.dialect, self._settings)

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
