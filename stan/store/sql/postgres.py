"""PostgreSQL's ways, by asyncpg: messages go in as arrays, a plain batch in one statement.

Every session limits how long it may hold locks, so that a connection which died or froze
in the middle of a transaction does not keep its successor out. That is why there is no
COPY here: a client that stops inside one holds its locks for ever.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

from stan.errors import ConfigError
from stan.store.sql.dialect import AtOnce, Fault, Session, first_line, insert_sql
from stan.store.sql.rows import (
    BOUNDS_COLUMNS,
    DELETE_MESSAGES,
    MESSAGE_COLUMNS,
    SUBSCRIPTION_COLUMNS,
    Row,
)
from stan.store.sql.runs import StoredRun, message_rows

_NOW_MS = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
_TYPES = {
    "reply": "text",
    "data": "bytea",
    "client_id": "text",
    "inbox": "text",
    "ack_inbox": "text",
    "durable_name": "text",
    "queue_group": "text",
    "in_flight": "text",
    "is_durable": "int",
    "is_closed": "int",
}
_SYNCHRONOUS = {"full": "on", "normal": "off", "off": "off"}
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


class PostgresAtOnce:
    """See stan.store.sql.dialect.AtOnce."""

    def fits(self, runs: list[StoredRun], rows: int) -> bool:
        return True

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
        parameters: list[Any] = [*fence]
        source = swept = moved = ""
        if runs:
            source, values = _messages(runs)
            parameters += values
        if sweeps:
            swept, values = _sweeps(sweeps)
            parameters += values
        if channels:
            moved, values = _bounds(channels)
            parameters += values
        if subscriptions:
            parameters += _transpose(subscriptions)
        if published:
            parameters += published
        if taken:
            parameters.append(taken)
        sql = _at_once_sql(
            source,
            swept,
            moved,
            with_subscriptions=bool(subscriptions),
            with_guids=published is not None,
            with_outbox=bool(taken),
        )

        async def fetch(driver: Any) -> Any:
            return await driver.fetch(sql, *parameters)

        return bool(_run_async(session, fetch)[0][0])

    def find_first(self, session: Session, walks: list[Row]) -> list[Row]:
        return session.fetch(_FIND_FIRST, _transpose(walks))


class PostgresDialect:
    """See stan.store.sql.dialect.Dialect."""

    name = "postgres"
    driver_package = "asyncpg"
    begin_sql = "BEGIN"
    now_ms_sql = _NOW_MS
    unless_migrating_sql = ""
    at_once: AtOnce | None = PostgresAtOnce()
    outbox_data_sql = "o.data"

    def __init__(self, durability: str) -> None:
        if durability not in _SYNCHRONOUS:
            raise ConfigError(f'durability "{durability}" is none of full, normal, off')
        self._synchronous = _SYNCHRONOUS[durability]

    def mark(self, sql: str) -> str:
        return _mark(sql)

    def setup_sql(self, timeout_s: float, lease_s: float) -> Sequence[str]:
        # Whoever froze in the middle of a transaction must let go when its lease ends.
        return (
            f"SET synchronous_commit = {self._synchronous}",
            f"SET lock_timeout = {int(timeout_s * 500)}",
            f"SET idle_in_transaction_session_timeout = {int(lease_s * 1000)}",
            # Every query goes along a primary key. Guessing how many rows there are, the
            # planner may collect thousands of them in order to take the first.
            "SET enable_bitmapscan = off",
        )

    def lock_schema(self, session: Session) -> None:
        session.begin()
        session.fetch("SELECT pg_advisory_xact_lock(6001823417)")

    def unlock_schema(self, session: Session) -> None:
        session.commit()

    def upsert_sql(self, table: str, columns: Sequence[str]) -> str:
        changes = ", ".join(f"{name}=excluded.{name}" for name in columns[1:])
        return f"{insert_sql(table, columns)} ON CONFLICT ({columns[0]}) DO UPDATE SET {changes}"

    def insert_messages(self, session: Session, runs: list[StoredRun]) -> None:
        if runs:
            source, parameters = _messages(runs)
            session.execute(f"{_INSERT} {source}", parameters)

    def delete_outbox(self, session: Session, row_ids: list[int]) -> None:
        session.execute(_TAKE, (row_ids,))

    def control(self, session: Session, sql: str) -> None:
        async def execute(driver: Any) -> None:
            await driver.execute(sql)  # the simple protocol: nothing to prepare

        _run_async(session, execute)

    def abort(self, driver: Any) -> None:
        driver.terminate()

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


def _run_async(session: Session, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Use the driver's own connection from the greenlet that a step runs in."""
    adapted: Any = session.connection.connection.dbapi_connection
    return adapted.run_async(work)


def _transpose(rows: list[Row]) -> list[list[Any]]:
    """A list per column, for unnest."""
    return [list(column) for column in zip(*rows, strict=True)]


def _messages(runs: list[StoredRun]) -> tuple[str, list[Any]]:
    """The query that gives the rows to insert, and its parameters.

    Most batches are one run, of which only the positions and the data need arrays.
    """
    if len(runs) == 1 and not runs[0].replies:
        run = runs[0]
        before = run.first_sequence - 1
        return _ONE_RUN, [run.channel_id, before, run.timestamp_ns, run.positions, run.payloads]
    return _ROWS, _transpose(message_rows(runs))


