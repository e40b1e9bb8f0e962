"""The operations on the outbox of the server's own database: what was parked, and a wake-up.

The rows are an application's, not the engine's: they are looked after over a connection of their
own, as any program could by SQL. Invariant: nothing here holds a connection between two requests.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from stan.errors import AdminError
from stan.server.admin.reading import DEFAULT_ROWS, MOST_ROWS, Answer, Request, Served
from stan.server.admin.requests import choose
from stan.store.sql.sources import parse_source
from stan.transactions.parking import Parking


class Parked:
    """The endpoints about the outbox, on one server."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.reading: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "outbox.list": self.show,
            "outbox.wake": self.wake,
        }
        self.changing: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "outbox.retry": self.retry,
            "outbox.drop": self.drop,
        }

    async def show(self, request: Request) -> Answer:
        """A page of the rows that were set aside."""
        offset = int(request.get("offset", 0))
        limit = min(max(int(request.get("limit", DEFAULT_ROWS)), 1), MOST_ROWS)
        async with self._open() as parking:
            total = await parking.count()
            found = await parking.read(offset, limit)
        return {"total": total, "offset": offset, "rows": found}

    async def wake(self, _: Request) -> Answer:
        """Somebody has committed rows, and need not wait for the next look."""
        self._require()
        self._served.pump.administering.look_at_outbox()
        return {}

    async def retry(self, request: Request) -> Answer:
        """Move rows back into the outbox."""
        answer = await self._settle(request, "moved", lambda parking: parking.retry)
        if not request.get("dry_run"):
            await self.wake(request)
        return answer

    async def drop(self, request: Request) -> Answer:
        """Throw rows away."""
        return await self._settle(request, "dropped", lambda parking: parking.drop)

    async def _settle(
        self,
        request: Request,
        told: str,
        step: Callable[[Parking], Callable[[int | None], Awaitable[int]]],
    ) -> Answer:
        row_id = request["id"] if choose(request, "id", "all") == "id" else None
        async with self._open() as parking:
            found = await parking.count(row_id)
            if row_id is not None and not found:
                raise AdminError(404, f"row {row_id} is not parked")
            if request.get("dry_run"):
                return {told: found, "dry_run": True}
            return {told: await step(parking)(row_id)}

    def _require(self) -> None:
        if not self._served.config.outbox or self._served.config.store == "MEMORY":
            raise AdminError(409, "this server has no outbox: it needs a SQL store")

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Parking]:
        self._require()
        config = self._served.config
        source = parse_source(config.sql_driver, config.sql_source)
        is_file = source.family == "sqlite"
        url = source.url.set(drivername="sqlite+aiosqlite") if is_file else source.url
        engine = create_async_engine(url, connect_args=source.connect_args)
        try:
            yield Parking(engine)
        except (SQLAlchemyError, OSError) as error:
            first = str(error).split("\n", 1)[0]
            raise AdminError(503, f"the outbox cannot be reached: {first}") from None
        finally:
            await engine.dispose()
