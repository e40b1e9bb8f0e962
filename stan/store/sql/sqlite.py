"""SQLite's ways: one file, one writer, a thread for each connection.

WAL lets readers go on during a commit. Durability is `PRAGMA synchronous`, FULL unless
the operator asked for less.
"""

import os
import sqlite3
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from stan.errors import ConfigError
from stan.store.sql.dialect import AtOnce, Fault, Session, first_line, flatten, insert_sql
from stan.store.sql.outbox import delete_sql
from stan.store.sql.packing import INSERT_RUN, pack_run
from stan.store.sql.rows import MESSAGE_COLUMNS
from stan.store.sql.runs import StoredRun, message_rows

_SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}
_ROWS_PER_INSERT = 100
# From so many messages on a statement of their own is the quicker way.
_LEAST_PACKED = 12
_PAGE_BYTES = 8192
_UNAVAILABLE = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_INTERRUPT"}
_LOST = {"SQLITE_IOERR"}  # what a failed write left behind is known after opening anew


class SqliteDialect:
    """See stan.store.sql.dialect.Dialect."""

    name = "sqlite"
    driver_package = "aiosqlite"
    begin_sql = "BEGIN IMMEDIATE"
    now_ms_sql = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    unless_migrating_sql = ""
    at_once: AtOnce | None = None
    outbox_data_sql = "CAST(o.data AS BLOB)"

    def __init__(self, durability: str) -> None:
        if durability not in _SYNCHRONOUS:
            raise ConfigError(f'durability "{durability}" is none of full, normal, off')
        self._synchronous = _SYNCHRONOUS[durability]
        self._has_json = _has_json()

    def mark(self, sql: str) -> str:
        return sql

    def setup_sql(self, timeout_s: float, lease_s: float) -> Sequence[str]:
        return (
            f"PRAGMA busy_timeout={int(timeout_s * 1000)}",
            f"PRAGMA page_size={_PAGE_BYTES}",
            "PRAGMA journal_mode=WAL",
            f"PRAGMA synchronous={self._synchronous}",
            "PRAGMA cache_size=-16000",
        )

    def lock_schema(self, session: Session) -> None:
        session.begin()

    def unlock_schema(self, session: Session) -> None:
        session.commit()

    def upsert_sql(self, table: str, columns: Sequence[str]) -> str:
        changes = ", ".join(f"{name}=excluded.{name}" for name in columns[1:])
        return f"{insert_sql(table, columns)} ON CONFLICT ({columns[0]}) DO UPDATE SET {changes}"

    def insert_messages(self, session: Session, runs: list[StoredRun]) -> None:
        rest = []
        for run in runs:
            packed = None
            if len(run.payloads) >= _LEAST_PACKED and self._has_json:
                packed = pack_run(run)
            if packed is None:
                rest.append(run)
            for values in packed or ():
                session.execute(INSERT_RUN, values)
        rows = message_rows(rest)
        for start in range(0, len(rows), _ROWS_PER_INSERT):
            part = rows[start : start + _ROWS_PER_INSERT]
            session.execute(_insert_sql(len(part)), flatten(part))

    def delete_outbox(self, session: Session, row_ids: list[int]) -> None:
        session.execute(delete_sql(len(row_ids)), row_ids)

    def control(self, session: Session, sql: str) -> None:
        session.execute(sql)

    def abort(self, driver: Any) -> None:
        """Nothing: a file has no other side."""

    def judge(self, error: Exception) -> tuple[Fault, str]:
        words = first_line(error)
        name = str(getattr(error, "sqlite_errorname", ""))
        primary = "_".join(name.split("_")[:2])
        if primary in _LOST:
            return Fault.LOST, f"SQLite met an input/output error ({name}): {words}"
        if primary in _UNAVAILABLE:
            return Fault.UNAVAILABLE, f"SQLite: {words}"
        if primary == "SQLITE_FULL":
            return Fault.REFUSED, f"no space is left for the SQLite file: {words}"
        if primary == "SQLITE_NOTADB":
            return Fault.REFUSED, f"the file is not an SQLite database: {words}"
        if isinstance(error, sqlite3.ProgrammingError) and not name:
            return Fault.LOST, f"SQLite: {words}"
        return Fault.REFUSED, f"SQLite: {words}"


@cache
def _has_json() -> bool:
    """Whether this SQLite walks through JSON; before 3.38 one could be built without."""
    database = sqlite3.connect(":memory:")
    try:
        database.execute("SELECT value FROM json_each('[1]')")
    except sqlite3.OperationalError:
        return False
    finally:
        database.close()
    return True


def is_busy(error: Exception) -> bool:
    """Whether the file could not be had because somebody else has it right now."""
    return _error_name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def find_reason(path: Path, error: Exception) -> str:
    """The system's reason why SQLite cannot open the file, which it does not pass on. Empty
    when that is not what the error is about, or the system sees no reason."""
    if not _error_name(error).startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return ""
    try:
        try:
            os.close(os.open(path, os.O_RDWR))
        except FileNotFoundError:
            os.stat(path.parent)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644))
            path.unlink()
        if not os.access(path.parent, os.W_OK, effective_ids=True):
            return f"no file can be created in {path.parent}"  # such as its write-ahead log
    except OSError as refusal:
        return refusal.strerror or str(refusal)
    return ""


def _error_name(error: Exception) -> str:
    """SQLite's name of the error that SQLAlchemy wrapped."""
    return str(getattr(getattr(error, "orig", error), "sqlite_errorname", ""))


@cache
def _insert_sql(rows: int) -> str:
    return insert_sql("stan_messages", MESSAGE_COLUMNS, rows)