def _sweeps(sweeps: list[Row]) -> tuple[str, list[Any]]:
    """The statement that removes rows, open at its end, and its parameters."""
    if len(sweeps) == 1:
        return DELETE_MESSAGES, [*sweeps[0]]
    return _SWEEP_MANY, _transpose(sweeps)


def _bounds(channels: list[Row]) -> tuple[str, list[Any]]:
    """The statement that moves the channels' bounds, open at its end, and its parameters."""
    if len(channels) == 1:
        channel_id, *values = channels[0]
        return _MOVE_ONE, [*values, channel_id]
    return _MOVE_MANY, _transpose(channels)


@cache
def _at_once_sql(
    source: str,
    swept: str,
    moved: str,
    *,
    with_subscriptions: bool,
    with_guids: bool,
    with_outbox: bool,
) -> str:
    """One statement that proves the lease, and only then writes.

    Every part asks the fence, so the row of the server is locked and compared before
    anything else; without a match nothing is written and 0 comes back.
    """
    allowed = "EXISTS (SELECT 1 FROM fence)"
    parts = [
        f"fence AS (UPDATE stan_server SET batch_number=?, lease_expires_ms={_NOW_MS} + ? "
        "WHERE id=1 AND epoch=? RETURNING 1)"
    ]
    if source:
        parts.append(f"written AS ({_INSERT} {source} WHERE {allowed})")
    if swept:
        parts.append(f"swept AS ({swept} AND {allowed})")
    if moved:
        parts.append(f"moved AS ({moved} AND {allowed})")
    if with_subscriptions:
        changes = ", ".join(f"{name}=excluded.{name}" for name in SUBSCRIPTION_COLUMNS[1:])
        parts.append(
            f"progress AS (INSERT INTO stan_subscriptions ({', '.join(SUBSCRIPTION_COLUMNS)}) "
            f"SELECT * FROM unnest({_arrays(SUBSCRIPTION_COLUMNS)}) WHERE {allowed} "
            f"ON CONFLICT (subscription_id) DO UPDATE SET {changes})"
        )
    if with_guids:
        parts.append(
            "published AS (INSERT INTO stan_guids (batch, recorded_ns, guids) "
            f"SELECT ?::bigint, ?::bigint, ?::bytea WHERE {allowed})"
        )
    if with_outbox:
        parts.append(f"taken AS ({_TAKE} AND {allowed})")
    return _mark(f"WITH {', '.join(parts)} SELECT count(*) FROM fence")


def _arrays(columns: Sequence[str]) -> str:
    return ", ".join(f"?::{_TYPES.get(name, 'bigint')}[]" for name in columns)


@cache
def _mark(sql: str) -> str:
    parts = sql.split("?")
    marked = (f"{part}${number}" for number, part in enumerate(parts[:-1], 1))
    return "".join(marked) + parts[-1]


_INSERT = f"INSERT INTO stan_messages ({', '.join(MESSAGE_COLUMNS)})"
_ROWS = f"SELECT * FROM unnest({_arrays(MESSAGE_COLUMNS)})"
_ONE_RUN = (
    "SELECT ?::bigint, ?::bigint + o, ?::bigint, p, NULL::text, d "
    "FROM unnest(?::bigint[], ?::bytea[]) WITH ORDINALITY AS v(p, d, o)"
)
_TAKE = "DELETE FROM stan_outbox WHERE id = ANY(?::bigint[])"
_SWEEP_MANY = (
    "DELETE FROM stan_messages m USING unnest(?::bigint[], ?::bigint[], ?::bigint[]) "
    "AS v(channel_id, start, stop) "
    "WHERE m.channel_id = v.channel_id AND m.sequence >= v.start AND m.sequence < v.stop"
)
_FIND_FIRST = (
    "SELECT v.channel_id, first.* "
    "FROM unnest(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[]) "
    "AS v(channel_id, start, stop, lowest_ns, lowest) CROSS JOIN LATERAL ("
    "SELECT sequence, position, timestamp_ns FROM stan_messages m "
    "WHERE m.channel_id = v.channel_id AND m.sequence >= v.start AND m.sequence < v.stop "
    "AND m.timestamp_ns >= v.lowest_ns AND m.position >= v.lowest "
    "ORDER BY m.sequence LIMIT 1) AS first"
)
_CHANNEL_COLUMNS = (*BOUNDS_COLUMNS, "swept_sequence")
_MOVE_ONE = (
    f"UPDATE stan_channels SET {', '.join(f'{name}=?' for name in _CHANNEL_COLUMNS)} "
    "WHERE channel_id=?"
)
_MOVE_MANY = (
    f"UPDATE stan_channels c SET {', '.join(f'{name} = v.{name}' for name in _CHANNEL_COLUMNS)} "
    f"FROM unnest({_arrays(('channel_id', *_CHANNEL_COLUMNS))}) "
    f"AS v(channel_id, {', '.join(_CHANNEL_COLUMNS)}) WHERE c.channel_id = v.channel_id"
)
