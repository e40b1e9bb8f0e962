"""Rows of the outbox table on their way into a batch."""

import pytest

from stan.engine.limits import StoreLimits
from stan.engine.records import OutboxLoad, OutboxRow
from stan.engine.relaying import LONGEST_PAUSE_NS, SHORTEST_PAUSE_NS
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.errors import StoreRefusedError, StoreUnavailableError
from stan.store.memory import MemoryStore
from stan.wire.stan_pb2 import MsgProto
from tests.tools.rig import Rig


def row(row_id: int, data: bytes = b"x", channel: str = "orders", **more: str) -> OutboxRow:
    return OutboxRow(row_id, channel, data, len(data), **more)


def put(rig: Rig, *rows: OutboxRow) -> None:
    for one in rows:
        rig.store.outbox[one.row_id] = one


def started(**settings: object) -> Rig:
    rig = Rig(Settings(outbox=True, **settings), MemoryStore())  # type: ignore[arg-type]
    rig.engine.start(rig.now_ns)
    rig.run()
    return rig


def stored(rig: Rig, channel: str = "orders") -> list[bytes]:
    """The payloads of a channel, in order."""
    found = rig.engine.channels.by_name.get(channel)
    if found is None:
        return []
    log = rig.store._logs[found.channel_id]
    return [MsgProto.FromString(framed.split(b"\r\n", 1)[1][:-2]).data for framed in log.framed]


def look(rig: Rig) -> None:
    rig.engine.wake_outbox(rig.now_ns)
    rig.run()


def test_a_row_becomes_one_message_and_goes() -> None:
    rig = started()
    put(rig, row(1, b"a"), row(2, b"b"), row(3, b"c", "others"))
    look(rig)
    assert stored(rig) == [b"a", b"b"]
    assert stored(rig, "others") == [b"c"]
    assert rig.store.outbox == {}
    assert rig.engine.batches.relaying.relayed == 3
    assert rig.engine.publishing.queued_messages == rig.engine.publishing.queued_bytes == 0


def test_a_row_that_becomes_visible_late_is_not_skipped() -> None:
    rig = started()
    put(rig, row(5, b"5"))
    look(rig)
    put(rig, row(2, b"2"))
    look(rig)
    assert stored(rig) == [b"5", b"2"]


def test_without_the_option_nothing_is_read() -> None:
    rig = Rig(Settings(), MemoryStore())
    rig.engine.start(rig.now_ns)
    put(rig, row(1))
    look(rig)
    assert rig.engine.next_deadline_ns() is None
    assert rig.store.outbox
    assert not rig.store._logs


def test_an_empty_table_is_looked_at_less_and_less() -> None:
    rig = started()
    pauses = []
    for _ in range(9):
        due_ns = rig.engine.next_deadline_ns()
        assert due_ns is not None
        pauses.append(due_ns - rig.now_ns)
        rig.wait(due_ns - rig.now_ns)
    assert pauses[:3] == [SHORTEST_PAUSE_NS, 2 * SHORTEST_PAUSE_NS, 4 * SHORTEST_PAUSE_NS]
    assert pauses[-1] == LONGEST_PAUSE_NS
    put(rig, row(1, b"a"))
    rig.wait(LONGEST_PAUSE_NS)
    assert stored(rig) == [b"a"]
    assert rig.engine.batches.relaying._pause_ns < LONGEST_PAUSE_NS


def test_the_next_rows_are_read_when_the_last_are_settled() -> None:
    rig = started()
    rig.hold = True
    put(rig, row(1, b"a"))
    look(rig)
    put(rig, row(2, b"b"))
    look(rig)
    rig.wait(5 * LONGEST_PAUSE_NS)
    assert rig.batch is not None
    assert rig.batch.outbox_taken == [1]
    rig.hold = False
    rig.run()
    assert stored(rig) == [b"a", b"b"]
    assert not rig.store.outbox


def test_a_commit_that_failed_is_tried_again_with_the_same_rows() -> None:
    rig = started()
    rig.hold = True
    put(rig, row(1, b"a"), row(2, b"", "a..b"), row(3, b"c"))
    look(rig)
    rig.fail(StoreUnavailableError("away"))
    rig.hold = False
    rig.wait(400 * MILLISECOND_NS)
    assert stored(rig) == [b"a", b"c"]
    assert not rig.store.outbox
    assert list(rig.store.outbox_parked) == [2]


