"""Publishes that are sent again: stored once, acknowledged once more, in order."""

from random import Random

import pytest

from stan.engine.bursts import Burst
from stan.engine.guids import find_guids, group_guids, pack_guids
from stan.engine.limits import ChannelLimits, StoreLimits
from stan.engine.publishing import INVALID_PUBLISH, OVERLOADED
from stan.engine.records import ChannelRecord, GuidLoad
from stan.engine.settings import Settings
from stan.engine.state import Channel
from stan.errors import StoreRefusedError, StoreUnavailableError
from stan.units import SECOND_NS
from stan.wire.frames import Frame
from stan.wire.stan_pb2 import ConnectResponse, MsgProto, PubAck
from tests.tools.rig import Rig, connect, publish


@pytest.fixture
def rig() -> Rig:
    """A server with one client that may send publishes again."""
    rig = Rig()
    response = rig.ask(
        rig.engine.subjects.connect, connect("me", b"mine", resends=True), ConnectResponse
    )
    assert response.dedupeWindow == 120_000
    return rig


def again(data: bytes, after_ms: int = 1, **fields: object) -> Frame:
    return publish(data, resentAfter=after_ms, **fields)  # type: ignore[arg-type]


def stored(rig: Rig, channel: str = "foo") -> list[bytes]:
    """The payloads that the store holds, in order."""
    found = rig.engine.channels.by_name.get(channel)
    if found is None:
        return []
    log = rig.store._logs[found.channel_id]
    return [MsgProto.FromString(framed[framed.index(b"\n") + 1 : -2]).data for framed in log.framed]


def duplicates(rig: Rig) -> list[tuple[str, bool]]:
    acks = [PubAck.FromString(payload) for payload in rig.take_payloads("acks")]
    assert not any(ack.error for ack in acks)
    return [(ack.guid, ack.duplicate) for ack in acks]


def test_a_stored_publish_is_acked_again_and_not_stored_again(rig: Rig) -> None:
    rig.publish(b"one", b"two")
    rig.receive(again(b"one"), again(b"two"))
    assert duplicates(rig) == [("one", False), ("two", False), ("one", True), ("two", True)]
    assert stored(rig) == [b"one", b"two"]


def test_a_publish_that_was_lost_is_stored(rig: Rig) -> None:
    rig.publish(b"one")
    rig.receive(again(b"one"), again(b"two"))
    assert duplicates(rig) == [("one", False), ("one", True), ("two", False)]
    assert stored(rig) == [b"one", b"two"]


def test_what_comes_behind_a_held_publish_stays_behind_it(rig: Rig) -> None:
    rig.hold_loads = True
    rig.receive(again(b"one"), publish(b"two"))
    rig.publish(b"three")
    assert stored(rig) == []
    rig.hold_loads = False
    rig.run()
    assert stored(rig) == [b"one", b"two", b"three"]


def test_nothing_is_asked_behind_a_copy_of_what_is_on_its_way() -> None:
    """A store that answers at once would be asked for ever, and the commit never come. The client
    did not say that it sends again, so nothing else keeps the question back."""
    rig = Rig()
    rig.connect()
    rig.hold_loads = True
    rig.receive(again(b"one"), publish(b"one"), again(b"two"))
    load = rig.loads.pop()
    rig.hold = True
    rig.engine.loaded(load, rig.store.load_now(load), rig.now_ns)
    rig.run()
    assert rig.loads == []
    rig.hold = rig.hold_loads = False
    rig.run()
    assert stored(rig) == [b"one", b"one", b"two"]


def test_one_that_is_alike_stays_behind_those_that_are_still_held(rig: Rig) -> None:
    rig.hold_loads = True
    rig.receive(again(b"1"), publish(b"2"), publish(b"3"))
    load = rig.loads.pop()
    rig.receive(again(b"4"))
    rig.hold = True
    rig.engine.loaded(load, rig.store.load_now(load), rig.now_ns)
    rig.receive(publish(b"5"))
    rig.hold = rig.hold_loads = False
    rig.run()
    assert stored(rig) == [b"1", b"2", b"3", b"4", b"5"]


def test_others_do_not_wait_behind_a_held_publish(rig: Rig) -> None:
    rig.connect("other", b"theirs")
    rig.hold_loads = True
    rig.receive(again(b"one"))
    rig.publish(b"theirs", client_id="other")
    assert stored(rig) == [b"theirs"]


def test_a_publish_is_looked_up_only_when_its_first_one_is_settled(rig: Rig) -> None:
    rig.hold = True
    rig.publish(b"one")
    rig.receive(again(b"one"))
    rig.take()
    assert rig.loads == []
    rig.commit()
    rig.hold = False
    rig.run()
    assert duplicates(rig) == [("one", False), ("one", True)]
    assert stored(rig) == [b"one"]


def test_a_publish_whose_first_one_was_refused_is_stored(rig: Rig) -> None:
    rig.hold = True
    rig.publish(b"one")
    rig.receive(again(b"one"))
    rig.hold = False
    rig.fail(StoreRefusedError("the disk is full"))
    rig.wait(SECOND_NS)
    assert rig.acks() == [("one", "")]  # never refused and stored
    assert stored(rig) == [b"one"]


