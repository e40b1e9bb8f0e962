"""A plain batch for MySQL and MariaDB: one script, one exchange.

The values stand in the script, numbers as they are and everything else in hexadecimal, which no
mode of the server reads otherwise; the driver's own way of putting values in costs seven times as
much. Behind the fence stands a statement that is an error when the fence matched nothing, and an
error ends a script: COMMIT is last. Invariant: nothing that anybody sent gets into a script but as
hexadecimal digits.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from stan.store.sql.dialect import Session
from stan.store.sql.rows import (
    BOUNDS_COLUMNS,
    DELETE_MESSAGES,
    MESSAGE_COLUMNS,
    SUBSCRIPTION_COLUMNS,
    Row,
)
from stan.store.sql.runs import StoredRun, message_rows

NOW_MS = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"
# What a script may hold, so that it stays far below the least max_allowed_packet in use, 4 MB.
MOST_PAYLOAD_BYTES = 512 * 1024
_MOST_ROWS = 4096
_FIRSTS_PER_QUERY = 100

_FENCE = (
    f"UPDATE stan_server SET batch_number=?, lease_expires_ms={NOW_MS} + ? WHERE id=1 AND epoch=?"
)
# The largest number there is, and one more where the fence matched nothing: out of range.
_GUARD = "SELECT 9223372036854775807 + (ROW_COUNT() <> 1)"
_OUT_OF_RANGE = 1690
_MESSAGES = f"INSERT INTO stan_messages ({', '.join(MESSAGE_COLUMNS)}) VALUES "
_MOVE = (
    f"UPDATE stan_channels SET {', '.join(f'{name}=?' for name in BOUNDS_COLUMNS)}, "
    "swept_sequence=? WHERE channel_id=?"
)
_PROGRESS = f"INSERT INTO stan_subscriptions ({', '.join(SUBSCRIPTION_COLUMNS)}) VALUES "
_PROGRESS_AGAIN = " ON DUPLICATE KEY UPDATE " + ", ".join(
    f"{name}=VALUES({name})" for name in SUBSCRIPTION_COLUMNS[1:]
)
_GUIDS = "INSERT INTO stan_guids (batch, recorded_ns, guids) VALUES "
_FIRST = (
    "(SELECT channel_id, sequence, position, timestamp_ns FROM stan_messages WHERE channel_id=? "
    "AND sequence>=? AND sequence<? AND timestamp_ns>=? AND position>=? ORDER BY sequence LIMIT 1)"
)


class MysqlAtOnce:
    """See stan.store.sql.dialect.AtOnce."""

    def fits(self, runs: list[StoredRun], rows: int) -> bool:
        payload_bytes = messages = 0
        for run in runs:
            messages += len(run.payloads)
            payload_bytes += sum(map(len, run.payloads))
        return payload_bytes <= MOST_PAYLOAD_BYTES and messages + rows <= _MOST_ROWS

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
        script = ["BEGIN", spell(_FENCE, fence), _GUARD]
        if runs:
            script.append(spell_messages(message_rows(runs)))
        script += [spell(DELETE_MESSAGES, sweep) for sweep in sweeps]
        script += [spell(_MOVE, (*bounds, channel_id)) for channel_id, *bounds in channels]
        if subscriptions:
            script.append(_PROGRESS + _spell_rows(subscriptions) + _PROGRESS_AGAIN)
        if published:
            script.append(_GUIDS + _spell_rows([published]))
        if taken:
            script.append(f"DELETE FROM stan_outbox WHERE id IN ({','.join(map(str, taken))})")
        script.append("COMMIT")
        try:
            run_script(session, ";".join(script))
        except Exception as error:
            if not error.args or error.args[0] != _OUT_OF_RANGE:
                raise
            session.rollback()
            return False
        return True

    def find_first(self, session: Session, walks: list[Row]) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(walks), _FIRSTS_PER_QUERY):
            some = walks[start : start + _FIRSTS_PER_QUERY]
            found += session.fetch(
                " UNION ALL ".join([_FIRST] * len(some)), [value for walk in some for value in walk]
            )
        return found


def run_script(session: Session, script: str) -> None:
    """Run statements of our own spelling, up to the first that is an error, which is raised."""

    async def run(driver: Any) -> None:
        async with driver.cursor() as cursor:
            await cursor.execute(script)
            while await cursor.nextset():
                pass

    adapted: Any = session.connection.connection.dbapi_connection
    adapted.run_async(run)


def spell(sql: str, values: Sequence[Any]) -> str:
    """The statement with these values in place of its marks."""
    parts = sql.split("?")
    spelled = [_spell(value) for value in values]
    return "".join([text for pair in zip(parts, [*spelled, ""], strict=True) for text in pair])


def spell_messages(rows: Iterable[Row]) -> str:
    """The statement that inserts these rows."""
    return _MESSAGES + ",".join(
        [
            f"({channel_id},{sequence},{timestamp_ns},{position},"
            f"{'NULL' if reply is None else _spell(reply)},x'{data.hex()}')"
            for channel_id, sequence, timestamp_ns, position, reply, data in rows
        ]
    )


def _spell_rows(rows: Iterable[Row]) -> str:
    return ",".join(["(" + ",".join(map(_spell, row)) + ")" for row in rows])


def _spell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        return f"_utf8mb4 x'{value.encode().hex()}'"
    return f"x'{value.hex()}'"