def test_what_cannot_be_published_is_parked_and_holds_nobody_up() -> None:
    rig = started(limits=StoreLimits(max_channels=1), max_payload_bytes=2000)
    put(
        rig,
        row(1, b"a"),
        row(2, b"b", "a..b"),
        row(3, b"c", "a.>"),
        OutboxRow(4, "orders", b"", 5000),
        row(5, b"e", "second"),
        row(6, b"f", ""),
        row(7, b"g"),
    )
    look(rig)
    assert stored(rig) == [b"a", b"g"]
    reasons = {number: reason for number, (_, reason) in rig.store.outbox_parked.items()}
    assert reasons == {
        2: "this is no valid channel name",
        3: "this is no valid channel name",
        4: "nats: maximum payload exceeded",
        5: "too many channels",
        6: "this is no valid channel name",
    }
    assert rig.engine.batches.relaying.parked == 5
    put(rig, rig.store.outbox_parked.pop(2)[0])  # moved back: tried again
    look(rig)
    assert list(rig.store.outbox_parked) == [3, 4, 5, 6, 2]


def test_a_message_id_is_stored_once() -> None:
    rig = started()
    put(rig, row(1, b"a", message_id="one"), row(2, b"b"), row(3, b"c", message_id="one"))
    look(rig)
    assert stored(rig) == [b"a", b"b"]
    assert not rig.store.outbox
    put(rig, row(4, b"d", message_id="one"), row(5, b"e", message_id="two"))
    look(rig)
    assert stored(rig) == [b"a", b"b", b"e"]
    assert not rig.store.outbox
    assert (rig.engine.batches.relaying.relayed, rig.engine.batches.relaying.duplicates) == (3, 2)
    other = rig.restart()
    other.engine.start(other.now_ns)
    put(other, row(6, b"f", message_id="two"), row(7, b"g", message_id="three"))
    look(other)
    assert stored(other) == [b"a", b"b", b"e", b"g"]
    assert not other.store.outbox


def test_replies_are_kept() -> None:
    rig = started()
    put(rig, row(1, b"a"), row(2, b"b", reply="answers.to"), row(3, b"c"))
    look(rig)
    [log] = rig.store._logs.values()
    assert [b"answers.to" in framed for framed in log.framed] == [False, True, False]


@pytest.mark.parametrize("bad", [1, 40, 97])
def test_a_row_that_the_store_refuses_is_parked_alone(bad: int) -> None:
    rig = started()
    put(rig, *[row(number, b"!" if number == bad else b"x") for number in range(1, 100)])
    rig.hold = True
    look(rig)
    for _ in range(200):
        if rig.batch is not None:
            refused = bad in rig.batch.outbox_taken
            rig.fail(StoreRefusedError("too much")) if refused else rig.commit()
        rig.wait(300 * MILLISECOND_NS)
    assert stored(rig) == [b"x"] * 98
    assert [reason for _, reason in rig.store.outbox_parked.values()] == ["too much"]
    assert rig.engine.publishing.queued_messages == rig.engine.publishing.queued_bytes == 0


def test_a_refused_batch_loses_nothing_of_a_later_one() -> None:
    """More rows than a batch takes: what is queued behind the refused ones is read again."""
    rig = started(batch_messages=256)
    put(rig, *[row(number, bytes([number % 256])) for number in range(1, 1001)])
    rig.hold = True
    look(rig)
    assert rig.batch is not None
    assert 0 < len(rig.batch.outbox_taken) < 1000
    rig.fail(StoreRefusedError("disk full"))
    rig.hold = False
    rig.wait(2000 * MILLISECOND_NS)
    assert stored(rig) == [bytes([number % 256]) for number in range(1, 1001)]
    assert not rig.store.outbox
    assert not rig.store.outbox_parked


def test_a_load_that_failed_is_asked_for_again() -> None:
    rig = started()
    rig.hold_loads = True
    put(rig, row(1, b"a"))
    look(rig)
    [load] = rig.loads
    assert isinstance(load, OutboxLoad)
    rig.loads, rig.hold_loads = [], False
    rig.engine.load_failed(load, StoreUnavailableError("away"), rig.now_ns)
    rig.run()
    rig.wait(LONGEST_PAUSE_NS)
    assert stored(rig) == [b"a"]
