"""A run of messages as three values for SQLite: one statement of one step for all its rows.

A row of a multi-row INSERT is six values that Python binds one by one while it holds the
interpreter's lock. Here all payloads are one blob, and what tells them apart is one number a row in
a JSON array, which SQLite itself walks through. Invariant: what does not fit into the numbers is
left to the other way.
"""

from itertools import accumulate

from stan.store.sql.runs import StoredRun

# A number is: where the message stands, counted from the first; how much of what is before it is
# not payload; and the length of the payload. 24, 19 and 20 bits of the 63 that SQLite has.
_LENGTH_BITS, _OTHER_BITS, _PLACE_BITS = 20, 19, 24
_PLACE_SHIFT = _LENGTH_BITS + _OTHER_BITS

INSERT_RUN = f"""\
INSERT INTO stan_messages (channel_id, sequence, timestamp_ns, position, reply, data)
SELECT ?1, ?2 + key, ?3, ?4 + (value >> {_PLACE_SHIFT}), NULL,
substr(?5, (value >> {_PLACE_SHIFT})
 - ((value >> {_LENGTH_BITS}) & {(1 << _OTHER_BITS) - 1}) + 1, value & {(1 << _LENGTH_BITS) - 1})
FROM json_each(?6)"""

Packed = tuple[int, int, int, int, bytes, str]


def pack_run(run: StoredRun) -> list[Packed] | None:
    """The parameters of `INSERT_RUN`, of each part of the run; None when it does not fit."""
    if run.replies:
        return None
    parts = []
    start, end = 0, len(run.payloads)
    while start < end:
        stop = end
        while (part := _pack(run, start, stop)) is None:
            if stop - start == 1:
                return None
            stop = (start + stop) // 2
        parts.append(part)
        start = stop
    return parts


def _pack(run: StoredRun, start: int, stop: int) -> Packed | None:
    base, payloads = run.positions[start], run.payloads[start:stop]
    lengths = [len(one) for one in payloads]
    places = [position - base for position in run.positions[start:stop]]
    offsets = list(accumulate(lengths, initial=0))
    # Both only grow, so the last ones are the largest.
    if places[-1] >> _PLACE_BITS or (places[-1] - offsets[-2]) >> _OTHER_BITS:
        return None
    if max(lengths) >> _LENGTH_BITS:
        return None
    numbers = [
        place << _PLACE_SHIFT | (place - offset) << _LENGTH_BITS | length
        for place, offset, length in zip(places, offsets, lengths, strict=False)
    ]
    # A part of nothing at all would be NULL.
    data = b"".join(payloads) or b"\0"
    first = run.first_sequence + start
    return (run.channel_id, first, run.timestamp_ns, base, data, repr(numbers))
