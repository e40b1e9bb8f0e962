"""A batch is shared between publishers, and bounded, however much one of them has queued."""

from random import Random

import pytest

from stan.engine import invariants
from stan.engine.bursts import BURST_BYTES, BURST_MESSAGES, Burst
from stan.engine.lanes import LITTLE_BYTES, Lanes
from stan.engine.limits import ChannelLimits
from stan.engine.records import ChannelRecord
from stan.engine.settings import Settings
from stan.engine.state import Channel
from stan.errors import StoreUnavailableError
from stan.wire.stan_pb2 import PubMsg
from tests.tools.rig import Rig

MESSAGES = 4 * BURST_MESSAGES


def publishes(client: str, count: int, size: int = 8, channel: str = "foo") -> list[bytes]:
    return [
        PubMsg(
            clientID=client, guid=f"{client}{number:09}", subject=channel, data=bytes(size)
        ).SerializeToString()
        for number in range(count)
    ]


@pytest.fixture
def rig() -> Rig:
    rig = Rig(Settings(batch_messages=2 * BURST_MESSAGES, batch_bytes=4 * BURST_BYTES))
    for client in ("flood", "other", "single"):
        rig.connect(client)
    rig.hold = True
    return rig


def send(rig: Rig, *payloads: bytes) -> None:
    head = payloads[0][2 : 2 + payloads[0][1]]
    frames = [(b"_STAN.pub.test-cluster.foo", b"acks." + head, one) for one in payloads]
    rig.engine.receive(frames, rig.now_ns)
    invariants.check(rig.engine)


def connect_many(rig: Rig, count: int) -> list[str]:
    """So many more publishers; how they are called."""
    names = [f"few{number}" for number in range(count)]
    rig.hold = False
    for name in names:
        rig.connect(name)
    rig.hold = True
    return names


def batch_guids(rig: Rig) -> list[bytes]:
    """Seal and commit one batch; the guids that it acknowledges, in order."""
    batch = rig.engine.seal(rig.now_ns)
    assert batch is not None
    guids = [guid for burst in rig.engine.batches._bursts for guid in burst.guids]
    assert [len(run.framed) for run in batch.runs if run.channel == "foo"] == [len(guids)]
    rig.engine.committed(batch, rig.store.commit_now(batch), rig.now_ns)
    invariants.check(rig.engine)
    return guids


def test_one_publisher_fills_a_batch_up_to_its_bound(rig: Rig) -> None:
    send(rig, *publishes("flood", MESSAGES))
    sizes = []
    while rig.engine.publishing.queued_messages:
        sizes.append(len(batch_guids(rig)))
    assert sizes == [2 * BURST_MESSAGES] * 2


def test_large_messages_fill_a_batch_by_their_bytes(rig: Rig) -> None:
    send(rig, *publishes("flood", 10, BURST_BYTES))
    assert [len(batch_guids(rig)) for _ in range(3)] == [4, 4, 2]


def test_who_publishes_one_message_is_in_the_next_batch(rig: Rig) -> None:
    send(rig, *publishes("flood", MESSAGES))
    send(rig, *publishes("single", 1))
    assert batch_guids(rig)[-1] == b"single000000000"
    assert len(batch_guids(rig)) == MESSAGES - 2 * BURST_MESSAGES


def test_who_has_little_does_not_wait_for_a_whole_batch_of_others(rig: Rig) -> None:
    for client in ("flood", "other"):
        send(rig, *publishes(client, MESSAGES))
    send(rig, *publishes("single", 1))
    hasty, usual = batch_guids(rig), batch_guids(rig)
    assert b"single000000000" in hasty
    assert (len(hasty), len(usual)) == (BURST_MESSAGES + 1, 2 * BURST_MESSAGES)


def test_many_with_little_leave_something_of_the_batch_to_others(rig: Rig) -> None:
    names = connect_many(rig, 2 * BURST_MESSAGES)
    send(rig, *publishes("flood", MESSAGES))
    for name in names:
        send(rig, *publishes(name, 1))
    guids = batch_guids(rig)
    assert len([guid for guid in guids if guid.startswith(b"few")]) == 2 * BURST_MESSAGES
    assert len([guid for guid in guids if guid.startswith(b"flood")]) == BURST_MESSAGES


def test_many_with_little_and_nobody_else_fill_a_batch(rig: Rig) -> None:
    for name in connect_many(rig, 3 * BURST_MESSAGES):
        send(rig, *publishes(name, 1))
    assert [len(batch_guids(rig)) for _ in range(2)] == [2 * BURST_MESSAGES + 64, 192]


