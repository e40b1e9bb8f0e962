"""Applications that write into the outbox table by transactions of their own, and its books.

A transaction takes the IDs of its rows as it writes them and ends later, in any order with the
others, or is rolled back. The books see what becomes visible, what each batch stores and what it
removes. Whatever is not exactly once, or out of order, raises AssertionError.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from stan.engine.records import Batch, GuidLoad, Key, OutboxLoad, OutboxRow

if TYPE_CHECKING:
    from tests.simulation.world import World

MS = 1_000_000
PREFIX = b"row "
MOST_ROWS = 100  # a load gives
# What a row may be parked for, in whatever world.
LAWFUL = ("valid channel name", "too many channels", "disk full", "different cases")


@dataclass(slots=True)
class Written:
    """A row of a transaction that was committed or will be."""

    row: OutboxRow
    written_ns: int
    visible_ns: int = -1
    transaction: int = 0


class OutboxTable:
    def __init__(self) -> None:
        self.visible: dict[int, Written] = {}
        self.parked: dict[int, str] = {}
        self.stored = 0
        self.dropped = 0  # since their message ID is stored
        self.out_of_order = 0  # rows that became visible behind later ones
        self._settled: set[int] = set()
        self._ids: dict[tuple[int, bytes], int] = {}
        self._storing: set[int] = set()
        self._passed: list[tuple[int, int]] = []  # rows, and later ones that were stored first

    def show(self, written: Written, now_ns: int) -> None:
        """The row's transaction is committed."""
        written.visible_ns = now_ns
        row_id = written.row.row_id
        self.out_of_order += row_id < max(self._settled, default=0)
        self.visible[row_id] = written

    def load(self, load: OutboxLoad) -> list[OutboxRow]:
        most = min(load.max_rows, MOST_ROWS)
        return [self.visible[row_id].row for row_id in sorted(self.visible)[:most]]

    # What a batch does.

    def store(self, channel_id: int, channel: str, payload: bytes, batch: Batch) -> None:
        """A message becomes true that came from here."""
        row_id = int(payload.split()[1])
        assert row_id not in self._settled, f"row {row_id} is stored twice"
        written = self.visible.get(row_id)
        assert written is not None, f"row {row_id} was rolled back, or is not visible"
        assert row_id not in self._storing, f"row {row_id} is stored twice by one batch"
        assert row_id in batch.outbox_taken, f"row {row_id} is stored and stays"
        assert (written.row.channel, written.row.data) == (channel, payload)
        self._check_order(written)
        message_id = written.row.message_id.encode()
        if message_id:
            assert (channel_id, message_id) in batch.message_ids, f"row {row_id}: unrecorded"
            self._ids[channel_id, message_id] = batch.sealed_ns
        self._storing.add(row_id)

    def _check_order(self, written: Written) -> None:
        for row_id, other in self.visible.items():
            if other.row.channel != written.row.channel or row_id in self._storing:
                continue
            before = other.visible_ns < written.written_ns or (
                other.transaction == written.transaction and row_id < written.row.row_id
            )
            if before:
                self._passed.append((row_id, written.row.row_id))

    def settle(self, batch: Batch) -> None:
        """The whole batch is true."""
        gone = {*batch.outbox_taken, *[row_id for row_id, _ in batch.outbox_parked]} - self._storing
        for earlier, later in self._passed:
            assert earlier in gone, f"row {later} is stored before row {earlier}"
        self._passed = []
        for row_id in batch.outbox_taken:
            written = self.visible.pop(row_id, None)
            assert written is not None, f"row {row_id} is removed, and was not there"
            if row_id in self._storing:
                self.stored += 1
            else:
                assert written.row.message_id, f"row {row_id} is removed and not stored"
                assert any(key[1] == written.row.message_id.encode() for key in self._ids)
                self.dropped += 1
            self._settled.add(row_id)
        assert self._storing <= set(batch.outbox_taken)
        self._storing = set()
        for row_id, reason in batch.outbox_parked:
            assert self.visible.pop(row_id, None) is not None, f"row {row_id} is parked twice"
            assert any(words in reason for words in LAWFUL), f"row {row_id} is parked: {reason}"
            self.parked[row_id] = reason
            self._settled.add(row_id)

    def find(self, load: GuidLoad) -> frozenset[Key]:
        """Which message IDs are known."""
        return frozenset(
            key
            for key in load.keys
            if not key[1] and self._ids.get((key[0], key[2]), -1) >= load.message_ids_since_ns
        )


class Writers:
    """By dice of their own, so that the world around them is the same without them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = Random(f"outbox {world.seed}")
        self._last_id = 0
        self._transactions = 0
        self._longest_ns = self.rng.choice((1, 100, 2000)) * MS
        self._pause_ns = self.rng.choice((2, 10, 50)) * MS
        self._message_ids = self.rng.choice((0.0, 0.0, 0.3, 1.0))
        self._later(0, self._begin)

    def _later(self, delay_ns: int, action: object, *arguments: object) -> None:
        self.world.events.after(delay_ns, action, *arguments)  # type: ignore[arg-type]

    def _begin(self) -> None:
        world, rng = self.world, self.rng
        if world.peaceful:
            return
        self._later(int(rng.expovariate(1.0) * self._pause_ns), self._begin)
        self._transactions += 1
        steps = [rng.randrange(1, 4) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        self._write(self._transactions, [], steps)

    def _write(self, transaction: int, rows: list[Written], steps: list[int]) -> None:
        """Write some rows now, and the others later."""
        rng, world = self.rng, self.world
        for _ in range(steps.pop()):
            self._last_id += 1
            channel = rng.choice(world.profile.channels) if rng.random() < 0.97 else "a..b"
            message_id = ""
            if rng.random() < self._message_ids:
                message_id = f"r{rng.randrange(max(self._last_id // 2, 1))}"
            data = PREFIX + b"%d " % self._last_id
            row = OutboxRow(self._last_id, channel, data, len(data), "", message_id)
            rows.append(Written(row, world.events.now_ns, transaction=transaction))
        delay_ns = int(rng.random() ** 2 * self._longest_ns)
        if steps:
            self._later(delay_ns, self._write, transaction, rows, steps)
        else:
            self._later(delay_ns, self._end, rows)

    def _end(self, rows: list[Written]) -> None:
        world = self.world
        if self.rng.random() < 0.2:
            world.trace("writer", f"rolls back rows {[one.row.row_id for one in rows]}")
            return
        world.trace("writer", f"commits rows {[one.row.row_id for one in rows]}")
        for one in rows:
            world.store.outbox.show(one, world.events.now_ns)
        server = world.server
        if self.rng.random() < 0.3 and not server.dead and not world.members:
            server.engine.wake_outbox(server.node.clock_ns())  # a notification

    def missing(self) -> Iterator[str]:
        for row_id in self.world.store.outbox.visible:
            yield f"row {row_id} of the outbox waits"
