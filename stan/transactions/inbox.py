"""An inbox: what a message causes and the mark that it was done are one transaction.

The mark is a row: consumer, sequence and the time at which the server stored the message. A
channel that was deleted and begun anew counts from 1 again, but its messages are of other times, so
nothing of it is taken for done. The row is written first: whoever else does the same message, as a
member of a group may after a redelivery, waits for the outcome. Works with any server.
Invariant: a message is acknowledged only when its mark is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from stan.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import MetaData, Table
    from sqlalchemy.ext.asyncio import AsyncSession

_NAME = "stan_inbox"
# A redelivery of what was acknowledged comes within moments, or when a client is back.
KEEP_S = 7 * 86_400.0
_PRUNE_INTERVAL_S = 600.0

MakeSession = Callable[[], "AsyncSession"]


class Delivered(Protocol):
    """What an inbox needs to know of a message."""

    @property
    def sequence(self) -> int: ...
    @property
    def timestamp(self) -> int: ...


def inbox_table(metadata: MetaData, schema: str | None = None) -> Table:
    """The table stan_inbox in this metadata; the same one when it is asked for again."""
    from sqlalchemy import BigInteger, Column, Index, String, Table

    known = metadata.tables.get(f"{schema}.{_NAME}" if schema else _NAME)
    if known is not None:
        return known
    return Table(
        _NAME,
        metadata,
        Column("consumer", String(64), primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("timestamp_ns", BigInteger, primary_key=True, autoincrement=False),
        Column("done_ms", BigInteger, nullable=False),
        Index("stan_inbox_done", "consumer", "done_ms"),
        schema=schema,
    )


def name_consumer(cluster_id: str, client_id: str, channel: str, durable: str, queue: str) -> str:
    """What tells one that takes messages from all others: a group is one, whoever is in it."""
    who = ("group", durable, queue) if queue else ("client", client_id, durable)
    return sha256("\0".join((cluster_id, channel, *who)).encode()).hexdigest()


class Inbox:
    """Of one consumer, in the database that `make_session` leads to."""

    def __init__(self, make_session: MakeSession, consumer: str, keep_s: float = KEEP_S) -> None:
        if keep_s <= 0:
            raise ConfigError("stan: what was done must be remembered for a while (keep_s)")
        self._make_session = make_session
        self._consumer = consumer
        self._keep_s = keep_s
        self._pruned_s = time.monotonic()

    async def enter(self, db: AsyncSession, message: Delivered) -> bool:
        """Mark the message as done in this transaction. False when it was done before; nothing
        is left open then. Raises what the database raises."""
        from sqlalchemy.exc import IntegrityError

        table = _table()
        row = {
            "consumer": self._consumer,
            "sequence": message.sequence,
            "timestamp_ns": message.timestamp,
            "done_ms": int(time.time() * 1000),
        }
        try:
            await db.execute(table.insert().inline(), row)
        except IntegrityError:
            await db.rollback()
            return False
        return True

    async def prune(self) -> None:
        """Now and then forget what was done long ago."""
        now_s = time.monotonic()
        if now_s - self._pruned_s < min(_PRUNE_INTERVAL_S, self._keep_s):
            return
        self._pruned_s = now_s
        table = _table()
        before_ms = int((time.time() - self._keep_s) * 1000)
        old = (table.c.consumer == self._consumer) & (table.c.done_ms < before_ms)
        async with self._make_session() as db:
            await db.execute(table.delete().where(old))
            await db.commit()


@cache
def _table() -> Any:
    from sqlalchemy import MetaData

    return inbox_table(MetaData())