def test_a_small_burst_behind_others_of_its_publisher_waits_for_them(rig: Rig) -> None:
    send(rig, *publishes("flood", 2 * BURST_MESSAGES + 1))
    send(rig, *publishes("other", MESSAGES))
    taken = [guid for guid in batch_guids(rig) if guid.startswith(b"flood")]
    assert taken == sorted(taken)
    assert len(taken) == BURST_MESSAGES


def test_floods_share_a_batch_and_keep_their_own_order(rig: Rig) -> None:
    send(rig, *publishes("flood", MESSAGES))
    send(rig, *publishes("other", MESSAGES))
    first = batch_guids(rig)
    assert len([guid for guid in first if guid.startswith(b"other")]) == BURST_MESSAGES
    everything = list(first)
    while rig.engine.publishing.queued_messages:
        everything += batch_guids(rig)
    for name in (b"flood", b"other"):
        own = [guid for guid in everything if guid.startswith(name)]
        assert own == sorted(own)
        assert len(own) == MESSAGES


def test_what_fits_into_a_batch_keeps_the_order_of_arrival(rig: Rig) -> None:
    for number in range(4):
        send(rig, publishes("flood", 4)[number])
        send(rig, publishes("other", 4)[number])
    assert batch_guids(rig) == [
        f"{client}{number:09}".encode() for number in range(4) for client in ("flood", "other")
    ]


def test_a_failed_batch_is_queued_again_before_what_came_since(rig: Rig) -> None:
    send(rig, *publishes("flood", MESSAGES))
    batch = rig.engine.seal(rig.now_ns)
    assert batch is not None
    send(rig, *publishes("flood", MESSAGES + 9)[MESSAGES:])
    rig.engine.commit_failed(batch, StoreUnavailableError("away"), rig.now_ns)
    invariants.check(rig.engine)
    rig.now_ns += rig.settings.retry_interval_ns
    everything: list[bytes] = []
    while rig.engine.publishing.queued_messages:
        everything += batch_guids(rig)
    assert everything == sorted(everything)
    assert len(everything) == MESSAGES + 9


def test_a_burst_that_is_begun_in_vain_leaves_no_trace(rig: Rig) -> None:
    send(rig, *publishes("flood", BURST_MESSAGES))
    send(rig, *publishes("flood", 1, channel="bar"))
    assert len(list(rig.engine.publishing.lanes)) == 2
    assert all(burst.guids for burst in rig.engine.publishing.lanes)


def test_a_small_batch_has_something_of_everybody() -> None:
    rig = Rig(Settings(batch_messages=4, batch_bytes=4 * BURST_BYTES))
    rig.connect("flood")
    rig.connect("single")
    rig.hold = True
    send(rig, *publishes("flood", MESSAGES))
    send(rig, *publishes("single", 1))
    assert len(batch_guids(rig)) == BURST_MESSAGES + 1


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_publisher_keeps_its_order(seed: int) -> None:
    random = Random(seed)
    channel = Channel(ChannelRecord(1, "foo"), ChannelLimits())
    lanes = Lanes()
    waiting: dict[str, list[Burst]] = {}

    def take(taken: list[Burst]) -> None:
        for burst in taken:
            assert waiting[burst.client_id].pop(0) is burst
        if random.random() < 0.3:  # the batch failed
            lanes.put_back(taken)
            for burst in reversed(taken):
                waiting[burst.client_id].insert(0, burst)

    for _ in range(300):
        client = random.choice("abc")
        own = waiting.setdefault(client, [])
        act = random.random()
        if act < 0.7:
            burst = Burst(channel, client, b"acks", 1)
            burst.guids = [b"1"] * random.randint(1, 3)
            burst.queued_bytes = random.choice((10, LITTLE_BYTES + 1))
            lanes.append(burst)
            own.append(burst)
        elif act < 0.75 and own:
            lanes.drop_last(own.pop())
        elif act < 0.8:
            assert lanes.drop(client) == own
            own.clear()
        elif act < 0.82:
            take(lanes.take_all())
        else:
            take(lanes.take(random.randint(1, 8), 1000))
        everybody = [burst for each in waiting.values() for burst in each]
        assert sorted(lanes, key=id) == sorted(everybody, key=id)
        assert all(lanes.has_several(who) == (len(own) > 1) for who, own in waiting.items())
        assert lanes.first_number() == min((burst.number for burst in everybody), default=0)
