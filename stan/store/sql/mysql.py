"""MySQL's and MariaDB's ways, by asyncmy: scripts whose values are spelled, kept below the
packet limit.

How durable a commit is, is decided by the server's innodb_flush_log_at_trx_commit, which
no session may change; so a weaker durability cannot be asked for here.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from stan.errors import ConfigError, StoreUnavailableError
from stan.store.sql.dialect import AtOnce, Fault, Session, first_line, insert_sql
from stan.store.sql.mysql_script import (
    MOST_PAYLOAD_BYTES,
    NOW_MS,
    MysqlAtOnce,
    run_script,
    spell_messages,
)
from stan.store.sql.outbox import delete_sql
from stan.store.sql.rows import MESSAGE_COLUMNS, Row
from stan.store.sql.runs import StoredRun, message_rows

_ROWS_PER_INSERT = 2000
# Of one payload, so that a statement stays below the least max_allowed_packet in use, 4 MB.
_MOST_SPELLED_BYTES = 1_500_000
_INSERT_ONE = insert_sql("stan_messages", MESSAGE_COLUMNS)
# Such locks are the server's, not the database's, and their names are short.
_SCHEMA_LOCK = "CONCAT('stan_schema_', MD5(DATABASE()))"
_SCHEMA_LOCK_S = 60
_UNAVAILABLE = {1040, 1203, 1205, 1213, 1226, 3024}
_LOST = {1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031}
_REASONS = {
    1021: "the database's disk is full",
    1114: "the table is full",
    1044: "the login may not use this database",
    1045: "user or password is wrong",
    1142: "rights are missing",
    1049: "there is no such database",
    1153: "the message is larger than max_allowed_packet",
}


class MysqlDialect:
    """See stan.store.sql.dialect.Dialect."""

    name = "mysql"
    driver_package = "asyncmy"
    begin_sql = "BEGIN"
    now_ms_sql = NOW_MS
    unless_migrating_sql = f" AND IS_FREE_LOCK({_SCHEMA_LOCK})"
    at_once: AtOnce | None = MysqlAtOnce()
    outbox_data_sql = "o.data"

    def __init__(self, durability: str) -> None:
        if durability != "full":
            raise ConfigError(
                f'durability "{durability}" cannot be chosen for MySQL: '
                "innodb_flush_log_at_trx_commit of the server decides"
            )

    def mark(self, sql: str) -> str:
        return _mark(sql)

    def setup_sql(self, timeout_s: float, lease_s: float) -> Sequence[str]:
        # Whoever froze in the middle of a transaction must let go when its lease ends.
        lock_s, idle_s = max(int(timeout_s / 2), 1), max(int(lease_s), 1)
        return (
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            f"SET SESSION innodb_lock_wait_timeout = {lock_s}"
            f" /*M!100301 , SESSION idle_transaction_timeout = {idle_s} */",
        )

    def lock_schema(self, session: Session) -> None:
        # No transaction: each statement that changes a schema ends the one it stands in.
        if session.fetch_one(f"SELECT GET_LOCK({_SCHEMA_LOCK}, {_SCHEMA_LOCK_S})") != (1,):
            raise StoreUnavailableError("another server is changing the schema")

    def unlock_schema(self, session: Session) -> None:
        session.fetch(f"SELECT RELEASE_LOCK({_SCHEMA_LOCK})")

    def upsert_sql(self, table: str, columns: Sequence[str]) -> str:
        changes = ", ".join(f"{name}=VALUES({name})" for name in columns[1:])
        return f"{insert_sql(table, columns)} ON DUPLICATE KEY UPDATE {changes}"

    def insert_messages(self, session: Session, runs: list[StoredRun]) -> None:
        rows = message_rows(runs)
        start = 0
        while start < len(rows):
            stop = _statement_end(rows, start)
            # Spelled out it takes twice the bytes; the driver's own way takes ten times as long.
            if len(rows[start][5]) > _MOST_SPELLED_BYTES:
                session.execute(_INSERT_ONE, rows[start])
            else:
                run_script(session, spell_messages(rows[start:stop]))
            start = stop

    def delete_outbox(self, session: Session, row_ids: list[int]) -> None:
        session.execute(delete_sql(len(row_ids)), row_ids)

    def control(self, session: Session, sql: str) -> None:
        session.execute(sql)

    def abort(self, driver: Any) -> None:
        driver.close()

    def judge(self, error: Exception) -> tuple[Fault, str]:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        words = first_line(error)
        if code == 0 or code in _LOST or 2000 <= code < 3000:
            return Fault.LOST, f"the connection to MySQL failed: {words}"
        if code in _UNAVAILABLE:
            return Fault.UNAVAILABLE, f"MySQL: {words}"
        reason = _REASONS.get(code)
        return Fault.REFUSED, f"MySQL: {reason}: {words}" if reason else f"MySQL: {words}"


def _statement_end(rows: list[Row], start: int) -> int:
    """Where to cut so that a statement stays small; one row at least."""
    size = 0
    stop = min(start + _ROWS_PER_INSERT, len(rows))
    for at in range(start, stop):
        size += len(rows[at][5])
        if size > MOST_PAYLOAD_BYTES and at > start:
            return at
    return stop


@cache
def _mark(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
