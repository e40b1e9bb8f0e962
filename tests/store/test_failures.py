"""What a driver raised, as one of the five errors: whether anything was applied, and a line
that an operator understands."""

import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from stan.errors import (
    ConfigError,
    LeaseLostError,
    SchemaError,
    StoreError,
    StoreOutcomeUnknownError,
    StoreRefusedError,
    StoreUnavailableError,
)
from stan.store.sql import schema
from stan.store.sql.dialect import Dialect, Phase, Session
from stan.store.sql.failures import explain
from stan.store.sql.mysql import MysqlDialect, _statement_end
from stan.store.sql.mysql_script import MOST_PAYLOAD_BYTES
from stan.store.sql.postgres import PostgresDialect
from stan.store.sql.sqlite import SqliteDialect
from stan.store.sql.store import SqlStore

from .conftest import Place
from .records import Writer

SQLITE, POSTGRES, MYSQL = SqliteDialect("full"), PostgresDialect("full"), MysqlDialect("full")


def sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("words")
    error.sqlite_errorname = name
    return error


def postgres_error(state: str) -> Exception:
    error = Exception("words")
    error.sqlstate = state  # type: ignore[attr-defined]
    return error


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("dialect", "error", "kind", "words", "drops"),
    [
        (SQLITE, sqlite_error("SQLITE_IOERR_FSYNC"), StoreUnavailableError, "input/output", True),
        (SQLITE, sqlite_error("SQLITE_BUSY_SNAPSHOT"), StoreUnavailableError, "words", False),
        (SQLITE, sqlite_error("SQLITE_FULL"), StoreRefusedError, "no space is left", False),
        (SQLITE, sqlite_error("SQLITE_NOTADB"), StoreRefusedError, "not an SQLite data", False),
        (SQLITE, sqlite_error("SQLITE_CONSTRAINT"), StoreRefusedError, "SQLite: words", False),
        (SQLITE, sqlite3.ProgrammingError("closed"), StoreUnavailableError, "closed", True),
        (POSTGRES, postgres_error("57P01"), StoreUnavailableError, "ended the connection", True),
        (POSTGRES, postgres_error("40001"), StoreUnavailableError, "PostgreSQL: words", False),
        (POSTGRES, postgres_error("42P01"), StoreRefusedError, "PostgreSQL: ", False),
        (POSTGRES, Exception("gone"), StoreUnavailableError, "to PostgreSQL failed: gone", True),
        (
            POSTGRES,
            caused(Exception("wrapped"), postgres_error("42P01")),
            *(StoreRefusedError, "PostgreSQL: .*words", False),
        ),
        (
            POSTGRES,
            caused(Exception("wrapped"), ValueError("bad option")),
            *(StoreRefusedError, "PostgreSQL: bad option", False),
        ),
        (MYSQL, Exception("gone"), StoreUnavailableError, "to MySQL failed", True),
        (MYSQL, Exception(2013, "gone"), StoreUnavailableError, "to MySQL failed", True),
        (MYSQL, Exception(1205, "busy"), StoreUnavailableError, "MySQL: .*busy", False),
        (MYSQL, Exception(1064, "syntax"), StoreRefusedError, "MySQL: .*syntax", False),
        (SQLITE, PoolTimeoutError(), StoreUnavailableError, "every .* connection is busy", False),
        (SQLITE, TimeoutError(), StoreUnavailableError, "did not answer in time", True),
        (SQLITE, ConnectionResetError("cut"), StoreUnavailableError, "cannot be reached", True),
        (SQLITE, ArgumentError("odd"), StoreRefusedError, "odd", False),
        (SQLITE, ZeroDivisionError("a bug"), StoreRefusedError, "a defect in the store", False),
        (
            SQLITE,
            DBAPIError("SELECT", (), sqlite_error("SQLITE_BUSY"), connection_invalidated=True),
            *(StoreUnavailableError, "words", True),
        ),
    ],
)
def test_an_error_before_the_commit_leaves_nothing_applied(
    dialect: Dialect, error: Exception, kind: type[StoreError], words: str, drops: bool
) -> None:
    failure, dropped = explain(error, Phase.OPEN, dialect)
    assert type(failure) is kind
    assert dropped is drops
    with pytest.raises(kind, match=words):
        raise failure


@pytest.mark.parametrize(
    ("dialect", "error"),
    [
        (SQLITE, sqlite_error("SQLITE_IOERR")),
        (POSTGRES, postgres_error("57P01")),
        (MYSQL, Exception(2006, "gone")),
        (MYSQL, TimeoutError()),
    ],
)
def test_a_connection_lost_during_the_commit_is_no_answer(
    dialect: Dialect, error: Exception
) -> None:
    failure, dropped = explain(error, Phase.COMMITTING, dialect)
    assert type(failure) is StoreOutcomeUnknownError
    assert dropped


def test_an_error_of_ours_stays_what_it_is() -> None:
    lost = LeaseLostError("taken over")
    assert explain(lost, Phase.OPEN, SQLITE) == (lost, False)
    assert explain(lost, Phase.COMMITTING, SQLITE) == (lost, True)


async def test_without_its_row_a_store_is_not_recovered(sqlite_place: Place) -> None:
    store = await sqlite_place.opened()
    assert isinstance(store, SqlStore)
    await store._database.write(lambda session: session.run_alone("DELETE FROM stan_server"))
    with pytest.raises(SchemaError, match="the row of the server is missing"):
        await store.recover()


async def test_an_empty_run_stores_nothing(place: Place) -> None:
    store = await place.opened()
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [], 1000)
    ((_, bounds),) = (await store.recover()).channels
    assert (bounds.kept, bounds.last_sequence) == (0, 0)


def test_migrations_that_were_not_shipped_are_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(schema, "__file__", str(tmp_path / "stan" / "store" / "sql" / "schema.py"))
    with pytest.raises(SchemaError, match="missing from this installation"):
        schema.find_migrations()


def test_mysql_says_who_keeps_the_schema() -> None:
    class Refusing:
        def fetch_one(self, sql: str) -> tuple[int]:
            return (0,)

    with pytest.raises(StoreUnavailableError, match="another server is changing the schema"):
        MYSQL.lock_schema(cast(Session, Refusing()))


def test_a_statement_of_mysql_ends_before_it_is_too_long_for_it() -> None:
    row = (1, 1, 1, 1, "", b"x" * 600_000)
    rows = [row] * 100
    ends = [0]
    while ends[-1] < len(rows):
        ends.append(_statement_end(rows, ends[-1]))
    assert len(ends) > 10
    for start, end in pairwise(ends):
        assert end - start == 1 or (end - start) * 600_000 <= MOST_PAYLOAD_BYTES


def test_postgres_refuses_a_durability_that_is_none() -> None:
    with pytest.raises(ConfigError, match='durability "maybe" is none of full, normal, off'):
        PostgresDialect("maybe")
