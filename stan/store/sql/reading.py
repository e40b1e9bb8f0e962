"""Reading: history in ranges, the message at a time, and all that recovery needs.

Blocking functions over a Session; nothing here writes. Invariant: what a caller sees lies
within the bounds it passes in, so never a part of a batch nor a message already trimmed.
"""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from stan.engine.records import Bounds, ChannelRecord, History, RangeLoad, Recovered, ServerRecord
from stan.errors import SchemaError
from stan.store.sql.dialect import Session
from stan.store.sql.ledger import Ledger
from stan.store.sql.rows import (
    BOUNDS_COLUMNS,
    CLIENT_COLUMNS,
    SUBSCRIPTION_COLUMNS,
    client_record,
    history,
    subscription_record,
    unpack_limits,
    unpack_text,
)

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

_RANGE = (
    "SELECT sequence, timestamp_ns, reply, data FROM stan_messages "
    "WHERE channel_id=? AND sequence>=? AND sequence<=? AND position < COALESCE(("
    "SELECT position FROM stan_messages WHERE channel_id=? AND sequence>=? "
    "ORDER BY sequence LIMIT 1), 0) + ? ORDER BY sequence"
)
_NEXT = (
    "SELECT sequence, timestamp_ns FROM stan_messages "
    "WHERE channel_id=? AND sequence>=? AND sequence<=? ORDER BY sequence LIMIT 1"
)
_TIMES = "SELECT channel_id, sequence, timestamp_ns FROM stan_messages WHERE"
_SERVER = "SELECT cluster_id, inbox_prefix, batch_number FROM stan_server WHERE id=1"
_CHANNELS = (
    "SELECT channel_id, name, deleted, swept_sequence, own_limits, "
    f"{', '.join(BOUNDS_COLUMNS)} "
    "FROM stan_channels ORDER BY channel_id"
)
_CLIENTS = f"SELECT {', '.join(CLIENT_COLUMNS)} FROM stan_clients ORDER BY client_key"
_SUBSCRIPTIONS = (
    f"SELECT {', '.join(SUBSCRIPTION_COLUMNS)} FROM stan_subscriptions ORDER BY subscription_id"
)


def read_server(session: Session) -> ServerRecord | None:
    """Who the store belongs to; None when nobody wrote that yet."""
    row = session.fetch_one(_SERVER)
    if row is None or row[0] is None:
        return None
    return ServerRecord(unpack_text(row[0]), unpack_text(row[1]))


def read_range(
    session: Session, load: RangeLoad, bounds: Bounds, encryption: "Encryption | None" = None
) -> History:
    """The messages asked for, as they will be delivered."""
    start = max(load.from_sequence, bounds.first_sequence)
    last = bounds.last_sequence
    most = max(load.max_messages, 1)
    if start > last or not bounds.kept:
        return History([], [])
    rows = _read_rows(session, load, start, min(last, start + most - 1))
    if not rows:  # sequences are missing here
        row = session.fetch_one(_NEXT, (load.channel_id, start, last))
        if row is None:
            return History([], [])
        rows = _read_rows(session, load, row[0], min(last, row[0] + most - 1))
    return history(load.channel, rows, encryption)


def _read_rows(
    session: Session, load: RangeLoad, start: int, end: int
) -> list[tuple[int, int, str | None, bytes]]:
    channel_id = load.channel_id
    most_bytes = max(load.max_bytes, 1)
    return session.fetch(_RANGE, (channel_id, start, end, channel_id, start, most_bytes))


def read_times(session: Session, messages: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """When these messages were stored."""
    wanted = " OR ".join(["(channel_id=? AND sequence=?)"] * len(messages))
    rows = session.fetch(f"{_TIMES} {wanted}", [*chain.from_iterable(messages)])
    return {(channel_id, sequence): stored_ns for channel_id, sequence, stored_ns in rows}


def find_time(session: Session, channel_id: int, timestamp_ns: int, bounds: Bounds) -> History:
    """The first message not older than `timestamp_ns`, by bisection.

    Timestamps never decrease with the sequence, so some twenty reads by primary key do
    what an index on the timestamp would do at a cost for every message written.
    """
    if not bounds.kept or timestamp_ns > bounds.last_timestamp_ns:
        return History([], [])
    if timestamp_ns <= bounds.first_timestamp_ns:
        return History([bounds.first_sequence], [])
    # The message at `low` is too old; the one found lies in (low, high].
    low, high = bounds.first_sequence, bounds.last_sequence
    while high - low > 1:
        middle = (low + high) // 2
        row = session.fetch_one(_NEXT, (channel_id, middle, bounds.last_sequence))
        if row is None or row[1] >= timestamp_ns:
            high = middle
        else:
            low = row[0] if row[0] < high else middle
    row = session.fetch_one(_NEXT, (channel_id, high, bounds.last_sequence))
    return History([row[0]] if row else [], [])


def read_everything(session: Session) -> tuple[Recovered, Ledger]:
    """All but the messages, and the ledger that the next commits work on."""
    row = session.fetch_one(_SERVER)
    if row is None:
        raise SchemaError("the row of the server is missing from the database")
    cluster_id, inbox_prefix, batch_number = row
    recovered = Recovered(batch_number=batch_number)
    if cluster_id is not None:
        recovered.server = ServerRecord(unpack_text(cluster_id), unpack_text(inbox_prefix))
    ledger = _read_channels(session, recovered)
    recovered.clients = [client_record(row) for row in session.fetch(_CLIENTS)]
    recovered.subscriptions = [subscription_record(row) for row in session.fetch(_SUBSCRIPTIONS)]
    if recovered.subscriptions:
        recovered.next_subscription_id = recovered.subscriptions[-1].subscription_id + 1
    return recovered, ledger


def read_ledger(session: Session) -> Ledger:
    """The ledger alone."""
    return _read_channels(session, Recovered())


def _read_channels(session: Session, recovered: Recovered) -> Ledger:
    ledger = Ledger()
    for channel_id, name, deleted, swept, limits, *numbers in session.fetch(_CHANNELS):
        bounds = Bounds(*numbers)
        ledger.put(channel_id, bounds, swept)
        recovered.next_channel_id = channel_id + 1
        if deleted:
            ledger.doom(channel_id)
        else:
            record = ChannelRecord(channel_id, unpack_text(name), unpack_limits(limits))
            recovered.channels.append((record, bounds))
    return ledger
