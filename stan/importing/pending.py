"""What a subscription has not acked, from the rows in which the original kept it.

With its cache on, the original wrote what was sent and what was acked since the last row
as two lists; with the cache off, a row for each sequence. Pure functions, no database.
Invariant: an ack counts against every earlier row, whichever row it stands in.
"""

import json
from collections.abc import Iterable

from stan.errors import OriginError

PendingRow = tuple[int | None, int | None, bytes | None, bytes | None]
"""seq, lastsent, pending, acks."""


def apply_rows(pending: set[int], last_sent: int, rows: Iterable[PendingRow]) -> int:
    """Take rows in their order into `pending`; the highest sequence known to be sent.

    Raises OriginError for lists that are none.
    """
    for sequence, row_last_sent, sent, acked in rows:
        last_sent = max(last_sent, sequence or 0, row_last_sent or 0)
        if sequence:
            pending.add(sequence)
            continue
        pending.update(read_sequences(sent))
        pending.difference_update(read_sequences(acked))
    return last_sent


def read_sequences(text: bytes | str | None) -> list[int]:
    """A JSON array of integers; nothing at all is an empty one. Raises OriginError."""
    if not text:
        return []
    try:
        sequences = json.loads(text)
    except (ValueError, RecursionError):
        sequences = None
    if not isinstance(sequences, list) or not all(type(n) is int for n in sequences):
        raise OriginError("a row of SubsPending does not hold a list of sequences")
    return sequences
