"""Publishes: validation, order, acks after the commit, what happens when a commit fails."""

from random import Random

import pytest

from stan.engine.publishing import INVALID_PUBLISH, OVERLOADED, PAYLOAD_TOO_LARGE
from stan.engine.records import Result
from stan.engine.settings import Settings
from stan.errors import StoreRefusedError, StoreUnavailableError
from stan.units import SECOND_NS
from stan.wire.frames import Frame
from stan.wire.messages import unframe_message
from stan.wire.server_pb2 import CtrlMsg
from stan.wire.stan_pb2 import MsgProto, PubMsg
from tests.tools.rig import Rig, limited, publish, receive_both_ways

PUBLISH = b"_STAN.pub.test-cluster.x"


def test_acks_come_in_order_and_sequences_rise_from_one_029(rig: Rig) -> None:
    rig.subscribe()
    rig.publish(*(b"m%d" % n for n in range(10)))
    assert rig.acks() == [(f"m{n}", "") for n in range(10)]
    assert rig.sequences() == list(range(1, 11))


def test_nothing_is_acked_or_delivered_before_the_commit(rig: Rig) -> None:
    rig.subscribe()
    rig.hold = True
    rig.publish(b"one")
    assert rig.sent == []
    rig.commit()
    rig.run()
    assert rig.acks() == [("one", "")]
    assert rig.sequences() == [1]


def test_publishes_wait_while_a_batch_is_in_flight(rig: Rig) -> None:
    rig.hold = True
    rig.publish(b"one")
    first = rig.batch
    rig.publish(b"two", b"three")
    assert rig.batch is first
    rig.commit()
    rig.run()
    assert rig.batch is not None
    assert [len(run.framed) for run in rig.batch.runs] == [2]
    assert rig.batch.runs[0].first_sequence == 2


def test_a_publish_without_a_guid_is_refused_020(rig: Rig) -> None:
    rig.receive((PUBLISH, b"acks", PubMsg(clientID="me", subject="foo").SerializeToString()))
    assert rig.acks() == [("", INVALID_PUBLISH)]


def test_a_guid_may_be_missing_in_the_middle_of_a_burst(rig: Rig) -> None:
    empty = (PUBLISH, b"acks", PubMsg(clientID="me", subject="foo").SerializeToString())
    rig.receive(publish(b"a"), publish(b"bb"), empty, publish(b"ccc"), empty)
    assert rig.acks() == [("", INVALID_PUBLISH)] * 2 + [("a", ""), ("bb", ""), ("ccc", "")]


@pytest.mark.parametrize("channel", ["foo*", "foo.>", ".foo", "foo.", "foo..bar", "a/b", ""])
def test_invalid_channels_are_refused_021(rig: Rig, channel: str) -> None:
    rig.publish(b"x", channel=channel)
    assert rig.acks() == [("x", INVALID_PUBLISH)]
    assert not rig.engine.channels.by_name


def test_the_channel_is_the_one_named_inside_022(rig: Rig) -> None:
    rig.publish(b"x", channel="other")
    assert list(rig.engine.channels.by_name) == ["other"]


def test_empty_data_is_stored_and_delivered_023(rig: Rig) -> None:
    rig.subscribe()
    rig.receive(publish(b"", guid="g"))
    assert [message.data for message in rig.messages()] == [b""]
    assert rig.acks() == [("g", "")]


def test_too_many_channels_024() -> None:
    rig = Rig(limited(max_channels=1))
    rig.connect()
    rig.publish(b"x")
    rig.publish(b"y", channel="bar")
    assert rig.acks() == [("x", ""), ("y", "too many channels")]
    assert list(rig.engine.channels.by_name) == ["foo"]


def test_the_same_guid_twice_is_two_messages_025(rig: Rig) -> None:
    rig.subscribe()
    rig.receive(publish(b"x"), publish(b"x"))
    assert rig.sequences() == [1, 2]


def test_channels_may_not_differ_in_case_only_026(rig: Rig) -> None:
    rig.publish(b"x", channel="Foo")
    rig.publish(b"y", channel="foo")
    assert rig.acks()[1][1] == (
        'rejecting channel "foo" because channel "Foo" alreay exists (different cases not allowed)'
    )


