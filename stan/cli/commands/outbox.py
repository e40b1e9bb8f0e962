"""stan outbox: the relay, and the rows that could not become messages.

They are those of the server's own database, by its admin service; with `--database` those of any
database, by SQL. What is said is the same.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from stan.cli import outbox as relaying
from stan.cli.arguments import destroying, json_option
from stan.cli.asking import confirm, list_rows, request
from stan.cli.group import Group
from stan.cli.tables import (
    Column,
    Row,
    ago,
    is_terminal,
    number_column,
    show_json,
    show_table,
    size,
    tell,
)
from stan.cli.text import complain
from stan.transactions.parking import Parking

T = TypeVar("T")
_MOST_ROWS = 10_000
TABLE = (
    number_column("Row", "id"),
    Column("Channel", "channel", style="cyan"),
    Column("Size", "size_bytes", size),
    Column("Message ID", "msg_id"),
    Column("Parked", "parked_time", ago),
    Column("Reason", "reason"),
)

outbox = Group("outbox", help="Publish an outbox table; look after the rows that cannot be.")
_database = click.option(
    "--database",
    envvar="STAN_SQL_SOURCE",
    help="SQLAlchemy URL of the database, instead of the server's own [env: STAN_SQL_SOURCE]",
)
_schema = click.option("--schema", help="Schema of the tables, with --database.")
_row = click.option("--id", "row_id", type=click.IntRange(1), help="Only the row of this number.")
_all = click.option("--all", "is_all", is_flag=True, help="All rows.")


@outbox.command("relay")
@click.option(
    "--database",
    envvar="STAN_SQL_SOURCE",
    default="",
    help="SQLAlchemy URL of the database [env: STAN_SQL_SOURCE]",
)
@click.option("--schema", help="schema of the table, when it is not the default one")
@click.option("--batch", type=click.IntRange(1), default=500, help="rows to publish at a time")
@click.option("--at-least-once", is_flag=True, help="the server knows no msg_id: do without")
@click.option("--once", is_flag=True, help="publish what stands there, and end")
@click.option("--id", "client_id", help="client ID to connect with")
def relay(
    database: str,
    schema: str | None,
    batch: int,
    at_least_once: bool,
    once: bool,
    client_id: str | None,
) -> int:
    """Publish the rows of a database that is not the server's."""
    work = relaying.relay(database, schema, batch, at_least_once, once, client_id)
    return asyncio.run(work)


@outbox.command("parked")
@_database
@_schema
@json_option
def parked(database: str | None, schema: str | None, as_json: bool) -> None:
    """List the rows that were set aside, and why."""
    if database:
        rows = _work(database, schema, lambda parking: parking.read(limit=_MOST_ROWS))
    else:
        rows = list_rows("outbox.list", "rows")
    if as_json:
        show_json(rows)
    elif rows or not is_terminal():
        show_table(TABLE, rows)
    else:
        complain("nothing is parked")


@outbox.command("retry")
@_row
@_all
@_database
@_schema
@json_option
def retry(
    row_id: int | None, is_all: bool, database: str | None, schema: str | None, as_json: bool
) -> None:
    """Move rows back into the outbox: all, or one."""
    _require_choice(row_id, is_all, is_needed=False)
    if database:
        row = {"moved": _work(database, schema, lambda parking: parking.retry(row_id))}
    else:
        row = request("outbox.retry", **_which(row_id))
    tell(row, as_json, f"{_count(row['moved'])} moved back.")


@outbox.command("drop")
@_row
@_all
@_database
@_schema
@destroying
@json_option
def drop(
    row_id: int | None,
    is_all: bool,
    database: str | None,
    schema: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Throw rows away: all, or one."""
    _require_choice(row_id, is_all, is_needed=True)
    if dry_run or not force:
        if database:
            found = _work(database, schema, lambda parking: parking.count(row_id))
        else:
            found = request("outbox.drop", **_which(row_id), dry_run=True)["dropped"]
        if dry_run:
            tell({"dropped": found, "dry_run": True}, as_json, f"Would drop {_count(found)}.")
            return
        confirm(f"Drop {_count(found)}?", force)
    if database:
        row: Row = {"dropped": _work(database, schema, lambda parking: parking.drop(row_id))}
    else:
        row = request("outbox.drop", **_which(row_id))
    tell(row, as_json, f"{_count(row['dropped'])} dropped.")


def _require_choice(row_id: int | None, is_all: bool, *, is_needed: bool) -> None:
    if row_id is not None and is_all:
        raise click.UsageError("give either --id or --all")
    if is_needed and row_id is None and not is_all:
        raise click.UsageError("which rows? give --id, or --all")


def _which(row_id: int | None) -> dict[str, Any]:
    return {"all": True} if row_id is None else {"id": row_id}


def _count(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _work(database: str, schema: str | None, step: Callable[[Parking], Awaitable[T]]) -> T:
    """Do something with the parked rows of this database. Raises ClickException, and Exit."""
    from sqlalchemy.exc import SQLAlchemyError

    engine = relaying.open_database(database)
    if engine is None:
        raise click.exceptions.Exit(1)

    async def work() -> T:
        try:
            return await step(Parking(engine, schema))
        finally:
            await engine.dispose()

    try:
        return asyncio.run(work())
    except (SQLAlchemyError, OSError) as error:
        raise click.ClickException(str(error).splitlines()[0]) from None
