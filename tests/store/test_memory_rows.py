"""What only the memory store keeps in lists of its own: outbox rows, and what was published."""

from stan.engine.records import Batch, GuidLoad, OutboxLoad, OutboxRow
from stan.store.memory import MemoryStore


def test_outbox_rows_are_read_as_far_as_the_bytes_go() -> None:
    store = MemoryStore()
    for row_id in (1, 2, 3):
        store.outbox[row_id] = OutboxRow(row_id, "foo", b"x" * 10, 10)
    found = store.load_now(OutboxLoad(1, 100, 15, 1 << 20)).rows
    assert [row.row_id for row in found] == [1, 2]


def test_only_a_row_that_is_there_is_parked() -> None:
    store = MemoryStore()
    store.outbox[1] = OutboxRow(1, "..", b"x", 1)
    store.commit_now(Batch(1, outbox_parked=[(1, "no name"), (2, "no name")]))
    assert store.outbox == {}
    assert [reason for _, reason in store.outbox_parked.values()] == ["no name"]


def test_what_is_old_is_forgotten() -> None:
    store = MemoryStore()
    old, new = (1, b"old"), (1, b"new")
    store.commit_now(Batch(1, guids=b"", message_ids=[old], sealed_ns=10))
    store.commit_now(Batch(2, guids=b"", message_ids=[new], sealed_ns=100, forget_ns=50))
    keys = frozenset({(1, "", b"old"), (1, "", b"new")})
    assert store.load_now(GuidLoad(1, 0, 0, keys)).found == frozenset({(1, "", b"new")})
