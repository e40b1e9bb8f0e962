"""What differs between databases, as one Protocol; sqlite, postgres and mysql fill it.

The steps of the store are written once. Whatever they must spell differently is here and
nowhere else. Invariant: a dialect holds no state of a connection.
"""

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from stan.store.sql.rows import StoredRun
    from stan.store.sql.session import Row, Session


class Fault(Enum):
    """What a driver's error means to the one who asked."""

    UNAVAILABLE = "nothing was applied, trying again makes sense"
    REFUSED = "nothing was applied, trying again will not help by itself"
    LOST = "the connection is gone, or may as well be"


class AtOnce(Protocol):
    """Batches written as one statement that is a transaction in itself."""

    def write(
        self,
        session: "Session",
        fence: "Row",
        runs: "list[StoredRun]",
        sweeps: "list[Row]",
        channels: "list[Row]",
        subscriptions: "list[Row]",
        published: "Row | None",
    ) -> bool:
        """Commit messages, bounds, subscriptions and the record of guids as one statement
        that is a transaction.

        `fence` is (batch number, lease in milliseconds, epoch), a sweep the (channel ID,
        first sequence, end) of rows to remove. False: the epoch is not ours any more,
        nothing was written.
        """
        ...

    def find_first(self, session: "Session", walks: "list[Row]") -> "list[Row]":
        """Where many channels begin, by one query. A walk is (channel ID, first sequence, end,
        lowest timestamp, lowest position), a row (channel ID, sequence, position, timestamp)
        of the first message that fits; there is none where no message does."""
        ...


class Dialect(Protocol):
    """How one kind of database spells things."""

    name: str
    begin_sql: str
    now_ms_sql: str
    """The database's clock in Unix milliseconds."""
    lock_schema_sql: tuple[str, ...]
    """Statements that keep other starters out while the schema is changed."""
    unlock_schema_sql: tuple[str, ...]
    at_once: "AtOnce | None"
    """How a batch is written in one exchange; None where that cannot be."""

    def mark(self, sql: str) -> str:
        """`sql` with the driver's parameter marks in place of `?`."""
        ...

    def setup_sql(self, timeout_s: float, lease_s: float) -> Sequence[str]:
        """What every new connection is told first."""
        ...

    def upsert_sql(self, table: str, columns: Sequence[str]) -> str:
        """Insert a row, or replace the one with the same key, the first column."""
        ...

    def insert_messages(self, session: "Session", runs: "list[StoredRun]") -> None:
        """Put the messages into stan_messages, fast."""
        ...

    def control(self, session: "Session", sql: str) -> None:
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


def flatten(rows: "Sequence[Row]") -> list[Any]:
    """The parameters of a multi-row statement."""
    return [value for row in rows for value in row]
