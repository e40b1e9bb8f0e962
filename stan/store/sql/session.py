"""One database connection as the store uses it: blocking calls, explicit transactions.

The steps of the store are plain functions over a Session. On SQLite a whole step runs in
the connection's thread (one hop a commit); for PostgreSQL and MySQL the same step runs in
SQLAlchemy's greenlet over the asynchronous driver. Statements carry `?` marks.
Invariant: `phase` tells, when an exception comes out, what may have happened.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from sqlalchemy import Connection

from stan.store.sql.dialect import Dialect

Row = tuple[Any, ...]


class Phase(Enum):
    IDLE = "no transaction is open"
    OPEN = "a transaction is open; losing the connection undoes it"
    COMMITTING = "COMMIT was sent and not answered"


class Session:
    """Statements on a connection that is in autocommit mode as far as the driver knows."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self.connection = connection
        self.dialect = dialect
        self.phase = Phase.IDLE
        self._dbapi = connection.connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; the number of rows it matched."""
        cursor = self._dbapi.cursor()
        try:
            cursor.execute(self.dialect.mark(sql), parameters)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """Run a statement once per row."""
        if len(rows) == 1:
            self.execute(sql, rows[0])
        elif rows:
            cursor = self._dbapi.cursor()
            try:
                cursor.executemany(self.dialect.mark(sql), rows)
            finally:
                cursor.close()

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a query; all its rows."""
        cursor = self._dbapi.cursor()
        try:
            cursor.execute(self.dialect.mark(sql), parameters)
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def fetch_one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of a query that gives one at most."""
        rows = self.fetch(sql, parameters)
        return rows[0] if rows else None

    def begin(self) -> None:
        """Open a transaction that may write."""
        self.dialect.control(self, self.dialect.begin_sql)
        self.phase = Phase.OPEN

    def commit(self) -> None:
        """End the transaction; it is durable when this returns."""
        self.phase = Phase.COMMITTING
        self.dialect.control(self, "COMMIT")
        self.phase = Phase.IDLE

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""
        if self.phase is not Phase.IDLE:
            self.dialect.control(self, "ROLLBACK")
            self.phase = Phase.IDLE

    def run_alone(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one writing statement as its own transaction."""
        self.begin()
        matched = self.execute(sql, parameters)
        self.commit()
        return matched
