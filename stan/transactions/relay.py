"""A relay: what stands in the outbox table of one database is published to a server elsewhere.

It reads rows, publishes them in their order, and removes them when they are stored. Each is
published with a message ID, so that the server stores it once also when the relay dies between
the two, or several relays work at the same time. One of them works, as far as the database has
locks; the others wait to take its place. Invariant: a row is removed only when its message is
stored, or it was parked with a reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from stan.errors import (
    ConfigError,
    ConnectionClosedError,
    ConnectionLostError,
    PayloadTooLargeError,
    PublishError,
    StanError,
)
from stan.transactions.tables import outbox_parked_table, outbox_table

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_log = logging.getLogger("stan.outbox")

SHORTEST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
_RETRY_S = 1.0
_LOCKS = {
    "postgresql": "SELECT pg_try_advisory_lock(6001823418)",
    "mysql": "SELECT GET_LOCK(CONCAT('stan_outbox_', MD5(DATABASE())), 0)",
    "mariadb": "SELECT GET_LOCK(CONCAT('stan_outbox_', MD5(DATABASE())), 0)",
}
# What the server says of a message that it will not take another time either.
_LASTING = ("too many channels", "different cases not allowed")


class Publisher(Protocol):
    """What a relay needs of a `stan.Connection`."""

    async def publish_async(
        self, channel: str, data: bytes, *, msg_id: str = ""
    ) -> Awaitable[Any]: ...


class OutboxRelay:
    """Moves rows of `engine`'s database to the server of `connection`; both stay the caller's.

    `at_least_once` publishes without message IDs, for a server that does not know them: after a
    crash some messages may then come twice.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        connection: Publisher,
        *,
        schema: str | None = None,
        batch_rows: int = 500,
        at_least_once: bool = False,
    ) -> None:
        from sqlalchemy import MetaData

        if batch_rows < 1:
            raise ConfigError("stan: batch_rows must be positive")
        metadata = MetaData()
        self.published = 0
        self.parked = 0
        self._engine = engine
        self._connection = connection
        self._table = outbox_table(metadata, schema)
        self._parked_table = outbox_parked_table(metadata, schema)
        self._batch_rows = batch_rows
        self._at_least_once = at_least_once
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look now: somebody has committed rows."""
        self._woken.set()

    async def run(self) -> None:
        """Relay until cancelled. What is wrong with the database passes, and is logged. Raises
        ConnectionClosedError or ConnectionLostError when the connection is gone for good, and
        ConfigError when the server does not know message IDs."""
        from sqlalchemy.exc import SQLAlchemyError

        while True:
            try:
                async with self._engine.connect() as reader:
                    await reader.execution_options(isolation_level="AUTOCOMMIT")
                    try:
                        await self._run_on(reader)
                    finally:
                        await reader.invalidate()  # and with it the lock
            except (SQLAlchemyError, OSError) as error:
                _log.warning("the outbox cannot be read, trying again: %s", _first_line(error))
            await asyncio.sleep(_RETRY_S)

    async def _run_on(self, reader: AsyncConnection) -> None:
        if not await self._lock(reader):
            return  # another relay works
        pause_s = SHORTEST_PAUSE_S
        while True:
            self._woken.clear()
            if await self._relay_rows(reader):
                pause_s = SHORTEST_PAUSE_S
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
                    pause_s = SHORTEST_PAUSE_S
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def relay_once(self) -> int:
        """Relay what stands there now, at most a batch, whoever else does; how many rows."""
        async with self._engine.connect() as reader:
            await reader.execution_options(isolation_level="AUTOCOMMIT")
            return await self._relay_rows(reader)

    async def _lock(self, reader: AsyncConnection) -> bool:
        from sqlalchemy import text

        sql = _LOCKS.get(reader.dialect.name)
        return sql is None or bool(await reader.scalar(text(sql)))

    async def _relay_rows(self, reader: AsyncConnection) -> int:
        """Returns how many rows are gone from the table."""
        table = self._table
        wanted = table.select().order_by(table.c.id).limit(self._batch_rows)
        rows = list(await reader.execute(wanted))
        if not rows:
            return 0
        stored, unfit = await self._publish(rows)
        if stored or unfit:
            await self._settle(stored, unfit)
        else:
            await asyncio.sleep(_RETRY_S)
        self.published += len(stored)
        self.parked += len(unfit)
        return len(stored) + len(unfit)

    async def _publish(self, rows: list[Row[Any]]) -> tuple[list[int], dict[int, str]]:
        """The IDs of those that are stored, and why others never can be."""
        receipts: list[tuple[int, Awaitable[Any]]] = []
        stored: list[int] = []
        unfit: dict[int, str] = {}
        for row in rows:
            try:
                message_id = "" if self._at_least_once else self._message_id(row)
                data = _payload(row)
                receipt = await self._connection.publish_async(row.channel, data, msg_id=message_id)
            except (PublishError, PayloadTooLargeError) as error:
                unfit[row.id] = str(error)
            else:
                receipts.append((row.id, receipt))
        for row_id, receipt in receipts:
            try:
                await receipt
            except (ConnectionClosedError, ConnectionLostError):
                raise
            except PublishError as error:
                if any(words in str(error) for words in _LASTING):
                    unfit[row_id] = str(error)
                else:
                    _log.warning("row %d of the outbox waits: %s", row_id, error)
            except StanError as error:  # stored or not: it is published again
                _log.warning("row %d of the outbox is published again: %s", row_id, error)
            else:
                stored.append(row_id)
        return stored, unfit

    def _message_id(self, row: Row[Any]) -> str:
        """What tells this row's message from all others, those of other databases included."""
        if row.msg_id:
            return str(row.msg_id)
        name = f"{self._engine.url.database}|{row.id}|{row.created_at}|".encode()
        return f"outbox-{row.id}-{sha256(name + _payload(row)).hexdigest()[:24]}"

    async def _settle(self, stored: list[int], unfit: dict[int, str]) -> None:
        """Remove the rows, and set aside those that cannot be published."""
        table, parked = self._table, self._parked_table
        names = [column.name for column in table.columns]
        async with self._engine.begin() as connection:
            for row_id, reason in unfit.items():
                from sqlalchemy import literal, select

                _log.warning("row %d of the outbox is parked: %s", row_id, reason)
                found = select(*table.columns, literal(reason)).where(table.c.id == row_id)
                await connection.execute(parked.insert().from_select([*names, "reason"], found))
            gone = [*stored, *unfit]
            await connection.execute(table.delete().where(table.c.id.in_(gone)))


def _payload(row: Row[Any]) -> bytes:
    """What is to be published. SQLite keeps a text as a text, whatever the column says."""
    return row.data.encode() if isinstance(row.data, str) else bytes(row.data)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:300] or type(error).__name__


__all__ = ["OutboxRelay", "Publisher"]