def test_a_publish_whose_first_one_is_tried_again_is_stored_once(rig: Rig) -> None:
    rig.hold = True
    rig.publish(b"one")
    rig.receive(again(b"one"))
    rig.hold = False
    rig.fail(StoreUnavailableError("gone"))
    rig.wait(SECOND_NS)
    assert duplicates(rig) == [("one", False), ("one", True)]
    assert stored(rig) == [b"one"]


def test_a_publish_sent_again_twice_is_stored_once(rig: Rig) -> None:
    rig.receive(again(b"one"), again(b"one"), again(b"two"), again(b"one"))
    assert stored(rig) == [b"one", b"two"]
    assert sorted(duplicates(rig)) == [
        ("one", False),
        ("one", True),
        ("one", True),
        ("two", False),
    ]


def test_the_guid_of_another_client_or_channel_is_another_publish(rig: Rig) -> None:
    rig.ask(rig.engine.subjects.connect, connect("you", resends=True), ConnectResponse)
    rig.publish(b"one")
    rig.receive(again(b"one", client_id="you"), again(b"one", channel="bar"))
    assert stored(rig) == [b"one", b"one"]
    assert stored(rig, "bar") == [b"one"]


def test_it_is_known_after_a_restart_and_by_another_session_of_the_client(rig: Rig) -> None:
    rig.publish(b"one")
    other = rig.restart()
    other.receive(again(b"one", 60_000, connID=b"mine"))
    other.receive(again(b"two", 60_000, connID=b"mine"))
    assert duplicates(other) == [("one", True), ("two", False)]
    assert stored(other) == [b"one", b"two"]


def test_a_read_that_fails_is_repeated(rig: Rig) -> None:
    rig.publish(b"one")
    rig.hold_loads = True
    rig.receive(again(b"one"))
    (load,) = rig.loads
    assert isinstance(load, GuidLoad)
    rig.loads = []
    rig.engine.load_failed(load, StoreUnavailableError("gone"), rig.now_ns)
    rig.hold_loads = False
    rig.run()
    assert duplicates(rig) == [("one", False), ("one", True)]


def test_only_the_time_since_it_was_first_sent_is_searched(rig: Rig) -> None:
    rig.hold_loads = True
    rig.receive(again(b"one", 5_000), again(b"two", 50))
    (load,) = rig.loads
    assert isinstance(load, GuidLoad)
    assert load.since_ns == rig.now_ns - 5 * SECOND_NS - 10 * SECOND_NS
    assert len(load.keys) == 2


def test_what_others_do_not_mark_is_not_recorded() -> None:
    rig = Rig()
    rig.connect("me", b"mine")
    rig.hold = True
    rig.publish(b"one")
    assert rig.batch is not None
    assert rig.batch.guids == b""
    assert rig.batch.sealed_ns == 0


def test_a_server_that_may_be_replaced_records_all() -> None:
    rig = Rig(Settings(record_all_guids=True))
    rig.connect("me", b"mine")
    rig.publish(b"one")
    rig.receive(again(b"one"))
    assert duplicates(rig) == [("one", False), ("one", True)]


def test_a_message_id_is_stored_once_whoever_publishes_it(rig: Rig) -> None:
    rig.connect("other", b"theirs")
    rig.receive(
        publish(b"a", guid="1", messageId="order-17"),
        publish(b"b", guid="2", client_id="other", messageId="order-17"),
        publish(b"c", guid="3", client_id="other", messageId="order-18"),
        publish(b"d", guid="4", channel="bar", messageId="order-17"),
    )
    assert stored(rig) == [b"a", b"c"]
    assert stored(rig, "bar") == [b"d"]
    assert sorted(duplicates(rig)) == [("1", False), ("2", True), ("3", False), ("4", False)]


def test_a_message_id_may_come_again_after_the_window(rig: Rig) -> None:
    rig.receive(publish(b"a", messageId="order-17"))
    rig.wait(119 * SECOND_NS)
    rig.receive(publish(b"b", messageId="order-17"))
    rig.wait(2 * SECOND_NS)
    rig.receive(publish(b"c", messageId="order-17"))
    assert stored(rig) == [b"a", b"c"]


def test_a_marked_publish_is_validated_when_it_comes(rig: Rig) -> None:
    rig.receive(again(b"one", channel="a..b"), again(b"two", client_id="nobody"))
    assert rig.acks() == [("one", INVALID_PUBLISH), ("two", INVALID_PUBLISH)]
    assert not rig.engine.publishing.guids.holds


def test_what_is_held_is_bounded() -> None:
    rig = Rig(Settings(queue_bytes=1000))
    rig.connect("me", b"mine")
    rig.hold_loads = True
    rig.receive(*(again(b"%03d" % n + bytes(200), guid=f"{n}") for n in range(10)))
    # They may be stored, so nothing is said of those for which there is no room.
    assert rig.acks() == []
    refused = rig.engine.publishing.refused
    assert refused
    assert rig.engine.publishing.guids.held_bytes < 1400
    rig.receive(publish(b"new" + bytes(200)))
    assert rig.acks() == [("new" + "\0" * 200, OVERLOADED)]
    rig.hold_loads = False
    rig.run()
    assert len(stored(rig)) == 10 - refused
    assert rig.engine.publishing.guids.held_bytes == 0