def test_the_reply_field_is_kept_027(rig: Rig) -> None:
    rig.subscribe()
    rig.receive(publish(b"a"), publish(b"b", reply="there"), publish(b"c"))
    assert [message.reply for message in rig.messages()] == ["", "there", ""]


def test_timestamps_never_decrease_028(rig: Rig) -> None:
    rig.subscribe()
    rig.publish(b"a")
    rig.now_ns -= 5 * SECOND_NS
    rig.publish(b"b")
    first, second = rig.messages()
    assert first.timestamp == second.timestamp


def test_a_connection_id_alone_decides_who_publishes_012() -> None:
    rig = Rig()
    rig.connect("me", b"right")
    rig.receive(publish(b"a", connID=b"wrong"), publish(b"b", connID=b"right", client_id="else"))
    rig.receive(publish(b"c", client_id="nobody"))
    assert rig.acks() == [("a", INVALID_PUBLISH), ("b", ""), ("c", INVALID_PUBLISH)]


def test_what_is_no_publish_is_refused_unless_servers_talk(rig: Rig) -> None:
    rig.receive((PUBLISH, b"acks", b"dummy"))
    assert rig.acks() == [("", INVALID_PUBLISH)]
    # Field 2 is a string in both; field 1 an enumeration here and a string there.
    control = (
        CtrlMsg(MsgType=CtrlMsg.FTHeartbeat, ServerID="other").SerializeToString() + b"\x1a\x01\xff"
    )
    rig.receive((PUBLISH, b"acks", control))
    assert rig.acks() == []
    # Without the bad byte it decodes as a publish, and is still none.
    rig.receive((PUBLISH, b"acks", control[:-3]))
    assert rig.acks() == []


@pytest.mark.parametrize("field", [b"\x0a", b"\x1a"])
def test_a_client_id_or_channel_that_is_no_text_is_answered(rig: Rig, field: bytes) -> None:
    rig.receive((PUBLISH, b"acks", field + b"\x02\xff\xfe\x12\x01g"))
    assert rig.acks() == [("", INVALID_PUBLISH)]


def test_a_publish_without_a_reply_subject_is_stored(rig: Rig) -> None:
    subject, _, payload = publish(b"x")
    rig.receive((subject, b"", payload))
    assert rig.engine.channels.by_name["foo"].last == 1
    assert rig.sent == []


@pytest.mark.parametrize("guids", [["a", "bb"], ["ä", "b"], ["x" * 127, "y" * 128], ["z" * 300]])
def test_guids_of_any_length_are_acked(rig: Rig, guids: list[str]) -> None:
    rig.receive(*(publish(b"", guid=guid) for guid in guids))
    assert rig.acks() == [(guid, "") for guid in guids]


@pytest.mark.parametrize("count", [1, 126, 127, 128, 129, 300])
def test_every_delivered_message_is_protobufs(rig: Rig, count: int) -> None:
    rig.subscribe(maxInFlight=1000)
    sizes = [0, 1, 1, 127, 128, 200, 20_000]
    frames = [publish(b"x" * sizes[n % 7], guid=f"{n}") for n in range(count)]
    rig.hold = True
    rig.receive(*frames)
    assert rig.batch is not None
    (run,) = rig.batch.runs
    for index, framed in enumerate(run.framed):
        message = MsgProto(
            sequence=index + 1,
            subject="foo",
            data=b"x" * sizes[index % 7],
            timestamp=run.timestamp_ns,
        )
        assert unframe_message(framed) == message.SerializeToString()
        assert run.sizes[index] == message.ByteSize()


