"""One database connection as the store uses it, and what differs between databases.

The steps of the store are plain functions over a Session: blocking calls, explicit
transactions, statements with `?` marks. On SQLite a whole step runs in the connection's
thread (one hop a commit); for PostgreSQL and MySQL the same step runs in SQLAlchemy's
greenlet over the asynchronous driver. The steps are written once; whatever databases spell
differently is behind the Protocol Dialect, which sqlite, postgres and mysql fill.
Invariants: a dialect holds no state of a connection; `phase` tells, when an exception comes
out, what may have happened.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any, Protocol

from sqlalchemy import Connection

from stan.store.sql.rows import Row
from stan.store.sql.runs import StoredRun


class Fault(Enum):
    """What a driver's error means to the one who asked."""

    UNAVAILABLE = "nothing was applied, trying again makes sense"
    REFUSED = "nothing was applied, trying again will not help by itself"
    LOST = "the connection is gone, or may as well be"


class Phase(Enum):
    IDLE = "no transaction is open"
    OPEN = "a transaction is open; losing the connection undoes it"
    COMMITTING = "COMMIT was sent and not answered"


class Session:
    """Statements on a connection that is in autocommit mode as far as the driver knows."""

    def __init__(self, connection: Connection, dialect: "Dialect") -> None:
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


class AtOnce(Protocol):
    """Batches written as one transaction in one exchange."""

    def fits(self, runs: list[StoredRun], rows: int) -> bool:
        """Whether a batch of these runs and so many other rows is not too much for that."""
        ...

    def write(
        self,
        session: Session,
        fence: Row,
        runs: list[StoredRun],
        sweeps: list[Row],
        channels: list[Row],
        subscriptions: list[Row],
        published: Row | None,
        taken: list[int],
    ) -> bool:
        """Commit messages, bounds, subscriptions, the record of guids and what was taken from
        the outbox table.

        `fence` is (batch number, lease in milliseconds, epoch), a sweep the (channel ID,
        first sequence, end) of rows to remove. False: the epoch is not ours any more,
        nothing was written.
        """
        ...

    def find_first(self, session: Session, walks: list[Row]) -> list[Row]:
        """Where many channels begin, by one query. A walk is (channel ID, first sequence, end,
        lowest timestamp, lowest position), a row (channel ID, sequence, position, timestamp)
        of the first message that fits; there is none where no message does."""
        ...


class Dialect(Protocol):
    """How one kind of database spells things."""

    name: str
    driver_package: str
    """What to install for it."""
    begin_sql: str
    now_ms_sql: str
    """The database's clock in Unix milliseconds."""
    unless_migrating_sql: str
    """What a statement that takes the lease asks for besides, where a schema's upgrade is no
    transaction that holds the row of the server."""
    at_once: AtOnce | None
    """How a batch is written in one exchange; None where that cannot be."""
    outbox_data_sql: str
    """The data of a row of the outbox table `o`, as bytes."""

    def mark(self, sql: str) -> str:
        """`sql` with the driver's parameter marks in place of `?`."""
        ...

    def setup_sql(self, timeout_s: float, lease_s: float) -> Sequence[str]:
        """What every new connection is told first."""
        ...

    def lock_schema(self, session: Session) -> None:
        """Keep other starters out while the schema is changed."""
        ...

    def unlock_schema(self, session: Session) -> None:
        """Let them in again; the changes are durable."""
        ...

    def upsert_sql(self, table: str, columns: Sequence[str]) -> str:
        """Insert a row, or replace the one with the same key, the first column."""
        ...

    def insert_messages(self, session: Session, runs: list[StoredRun]) -> None:
        """Put the messages into stan_messages, fast."""
        ...

    def delete_outbox(self, session: Session, row_ids: list[int]) -> None:
        """Remove rows of the outbox table, a few hundred at most."""
        ...

    def control(self, session: Session, sql: str) -> None:
        """Run BEGIN, COMMIT or ROLLBACK."""
        ...

    def abort(self, driver: Any) -> None:
        """Let go of a connection in doubt at once, without a word to the other side."""
        ...

    def judge(self, error: Exception) -> tuple[Fault, str]:
        """What the driver's error means, and a line that says it to the operator."""
        ...


def insert_sql(table: str, columns: Sequence[str], rows: int = 1) -> str:
    """A multi-row INSERT with `?` marks."""
    marks = "(" + ",".join("?" * len(columns)) + ")"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES " + ",".join([marks] * rows)


def first_line(error: BaseException) -> str:
    """The error's own words, on one line."""
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def flatten(rows: Sequence[Row]) -> list[Any]:
    """The parameters of a multi-row statement."""
    return [value for row in rows for value in row]
