"""The messages of a batch as their rows hold them: pure functions, no database.

Payloads are encrypted here and nowhere else. Invariant: a message starts where the one before
it ends, by the sizes that the engine gave.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, count, repeat
from typing import TYPE_CHECKING

from stan.engine.records import Run
from stan.store.sql.rows import Row, pack_text

if TYPE_CHECKING:
    from stan.store.encryption import Encryption


@dataclass(slots=True)
class StoredRun:
    """A run as its rows hold it, column by column. `replies` is empty when no message has
    one, `payloads` are encrypted when the store's are."""

    channel_id: int
    first_sequence: int
    timestamp_ns: int
    positions: list[int]
    replies: list[str | None]
    payloads: list[bytes]


def stored_run(run: Run, encryption: "Encryption | None" = None) -> StoredRun:
    payloads = run.payloads
    if encryption is not None:
        payloads = encryption.encrypt(run.channel, run.first_sequence - 1, payloads)
    positions = [run.position]
    if len(payloads) > 1:
        positions = list(accumulate(run.sizes, initial=run.position))
        positions.pop()  # where the next message will start
    replies = [pack_text(reply) or None for reply in run.replies]
    return StoredRun(
        run.channel_id, run.first_sequence, run.timestamp_ns, positions, replies, payloads
    )


def message_rows(runs: Iterable[StoredRun]) -> list[Row]:
    """In the order of MESSAGE_COLUMNS."""
    rows: list[Row] = []
    for run in runs:
        channel_id, timestamp_ns = run.channel_id, run.timestamp_ns
        if len(run.payloads) == 1:
            reply = run.replies[0] if run.replies else None
            position, data = run.positions[0], run.payloads[0]
            rows.append((channel_id, run.first_sequence, timestamp_ns, position, reply, data))
            continue
        rows += [
            (channel_id, sequence, timestamp_ns, position, reply, data)
            for sequence, position, reply, data in zip(
                count(run.first_sequence),
                run.positions,
                run.replies or repeat(None),
                run.payloads,
                strict=False,
            )
        ]
    return rows
