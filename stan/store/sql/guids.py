"""What was published lately: a row for each batch, and a row for each message ID.

Steps over a Session. The rows of batches are read from the newest backwards, a few at a
time, and only when a client sends publishes again, so they need no index but their key. What
they hold is packed by stan.engine.guids. Invariant: a row stands here if and only if the
batch that it belongs to is true.
"""

from stan.engine.guids import find_guids, group_guids
from stan.engine.records import Batch, GuidLoad, Key
from stan.store.sql.dialect import Session, insert_sql
from stan.store.sql.lease import Lease
from stan.store.sql.rows import Row, digest_key

GUID_COLUMNS = ("batch", "recorded_ns", "guids")
_MESSAGE_ID_COLUMNS = ("channel_id", "message_key", "recorded_ns")
# The newest rows are most likely asked for; further back, a read has ever more of them.
_ROWS_PER_READ = 64
_MOST_ROWS_PER_READ = 1024
_ROWS_PER_SWEEP = 256

_INSERT_GUIDS = insert_sql("stan_guids", GUID_COLUMNS)
_INSERT_ID = insert_sql("stan_message_ids", _MESSAGE_ID_COLUMNS)
_DELETE_ID = "DELETE FROM stan_message_ids WHERE channel_id=? AND message_key=?"
_NEWEST = (
    "SELECT batch, recorded_ns, guids FROM stan_guids WHERE batch<? ORDER BY batch DESC LIMIT ?"
)
_FIND_ID = "SELECT recorded_ns FROM stan_message_ids WHERE channel_id=? AND message_key=?"
_OLDEST = "SELECT batch, recorded_ns FROM stan_guids ORDER BY batch LIMIT ?"
_FORGET = "DELETE FROM stan_guids WHERE batch<=?"
_OLD_IDS = (
    "SELECT channel_id, message_key FROM stan_message_ids WHERE recorded_ns<? "
    "ORDER BY recorded_ns LIMIT ?"
)
_NO_BATCH = 1 << 62


def guid_row(batch: Batch) -> Row:
    return batch.number, batch.sealed_ns, batch.guids


def write_published(session: Session, batch: Batch) -> None:
    """Record what the batch's publishers may send again."""
    if batch.guids:
        session.execute(_INSERT_GUIDS, guid_row(batch))
    if batch.message_ids:
        # Whatever stands there is older than the window, else the engine had not come here.
        keys = [(channel_id, _message_key(text)) for channel_id, text in batch.message_ids]
        session.execute_many(_DELETE_ID, keys)
        session.execute_many(_INSERT_ID, [(*key, batch.sealed_ns) for key in keys])


def find_published(session: Session, load: GuidLoad) -> frozenset[Key]:
    """Which of the publishes asked for are stored."""
    found: set[Key] = set()
    guids: set[Key] = set()
    for key in load.keys:
        channel_id, client_id, text = key
        if client_id:
            guids.add(key)
            continue
        row = session.fetch_one(_FIND_ID, (channel_id, _message_key(text)))
        if row is not None and row[0] >= load.message_ids_since_ns:
            found.add(key)
    wanted = group_guids(guids)
    missing = len(guids)
    below, most = _NO_BATCH, _ROWS_PER_READ
    while missing:
        rows = session.fetch(_NEWEST, (below, most))
        for _, recorded_ns, record in rows:
            if recorded_ns < load.since_ns:
                return frozenset(found)
            here = find_guids(bytes(record), wanted)
            missing -= len(here)
            found |= here
        if len(rows) < most:
            break
        below, most = rows[-1][0], min(2 * most, _MOST_ROWS_PER_READ)
    return frozenset(found)


def forget_published(session: Session, before_ns: int, lease: Lease) -> bool:
    """Remove some rows of each kind that were recorded before that time, as a transaction of
    its own. Returns whether any may be left."""
    rows = _ROWS_PER_SWEEP
    # Before the lease is proven: whoever freezes while it asks holds no row then.
    old = [row[0] for row in session.fetch(_OLDEST, (rows,)) if row[1] < before_ns]
    keys = session.fetch(_OLD_IDS, (before_ns, rows))
    if old or keys:
        session.begin()
        lease.prove(session)
        if old:
            session.execute(_FORGET, (old[-1],))
        session.execute_many(_DELETE_ID, keys)
        session.commit()
    return len(old) == rows or len(keys) == rows


def _message_key(message_id: bytes) -> str:
    return digest_key(message_id.decode())