@pytest.mark.parametrize("reply", ["", "_INBOX.reply"])
def test_a_message_counts_as_large_as_its_encrypted_payload_makes_it(reply: str) -> None:
    overhead_bytes = 29
    rig = Rig(Settings(payload_overhead_bytes=overhead_bytes))
    rig.connect()
    sizes = [0, 1, 98, 99, 127, 128, 128, 0, 16_354, 16_355, 16_384]
    rig.hold = True
    rig.receive(*(publish(b"x" * size, guid="g", reply=reply) for size in sizes))
    assert rig.batch is not None
    (run,) = rig.batch.runs
    delivered = [MsgProto.FromString(unframe_message(framed)) for framed in run.framed]
    assert [len(message.data) for message in delivered] == sizes
    for message in delivered:
        message.data += bytes(overhead_bytes) if message.data else b""
    assert run.sizes == [message.ByteSize() for message in delivered]


def test_an_unreachable_store_is_tried_again_with_the_same_messages(rig: Rig) -> None:
    rig.hold = True
    rig.publish(b"one", b"two")
    rig.publish(b"three")
    rig.fail(StoreUnavailableError("away"))
    assert rig.batch is None
    rig.hold = False
    rig.wait(SECOND_NS)
    assert rig.acks() == [("one", ""), ("two", ""), ("three", "")]
    assert rig.engine.channels.by_name["foo"].last == 3


def test_messages_of_a_failed_batch_keep_their_order(rig: Rig) -> None:
    rig.hold = True
    rig.publish(b"sealed")
    rig.receive(publish(b"1"), publish(b"2", "bar"), publish(b"3"), publish(b"4", "bar"))
    rig.commit()
    rig.run()
    rig.publish(b"5")
    rig.fail(StoreUnavailableError("away"))
    rig.hold = False
    rig.wait(SECOND_NS)
    assert [guid for guid, _ in rig.acks()] == ["sealed", "1", "2", "3", "4", "5"]


def test_an_unfinished_trim_is_asked_for_again() -> None:
    rig = Rig(limited(max_messages=1))
    rig.connect()
    rig.hold = True
    rig.publish(b"a", b"b")
    assert rig.batch is not None
    rig.store.commit_now(rig.batch)
    channel_id = rig.batch.trims[0].channel_id
    rig.engine.committed(rig.batch, Result(unfinished=frozenset({channel_id})), rig.now_ns)
    rig.batch = None
    rig.run()
    assert rig.batch is not None
    assert [trim.min_sequence for trim in rig.batch.trims] == [2]


def test_a_channel_deleted_behind_an_unfinished_trim_leaves_nothing_behind() -> None:
    rig = Rig(limited(max_messages=2, max_inactivity_ns=SECOND_NS))
    rig.connect("me")
    rig.hold = True
    rig.publish(b"one", b"two", b"three")
    assert rig.batch is not None
    old_id = rig.batch.runs[0].channel_id
    rig.store.commit_now(rig.batch)
    unfinished = Result(unfinished=frozenset({old_id}))
    rig.engine.committed(rig.batch, unfinished, rig.now_ns)
    rig.batch = None
    rig.hold = False
    assert rig.engine.channels.by_name["foo"].bounds_unknown
    rig.wait(3 * SECOND_NS)
    assert "foo" not in rig.engine.channels.by_name
    assert old_id not in rig.engine.changes.trims_due
    rig.publish(b"four")
    again = rig.engine.channels.by_name["foo"]
    assert (again.channel_id == old_id, again.bounds_unknown) == (False, False)


def test_a_refusal_reaches_the_publishers_and_burns_no_sequence(rig: Rig) -> None:
    rig.hold = True
    rig.publish(b"one")
    rig.fail(StoreRefusedError("disk full"))
    rig.hold = False
    rig.wait(SECOND_NS)
    rig.publish(b"two")
    assert rig.acks() == [("one", "disk full"), ("two", "")]
    assert rig.engine.channels.by_name["foo"].last == 1


def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    rig = Rig(Settings(queue_messages=2))
    rig.connect()
    rig.hold = True
    rig.publish(b"sealed")
    rig.publish(*(b"%d" % n for n in range(6)))
    refused = rig.acks()
    assert refused == [("3", OVERLOADED), ("4", OVERLOADED), ("5", OVERLOADED)]
    rig.hold = False
    rig.commit()
    rig.run()
    assert [guid for guid, _ in rig.acks()] == ["sealed", "0", "1", "2"]


