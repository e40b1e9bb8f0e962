"""stan outbox: publish what stands in the outbox table, and look after what could not be.

`relay` is for a server that is not on that database; the server on the same one does it by
itself. Any number of relays may run. `parked` shows the rows that were set aside, `retry` moves
them back. Exit code 0 after an interrupt, 1 when it cannot go on, 2 for a command line that
cannot be understood.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import stan
from stan.cli.command import perform
from stan.cli.dial import connect_or_complain, connection_flags
from stan.cli.text import complain, leave, say
from stan.flags import Flag, Parsed, read_bool, read_count, usage
from stan.identifiers import new_id

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_WHERE = [
    Flag(("database", "sql_source"), "SQLAlchemy URL of the database, else STAN_SQL_SOURCE", ""),
    Flag(("schema",), "schema of the table, when it is not the default one", ""),
]
FLAGS = [
    *_WHERE,
    Flag(("batch",), "rows to publish at a time", 500, read_count),
    Flag(("at_least_once",), "the server knows no msg_id: do without", False, read_bool),
    Flag(("once",), "publish what stands there, and end", False, read_bool),
    *connection_flags(""),
]
RETRY_FLAGS = [
    *_WHERE,
    Flag(("id",), "only the row with this number", 0, read_count),
]
USAGES = {
    "relay": usage("stan outbox relay [options]", FLAGS),
    "parked": usage("stan outbox parked [options]", _WHERE),
    "retry": usage("stan outbox retry [options]", RETRY_FLAGS),
}
USAGE = "Usage: stan outbox relay | parked | retry [options]"
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code. `argv` begins with what to do."""
    what, rest = (argv[0] if argv else ""), argv[1:]
    if what == "relay":
        return perform(_relay, FLAGS, USAGES[what], (), rest)
    if what == "parked":
        return perform(_show_parked, _WHERE, USAGES[what], (), rest)
    if what == "retry":
        return perform(_retry, RETRY_FLAGS, USAGES[what], (), rest)
    complain(USAGE)
    return 0 if what in ("", "-h", "-help", "--help") else 2


async def _relay(parsed: Parsed) -> int:
    engine = _open(parsed["database"] or os.environ.get("STAN_SQL_SOURCE", ""))
    if engine is None:
        return 1
    # Any number of them may run.
    connection = await connect_or_complain(parsed, parsed["id"] or f"outbox-relay-{new_id()}")
    if connection is None:
        return 1
    try:
        relay = stan.OutboxRelay(
            engine,
            connection,
            schema=parsed["schema"] or None,
            batch_rows=parsed["batch"],
            at_least_once=parsed["at_least_once"],
        )
        return await (_relay_once(relay) if parsed["once"] else _relay_on(relay))
    except stan.StanError as error:
        complain(f"stan outbox relay: {error}")
        return 1
    finally:
        await connection.close()
        await engine.dispose()


async def _relay_once(relay: stan.OutboxRelay) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        while await relay.relay_once():
            pass
    except (SQLAlchemyError, OSError) as error:
        complain(f"stan outbox relay: {str(error).splitlines()[0]}")
        return 1
    say(f"published {relay.published}, parked {relay.parked}")
    return 0


async def _relay_on(relay: stan.OutboxRelay) -> int:
    running = asyncio.ensure_future(relay.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    say("relaying; stop with Ctrl-C")
    with suppress(asyncio.CancelledError):
        await running
    say(f"published {relay.published}, parked {relay.parked}")
    return 0


async def _show_parked(parsed: Parsed) -> int:
    async def show(db: "AsyncConnection", parked: "Table", table: "Table") -> None:
        count = 0
        for row in await db.execute(parked.select().order_by(parked.c.id)):
            say(f"{row.id}  {row.parked_at}  [{row.channel}]  {len(row.data)} bytes: {row.reason}")
            count += 1
        say(f"{count} parked")

    return await _look_after(parsed, show)


async def _retry(parsed: Parsed) -> int:
    async def move_back(db: "AsyncConnection", parked: "Table", table: "Table") -> None:
        names = ("channel", "data", "reply", "msg_id", "created_at")
        found = parked.select().order_by(parked.c.id)
        if parsed["id"]:
            found = found.where(parked.c.id == parsed["id"])
        rows = list(await db.execute(found))
        for row in rows:
            await db.execute(table.insert().inline(), {name: getattr(row, name) for name in names})
            await db.execute(parked.delete().where(parked.c.id == row.id))
        say(f"{len(rows)} moved back")

    return await _look_after(parsed, move_back)


async def _look_after(
    parsed: Parsed, work: "Callable[[AsyncConnection, Table, Table], Awaitable[None]]"
) -> int:
    """Do something with the tables, in one transaction."""
    from sqlalchemy import MetaData
    from sqlalchemy.exc import SQLAlchemyError

    engine = _open(parsed["database"] or os.environ.get("STAN_SQL_SOURCE", ""))
    if engine is None:
        return 1
    metadata, schema = MetaData(), parsed["schema"] or None
    tables = stan.outbox_parked_table(metadata, schema), stan.outbox_table(metadata, schema)
    try:
        async with engine.begin() as db:
            await work(db, *tables)
    except (SQLAlchemyError, OSError) as error:
        complain(f"stan outbox: {str(error).splitlines()[0]}")
        return 1
    finally:
        await engine.dispose()
    return 0


def _open(source: str) -> "AsyncEngine | None":
    """The database; None, after telling the user, when the words make no sense."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.ext.asyncio import create_async_engine

    if not source:
        complain("stan outbox: no database is named (--database, or STAN_SQL_SOURCE)")
        return None
    try:
        url = make_url(source if "://" in source else f"sqlite:///{source}")
        driver = _DRIVERS.get(url.drivername)
        return create_async_engine(url.set(drivername=driver) if driver else url)
    except (ArgumentError, NoSuchModuleError) as error:
        complain(f"stan outbox: this is no database URL: {str(error).splitlines()[0]}")
    except ImportError as error:
        complain(f"stan outbox: the database's driver is missing: pip install {error.name}")
    return None


def run() -> NoReturn:
    """The console script."""
    leave(main)