def test_a_queue_that_is_full_refuses_no_copy_of_what_is_stored() -> None:
    rig = Rig(Settings(queue_messages=2))
    rig.ask(rig.engine.subjects.connect, connect("me", b"mine", resends=True), ConnectResponse)
    rig.publish(b"one")
    rig.hold = True
    rig.publish(b"2")
    rig.publish(b"3", b"4", b"5", b"6")
    assert rig.acks() == [("one", ""), ("6", OVERLOADED)]
    rig.receive(again(b"one"))
    rig.hold = False
    rig.run()
    assert ("one", "") in rig.acks()
    assert stored(rig).count(b"one") == 1


def test_a_copy_that_can_wait_nowhere_is_not_refused(rig: Rig) -> None:
    for frame in (again(b"one"), publish(b"two")):
        assert frame[2] is not None
        rig.engine.publishing.refuse_overloaded(frame[2], frame[1])
    rig.run()
    assert rig.acks() == [("two", OVERLOADED)]


def test_a_copy_of_what_is_held_without_a_mark_is_no_other_publish(rig: Rig) -> None:
    rig.hold_loads = True
    rig.receive(again(b"one"), publish(b"two"), again(b"two"))
    rig.hold_loads = False
    rig.run()
    assert duplicates(rig) == [("one", False), ("two", False), ("two", True)]
    assert stored(rig) == [b"one", b"two"]


def test_a_copy_with_a_message_id_finds_the_first_one_at_the_end_of_the_window(rig: Rig) -> None:
    rig.receive(publish(b"one", messageId="order-17"))
    rig.wait(119 * SECOND_NS)
    rig.hold_loads = True
    rig.receive(again(b"one", 119_000, messageId="order-17"))
    rig.wait(2 * SECOND_NS)
    load = rig.loads[0]
    assert isinstance(load, GuidLoad)
    assert load.message_ids_since_ns == load.since_ns == rig.now_ns - (2 + 119 + 10) * SECOND_NS


def test_a_channel_is_not_deleted_while_a_publish_to_it_is_held() -> None:
    limits = ChannelLimits(max_inactivity_ns=SECOND_NS)
    rig = Rig(Settings(limits=StoreLimits(defaults=limits)))
    rig.ask(rig.engine.subjects.connect, connect("me", b"mine", resends=True), ConnectResponse)
    rig.publish(b"one")
    rig.hold_loads = True
    rig.receive(again(b"two"))
    rig.wait(3 * SECOND_NS)
    rig.receive(again(b"two"))
    rig.hold_loads = False
    rig.run()
    assert stored(rig) == [b"one", b"two"]


def test_the_same_client_registers_again_without_proof_of_silence(rig: Rig) -> None:
    rig.subscribe()
    response = rig.ask(
        rig.engine.subjects.connect, connect("me", b"mine", resends=True), ConnectResponse
    )
    assert response.error == ""
    assert rig.take_payloads("hb.me") == []
    rig.publish(b"one")
    assert rig.sequences() == []  # the subscription ended with the old registration
    assert rig.acks() == [("one", "")]


def make_bursts(random: Random) -> list[Burst]:
    bursts = []
    for _ in range(random.randrange(6)):
        channel = Channel(ChannelRecord(random.randrange(1, 400), "foo"), ChannelLimits())
        sizes = [22] if random.random() < 0.5 else [1, 22, 127, 300]
        burst = Burst(channel, "me", b"acks", 22 if sizes == [22] else 0)
        burst.publisher = random.choice(["", "me", "you-" + "x" * 200])
        burst.guids = [
            random.randbytes(random.choice(sizes)) for _ in range(random.randrange(1, 9))
        ]
        if burst.guid_size and random.random() < 0.5:
            burst.guids = [b"ABCDEFGHIJKL%010d" % n for n in range(random.randrange(1, 300))]
        bursts.append(burst)
    return bursts


def test_a_record_holds_exactly_what_was_packed() -> None:
    random = Random(1)
    for _ in range(300):
        bursts = make_bursts(random)
        keys = {
            (burst.channel.channel_id, burst.publisher, guid)
            for burst in bursts
            for guid in burst.guids
        }
        recorded = {key for key in keys if key[1]}
        absent = {(number, client_id, guid + b"!") for number, client_id, guid in keys}
        wanted = group_guids(keys | absent)
        assert find_guids(pack_guids(bursts), wanted) == recorded
        assert not find_guids(pack_guids(bursts), wanted)  # they are not wanted any more


def test_a_stem_is_recorded_once() -> None:
    burst = Burst(Channel(ChannelRecord(1, "foo"), ChannelLimits()), "me", b"acks", 22)
    burst.publisher = "me"
    burst.guids = [b"ABCDEFGHIJKL%010d" % n for n in range(1000)]
    assert len(pack_guids([burst])) < 3 * 1000 + 100