def test_guids_count_towards_the_queue() -> None:
    rig = Rig(Settings(queue_bytes=5000))
    rig.connect()
    rig.hold = True
    rig.publish(b"sealed")
    rig.receive(*(publish(b"", guid=f"{n}" + "g" * 1000) for n in range(9)))
    assert len(rig.acks()) == 4
    assert rig.engine.publishing.queued_bytes < 7000


@pytest.mark.parametrize("reply", ["", "ä" * 100])
def test_what_could_not_be_delivered_is_refused(reply: str) -> None:
    rig = Rig(Settings(max_payload_bytes=1000))
    rig.connect()
    for size in range(1000, 600, -1):
        subject, back, payload = publish(b"x" * size, guid=f"{size}", reply=reply)
        if payload is not None and len(payload) <= 1000:
            rig.receive((subject, back, payload))
    answers = rig.acks()
    assert {error for _, error in answers} == {"", PAYLOAD_TOO_LARGE}
    assert not list(rig.engine.publishing.lanes)
    rig.subscribe(startPosition=4, maxInFlight=1000)
    assert len(rig.messages()) == sum(1 for _, error in answers if not error)
    rig.wait(2 * SECOND_NS)
    again = rig.take_payloads("in")
    assert again
    assert max(map(len, again)) <= 1000


def test_an_ack_that_nats_cannot_carry_is_not_sent() -> None:
    rig = Rig(Settings(max_payload_bytes=1000))
    rig.receive(publish(b"", guid="g" * 980))
    assert rig.sent == []


def test_a_channel_with_publishes_on_their_way_is_not_deleted_099() -> None:
    rig = Rig(limited(max_inactivity_ns=SECOND_NS))
    rig.connect()
    rig.publish(b"one")
    rig.hold = True
    rig.publish(b"other", channel="other")
    rig.publish(b"two")
    rig.now_ns += SECOND_NS
    rig.engine.tick(rig.now_ns)
    rig.hold = False
    rig.commit()
    rig.run()
    assert rig.acks() == [("one", ""), ("other", ""), ("two", "")]
    assert rig.engine.channels.by_name["foo"].last == 2
    rig.wait(SECOND_NS)
    assert not rig.engine.channels.by_name


@pytest.mark.parametrize("seed", range(60))
def test_publishes_taken_as_alike_mean_what_each_means_alone(seed: int) -> None:
    """Fields of few values and equal lengths, so that many publishes are alike, with some
    bytes damaged; once in one piece, once each looked at by itself."""
    random = Random(seed)
    frames: list[Frame] = []
    for n in range(200):
        few = random.random() < 0.8
        frame = publish(
            b"same" if few else random.choice([b"diff", b"", b"long" * 40]),
            channel="foo" if few else random.choice(["foo", "bar", "f*o"]),
            client_id="me" if few else random.choice(["me", "no"]),
            guid=f"{n:04}" if few else random.choice([f"ä{n % 100:02}", "x" * 130, f"{n}"]),
            reply="" if few or random.random() < 0.8 else "back",
            connID=b"" if few or random.random() < 0.8 else b"who?",
        )
        subject, reply, payload = frame
        if random.random() < 0.05:
            assert payload is not None
            at = random.randrange(len(payload))
            payload = payload[:at] + bytes((random.randrange(256),)) + payload[at + 1 :]
        if random.random() < 0.03:
            reply = random.choice([b"", b"other"])
        frames.append((subject, reply, payload))
    together, alone = Rig(), Rig()
    for rig in (together, alone):
        rig.connect()
        rig.subscribe("foo", maxInFlight=1000)
        rig.subscribe("bar", maxInFlight=1000)
    receive_both_ways(frames, together, alone)
    assert together.sent == alone.sent
    assert together.engine.publishing.in_bytes == alone.engine.publishing.in_bytes
    for rig in (together, alone):
        rig.hold = False
        rig.commit()
        rig.run()
    assert together.sent == alone.sent
    assert len(together.messages()) > 100
