"""Removing rows that nothing speaks of any more, a chunk at a time.

A trim or a deleted channel is true as soon as the channel's row says so; its messages'
rows go later. Blocking functions over a Session. Invariant: only rows below the bounds
of a channel, or of a deleted one, are ever removed, and only by the holder of the lease.
"""

from dataclasses import dataclass

from stan.store.sql.dialect import Session
from stan.store.sql.lease import Lease
from stan.store.sql.ledger import Ledger
from stan.store.sql.rows import DELETE_MESSAGES

_NEXT = "SELECT MIN(sequence) FROM stan_messages WHERE channel_id=? AND sequence>=? AND sequence<?"
_MARK = "UPDATE stan_channels SET swept_sequence=? WHERE channel_id=?"
_FORGET = "DELETE FROM stan_channels WHERE channel_id=?"


@dataclass(slots=True, frozen=True)
class Chunk:
    """Rows to remove: sequences [start, end) of a channel, at most `rows` of them now."""

    channel_id: int
    start: int
    end: int
    doomed: bool


def next_chunk(ledger: Ledger) -> Chunk | None:
    """What to remove next, None when nothing is left."""
    for channel_id in ledger.unswept:
        end = ledger.bounds[channel_id].first_sequence
        return Chunk(channel_id, ledger.swept[channel_id], end, doomed=False)
    for channel_id, (start, end) in ledger.doomed.items():
        return Chunk(channel_id, start, end, doomed=True)
    return None


def sweep(session: Session, chunk: Chunk, rows: int, lease: Lease) -> int:
    """Remove up to `rows` rows, as a transaction of its own; where to go on from."""
    session.begin()
    lease.prove(session)
    end = min(chunk.end, chunk.start + rows)
    removed = session.execute(DELETE_MESSAGES, (chunk.channel_id, chunk.start, end))
    if not removed and end < chunk.end:
        row = session.fetch_one(_NEXT, (chunk.channel_id, end, chunk.end))
        end = chunk.end if row is None or row[0] is None else row[0]
    if chunk.doomed and end >= chunk.end:
        session.execute(_FORGET, (chunk.channel_id,))
    else:
        session.execute(_MARK, (end, chunk.channel_id))
    session.commit()
    return end


def record_swept(ledger: Ledger, chunk: Chunk, end: int) -> None:
    """The chunk is gone up to `end`."""
    if not chunk.doomed:
        bounds = ledger.bounds.get(chunk.channel_id)
        if bounds is not None:
            ledger.put(chunk.channel_id, bounds, end)
    elif end >= chunk.end:
        ledger.doomed.pop(chunk.channel_id, None)
    else:
        ledger.doomed[chunk.channel_id] = (end, chunk.end)
