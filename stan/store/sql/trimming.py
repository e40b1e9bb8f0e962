"""Where a channel begins after a trim: floors turned into bounds.

Timestamps and positions never decrease with the sequence, so the first message to keep is
found by walking the primary key from the first one, a bounded number of rows a commit.
Rows are not removed here. Invariant: the bounds are exact, gaps in the sequences included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stan.engine.records import Bounds, Trim
from stan.store.sql.dialect import AtOnce, Session
from stan.store.sql.rows import Row

STEP_ROWS = 20_000

Head = tuple[int, int, int]
"""Sequence, position and timestamp of a channel's first message."""

_FIRST_KEPT = (
    "SELECT sequence, position, timestamp_ns FROM stan_messages "
    "WHERE channel_id=? AND sequence>=? AND sequence<? AND timestamp_ns>=? "
    "AND (position>=? OR sequence=?) ORDER BY sequence LIMIT 1"
)
_FIRST_FROM = (
    "SELECT sequence, position, timestamp_ns FROM stan_messages "
    "WHERE channel_id=? AND sequence>=? AND sequence<=? ORDER BY sequence LIMIT 1"
)
_COUNT = "SELECT COUNT(*) FROM stan_messages WHERE channel_id=? AND sequence>=? AND sequence<?"


_LAST = "SELECT MAX(sequence) FROM stan_messages WHERE channel_id=? AND sequence<=?"
_DELETE = "DELETE FROM stan_messages WHERE channel_id=? AND sequence=?"


def drop_message(session: Session, bounds: Bounds, channel_id: int, sequence: int) -> Bounds:
    """Remove one message; the bounds after it."""
    is_held = bounds.first_sequence <= sequence <= bounds.last_sequence
    if not session.execute(_DELETE, (channel_id, sequence)) or not is_held:
        return bounds
    if bounds.kept == 1:
        return _emptied(bounds)
    if sequence > bounds.first_sequence:
        return bounds._replace(kept=bounds.kept - 1)
    head = session.fetch_one(_FIRST_FROM, (channel_id, sequence, bounds.last_sequence))
    return bounds if head is None else begin_at(bounds, (head[0], head[1], head[2]), 1)


def drop_head(session: Session, bounds: Bounds, trim: Trim) -> tuple[Bounds, bool]:
    """The bounds after the trim, and whether it is finished."""
    if not bounds.kept:
        return bounds, True
    last = bounds.last_sequence
    if _has_gaps(bounds):  # the last one may have been deleted
        row = session.fetch_one(_LAST, (trim.channel_id, last))
        last = last if row is None or row[0] is None else row[0]
    if trim.min_timestamp_ns > bounds.last_timestamp_ns or (
        trim.may_empty and trim.min_sequence > last
    ):
        return _emptied(bounds), True
    min_sequence = min(trim.min_sequence, last)
    if _drops_nothing(bounds, replace(trim, min_sequence=min_sequence)):
        return bounds, True
    return _walk(session, bounds, trim, min_sequence, last)


def find_heads(
    session: Session, at_once: AtOnce, trims: Sequence[Trim], stored: Mapping[int, Bounds]
) -> dict[int, Head] | None:
    """Where the channels begin that these trims shorten, in one exchange, as far as the rows
    that stand are concerned; `stored` are the bounds before. None when a trim takes more:
    none of them stands or would stay, sequences are missing, or the walk is long."""
    walks: list[Row] = []
    seen: set[int] = set()
    for trim in trims:
        bounds = stored.get(trim.channel_id, Bounds())
        if not bounds.kept or _has_gaps(bounds) or trim.channel_id in seen:
            return None
        seen.add(trim.channel_id)
        if not _drops_nothing(bounds, trim):
            start = max(bounds.first_sequence, trim.min_sequence)
            floors = (trim.min_timestamp_ns, trim.min_position)
            walks.append((trim.channel_id, start, start + STEP_ROWS, *floors))
    found = at_once.find_first(session, walks) if walks else []
    if len(found) < len(walks):
        return None
    return {channel_id: (first, *where) for channel_id, first, *where in found}


def begin_at(bounds: Bounds, head: Head, dropped: int) -> Bounds:
    """The bounds when the message at `head` is the first one, and `dropped` before it go."""
    first, position, timestamp_ns = head
    return bounds._replace(
        first_sequence=first,
        first_position=position,
        first_timestamp_ns=timestamp_ns,
        kept=bounds.kept - dropped,
    )


def _has_gaps(bounds: Bounds) -> bool:
    return bounds.kept <= bounds.last_sequence - bounds.first_sequence


def _drops_nothing(bounds: Bounds, trim: Trim) -> bool:
    return (
        trim.min_sequence <= bounds.first_sequence
        and trim.min_position <= bounds.first_position
        and trim.min_timestamp_ns <= bounds.first_timestamp_ns
    )


def _emptied(bounds: Bounds) -> Bounds:
    return bounds._replace(
        first_sequence=bounds.last_sequence + 1,
        first_position=bounds.end_position,
        first_timestamp_ns=0,
        kept=0,
    )


def _walk(
    session: Session, bounds: Bounds, trim: Trim, min_sequence: int, last: int
) -> tuple[Bounds, bool]:
    """`last` is the last message that is there."""
    channel_id = trim.channel_id
    gaps = _has_gaps(bounds)
    # A sequence floor needs no walk; only counting does, when sequences are missing.
    start = max(bounds.first_sequence, min_sequence)
    if gaps:
        start = min(start, bounds.first_sequence + STEP_ROWS)
    end = start + STEP_ROWS
    found = session.fetch_one(
        _FIRST_KEPT,
        (channel_id, start, end, trim.min_timestamp_ns, trim.min_position, last),
    )
    finished = found is not None
    if found is None and gaps and end > last:  # what is left is too old: the last was deleted
        return _emptied(bounds), True
    if found is None:
        found = session.fetch_one(_FIRST_FROM, (channel_id, min(end, last), last))
    if found is None:  # the rows disagree with the bounds; keep what the bounds say
        return bounds, True
    first, position, timestamp_ns = found
    dropped = first - bounds.first_sequence
    if gaps:
        rows = session.fetch_one(_COUNT, (channel_id, bounds.first_sequence, first))
        dropped = rows[0] if rows else dropped
    kept = begin_at(bounds, (first, position, timestamp_ns), dropped)
    return kept, finished and first >= min_sequence
