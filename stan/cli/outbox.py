"""stan outbox relay: publish what stands in the outbox table of a database.

For a server that is not on that database; the server on the same one does it by itself. Any
number of relays may run. Exit code 0 after an interrupt, 1 when it cannot go on.
"""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import stan
from stan.cli.naming import own_client_id
from stan.cli.session import connect
from stan.cli.text import complain, say

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}


async def relay(
    source: str,
    schema: str | None,
    batch_rows: int,
    at_least_once: bool,
    once: bool,
    client_id: str | None,
) -> int:
    """Do it; returns the exit code. Raises StanErrors."""
    engine = open_database(source)
    if engine is None:
        return 1
    try:
        # Any number of them may run.
        async with await connect(client_id or own_client_id("outbox-relay")) as connection:
            working = stan.OutboxRelay(
                engine,
                connection,
                schema=schema,
                batch_rows=batch_rows,
                at_least_once=at_least_once,
            )
            return await (_relay_once(working) if once else _relay_on(working))
    finally:
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
        if _is_missing(url):  # SQLite would make an empty one
            complain(f"stan outbox: there is no database {url.database}")
            return None
        return create_async_engine(url.set(drivername=driver) if driver else url)
    except (ArgumentError, NoSuchModuleError) as error:
        complain(f"stan outbox: this is no database URL: {str(error).splitlines()[0]}")
    except ImportError as error:
        complain(f"stan outbox: the database's driver is missing: pip install {error.name}")
    return None


def _is_missing(url: "URL") -> bool:
    """Whether this is a file of SQLite's that does not exist."""
    path = url.database or ""
    is_file = url.get_backend_name() == "sqlite" and path and not path.startswith((":", "file:"))
    return bool(is_file) and not Path(path).exists()
