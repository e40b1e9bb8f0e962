"""stan outbox relay: publish what stands in the outbox table of a database.

For a server that is not on that database; the server on the same one does it by itself. Any
number of relays may run. Exit code 0 after an interrupt, 1 when it cannot go on, 2 for a command
line that cannot be understood.
"""

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import stan
from stan.cli.command import perform
from stan.cli.dial import connect_or_complain, connection_flags
from stan.cli.text import complain, say
from stan.flags import Flag, Parsed, read_bool, read_count, usage
from stan.identifiers import new_id

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

FLAGS = [
    Flag(("database", "sql_source"), "SQLAlchemy URL of the database, else STAN_SQL_SOURCE", ""),
    Flag(("schema",), "schema of the table, when it is not the default one", ""),
    Flag(("batch",), "rows to publish at a time", 500, read_count),
    Flag(("at_least_once",), "the server knows no msg_id: do without", False, read_bool),
    Flag(("once",), "publish what stands there, and end", False, read_bool),
    *connection_flags(""),
]
USAGE = usage("stan outbox relay [options]", FLAGS)
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    return perform(_relay, FLAGS, USAGE, (), argv)


async def _relay(parsed: Parsed) -> int:
    engine = open_database(parsed["database"] or os.environ.get("STAN_SQL_SOURCE", ""))
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


def open_database(source: str) -> "AsyncEngine | None":
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
