"""PostgreSQL's ways, by asyncpg: COPY for many messages, one prepared statement for few.

Every session limits how long it may hold locks, so that a connection which died in the
middle of a transaction does not keep its successor out.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from stan.errors import ConfigError
from stan.store.flavor import Fault, first_line, insert_sql
from stan.store.rows import MESSAGE_COLUMNS

if TYPE_CHECKING:
    from stan.store.session import Row, Session

_COPY_FROM_ROWS = 16
_SYNCHRONOUS = {"full": "on", "normal": "off", "off": "off"}
_INSERT_SQL = (
    "INSERT INTO stan_messages (channel_id, sequence, timestamp_ns, position, reply, data) "
    "SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], "
    "?::text[], ?::bytea[])"
)
# SQLSTATE classes and codes that pass by themselves.
_UNAVAILABLE = ("40", "53300", "55P03", "57014", "53400")
_LOST = ("08", "57P", "25P03")
_REASONS = {
    "28P01": "the password is wrong",
    "28000": "the login is not allowed",
    "3D000": "there is no such database",
    "42501": "rights are missing",
    "53100": "the database's disk is full",
}


class PostgresFlavor:
    """See stan.store.flavor.Flavor."""

    name = "postgres"
    begin_sql = "BEGIN"
    now_ms_sql = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    lock_schema_sql: tuple[str, ...] = ("BEGIN", "SELECT pg_advisory_xact_lock(6001823417)")
    unlock_schema_sql: tuple[str, ...] = ("COMMIT",)

    def __init__(self, durability: str) -> None:
        if durability not in _SYNCHRONOUS:
            raise ConfigError(f'durability "{durability}" is none of full, normal, off')
        self._synchronous = _SYNCHRONOUS[durability]

    def mark(self, sql: str) -> str:
        return _mark(sql)

    def setup_sql(self, timeout_s: float) -> Sequence[str]:
        timeout_ms = int(timeout_s * 1000)
        return (
            f"SET synchronous_commit = {self._synchronous}",
            f"SET lock_timeout = {timeout_ms // 2}",
            f"SET idle_in_transaction_session_timeout = {timeout_ms}",
        )

    def upsert_sql(self, table: str, columns: Sequence[str]) -> str:
        changes = ", ".join(f"{name}=excluded.{name}" for name in columns[1:])
        return f"{insert_sql(table, columns)} ON CONFLICT ({columns[0]}) DO UPDATE SET {changes}"

    def insert_messages(self, session: "Session", rows: "list[Row]") -> None:
        if len(rows) >= _COPY_FROM_ROWS:
            copy_rows(session, "stan_messages", MESSAGE_COLUMNS, rows)
        else:
            session.execute(_INSERT_SQL, [list(column) for column in zip(*rows, strict=True)])

    def judge(self, error: Exception) -> tuple[Fault, str]:
        words = first_line(error)
        state = str(getattr(error, "sqlstate", None) or "")
        if not state:
            cause = error.__cause__ or error
            state = str(getattr(cause, "sqlstate", None) or "")
            words = first_line(cause)
        if not state and isinstance(error.__cause__, ValueError):
            return Fault.REFUSED, f"PostgreSQL: {words}"
        if not state:
            return Fault.LOST, f"the connection to PostgreSQL failed: {words}"
        if state.startswith(_LOST):
            return Fault.LOST, f"PostgreSQL ended the connection: {words}"
        if state.startswith(_UNAVAILABLE):
            return Fault.UNAVAILABLE, f"PostgreSQL: {words}"
        reason = _REASONS.get(state)
        return Fault.REFUSED, f"PostgreSQL: {reason}: {words}" if reason else f"PostgreSQL: {words}"


def copy_rows(
    session: "Session", table: str, columns: Sequence[str], rows: "Sequence[Row]"
) -> None:
    """Send the rows by COPY, in the session's transaction."""

    async def copy(driver: Any) -> None:
        await driver.copy_records_to_table(table, records=rows, columns=columns)

    adapted: Any = session.connection.connection.dbapi_connection
    adapted.run_async(copy)


@cache
def _mark(sql: str) -> str:
    parts = sql.split("?")
    marked = (f"{part}${number}" for number, part in enumerate(parts[:-1], 1))
    return "".join(marked) + parts[-1]
