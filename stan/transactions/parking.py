"""Rows of the outbox that were set aside: shown, moved back, thrown away.

Of one database, whoever set them aside, the server or a relay. A row that is moved back goes the
way of a new one, and gets a new number. Invariant: a row stands in one of the two tables, or
was thrown away on purpose; two who move back at once move each row once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stan.transactions.tables import outbox_parked_table, outbox_table

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_IDS_PER_STATEMENT = 500
_MOVED = ("channel", "data", "reply", "msg_id", "created_at")


class Parking:
    """The parked rows of this engine's database. What is wrong with it is raised as SQLAlchemy
    does."""

    def __init__(self, engine: AsyncEngine, schema: str | None = None) -> None:
        from sqlalchemy import MetaData

        metadata = MetaData()
        self._engine = engine
        self._parked = outbox_parked_table(metadata, schema)
        self._table = outbox_table(metadata, schema)

    async def count(self, row_id: int | None = None) -> int:
        """How many rows are parked, or whether this one is: 0 or 1."""
        from sqlalchemy import func, select

        counting = select(func.count()).select_from(self._parked)
        async with self._engine.connect() as db:
            return int(await db.scalar(self._only(counting, row_id)) or 0)

    async def read(self, offset: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows in the order of their numbers, as the admin service tells them."""
        from sqlalchemy import func, select

        parked = self._parked
        names = ("id", "channel", "reply", "msg_id", "created_at", "parked_at", "reason")
        columns = [parked.c[name] for name in names]
        found = select(*columns, func.length(parked.c.data).label("size"))
        async with self._engine.connect() as db:
            rows = await db.execute(found.order_by(parked.c.id).offset(offset).limit(limit))
            return [_describe(row) for row in rows]

    async def retry(self, row_id: int | None = None) -> int:
        """Move rows back into the outbox, all or this one; how many."""
        async with self._engine.begin() as db:
            return await self._settle(db, row_id, moves=True)

    async def drop(self, row_id: int | None = None) -> int:
        """Throw rows away, all that are there now or this one; how many."""
        async with self._engine.begin() as db:
            return await self._settle(db, row_id, moves=False)

    async def _settle(self, db: AsyncConnection, row_id: int | None, *, moves: bool) -> int:
        from sqlalchemy import select

        parked = self._parked
        # Whoever comes second waits here, and finds nothing.
        locked = self._only(select(parked.c.id), row_id).order_by(parked.c.id).with_for_update()
        ids = list(await db.scalars(locked))
        settled = 0
        for start in range(0, len(ids), _IDS_PER_STATEMENT):
            these = parked.c.id.in_(ids[start : start + _IDS_PER_STATEMENT])
            if moves:
                columns = [parked.c[name] for name in _MOVED]
                found = select(*columns).where(these).order_by(parked.c.id)
                await db.execute(self._table.insert().from_select(_MOVED, found))
            settled += (await db.execute(parked.delete().where(these))).rowcount
        return settled

    def _only(self, statement: Select[Any], row_id: int | None) -> Select[Any]:
        return statement if row_id is None else statement.where(self._parked.c.id == row_id)


def _describe(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "channel": row.channel,
        "size_bytes": row.size,
        "reply": row.reply or "",
        "msg_id": row.msg_id or "",
        "created_time": _format(row.created_at),
        "parked_time": _format(row.parked_at),
        "reason": row.reason,
    }


def _format(moment: Any) -> str:
    """A time of the database, which is UTC whether or not it says so."""
    if not isinstance(moment, datetime):
        return str(moment or "")
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{zoned:%Y-%m-%dT%H:%M:%S.%f}Z"
