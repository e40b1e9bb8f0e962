"""The outbox table: what applications wrote by transactions of their own.

Steps over a Session. The server reads the rows that are visible and removes them in the
transaction that stores their messages, so that each becomes one message. Rows that cannot
become one go to a table beside, with the reason. Names and texts stand here as applications
wrote them, by whatever program. Invariant: nothing is removed but by a fenced batch.
"""

from stan.engine.records import Batch, OutboxLoad, OutboxRow
from stan.store.sql.dialect import Session

WAKE_CHANNEL = "stan_outbox"
"""What PostgreSQL notifies when the table was written to."""

_IDS_PER_DELETE = 500
_MOST_REASON = 500


def read_outbox(session: Session, load: OutboxLoad) -> list[OutboxRow]:
    """The first visible rows, as one snapshot shows them."""
    data = session.dialect.outbox_data_sql
    rows = session.fetch(
        "SELECT o.id, o.channel, o.reply, o.msg_id, f.size, "
        f"CASE WHEN f.size <= ? THEN {data} END FROM ("
        "SELECT id, size, "
        "SUM(CASE WHEN size <= ? THEN size ELSE 0 END) OVER (ORDER BY id) AS total "
        f"FROM (SELECT o.id, LENGTH({data}) AS size FROM stan_outbox o ORDER BY o.id LIMIT ?) h"
        ") AS f JOIN stan_outbox o ON o.id = f.id "
        "WHERE f.total - f.size < ? ORDER BY o.id",
        (load.max_payload_bytes, load.max_payload_bytes, load.max_rows, load.max_bytes),
    )
    return [
        OutboxRow(row_id, _text(channel), _bytes(body), int(size), _text(reply), _text(message_id))
        for row_id, channel, reply, message_id, size, body in rows
    ]


def write_outbox(session: Session, batch: Batch) -> None:
    """Remove the rows that the batch settles, or set them aside."""
    taken = batch.outbox_taken
    for start in range(0, len(taken), _IDS_PER_DELETE):
        session.dialect.delete_outbox(session, taken[start : start + _IDS_PER_DELETE])
    for row_id, reason in batch.outbox_parked:
        session.execute(_PARK, (reason[:_MOST_REASON], row_id))
        session.dialect.delete_outbox(session, [row_id])


def delete_sql(rows: int) -> str:
    """The statement that removes so many rows."""
    return f"DELETE FROM stan_outbox WHERE id IN ({','.join('?' * rows)})"


_PARK = (
    "INSERT INTO stan_outbox_parked (id, channel, data, reply, msg_id, created_at, reason) "
    "SELECT id, channel, data, reply, msg_id, created_at, ? FROM stan_outbox WHERE id=?"
)


def _text(value: object) -> str:
    """SQLite keeps what it is given, whatever the column's type."""
    if value is None:
        return ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _bytes(value: object) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
