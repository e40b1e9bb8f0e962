"""Publishes that are not decoded because they are like others before: only while that holds."""

import pytest

from stan.engine.limits import ChannelLimits, StoreLimits
from stan.engine.records import DeleteChannel
from stan.engine.settings import Settings
from stan.wire.frames import Frame
from stan.wire.stan_pb2 import CloseRequest, ConnectResponse
from tests.tools.rig import Rig, connect, publish

CONN = b"conn-me"


@pytest.fixture
def rig() -> Rig:
    """Somebody has published to foo and to bar, so that both are familiar."""
    rig = Rig()
    rig.connect("me", CONN)
    rig.receive(mine("1"))
    rig.receive(mine("2", "bar"))
    rig.acks()
    return rig


def mine(guid: str, channel: str = "foo", data: bytes = b"data", **fields: object) -> Frame:
    return publish(data, channel, guid=guid, connID=CONN, **fields)


def is_familiar(rig: Rig, frame: Frame) -> bool:
    subject, reply, payload = frame
    assert payload is not None
    return rig.engine.publishing.familiar.find(subject, reply, payload) is not None


def test_publishes_in_turns_are_familiar(rig: Rig) -> None:
    frames = [mine(str(n), channel) for n in range(3, 9) for channel in ("foo", "bar")]
    assert all(is_familiar(rig, frame) for frame in frames)
    rig.receive(*frames)
    assert rig.acks() == [(str(n), "") for n in range(3, 9) for _ in "ab"]
    channels = rig.engine.channels.by_name
    assert (channels["foo"].last, channels["bar"].last) == (7, 7)


def test_so_are_those_of_a_client_without_a_connection_id() -> None:
    rig = Rig()
    rig.connect("old")
    rig.receive(publish(b"data", client_id="old", guid="1"))
    assert is_familiar(rig, publish(b"more", client_id="old", guid="2"))
    rig.close("old")
    assert not is_familiar(rig, publish(b"more", client_id="old", guid="2"))


@pytest.mark.parametrize(
    "frame",
    [
        mine("3", "new"),
        mine("33"),  # an ID of another length
        mine("3", reply="back"),
        mine("3", sha256=b"x" * 32),
        mine("ä"),
        mine("1", resentAfter=1000),
        mine("3", messageId="order"),
        publish(b"data", guid="3", connID=b"conn-yo"),
        publish(b"data", client_id="yo", guid="3", connID=CONN),
    ],
)
def test_others_are_decoded(rig: Rig, frame: Frame) -> None:
    assert not is_familiar(rig, frame)


def test_the_channel_of_the_publish_counts_and_not_the_subject(rig: Rig) -> None:
    _, reply, payload = mine("3", "bar")
    rig.receive((mine("3")[0], reply, payload), mine("4"))
    channels = rig.engine.channels.by_name
    assert (channels["foo"].last, channels["bar"].last) == (2, 2)


def test_a_client_that_is_gone_is_not_familiar(rig: Rig) -> None:
    request = CloseRequest(clientID="me").SerializeToString()
    rig.receive((rig.engine.subjects.close.encode(), b"answers", request), mine("3"))
    assert rig.acks() == [("3", "stan: invalid publish request")]
    rig.connect("me", CONN)
    rig.receive(mine("4"), mine("5", "bar"), mine("6"))
    assert rig.acks() == [("4", ""), ("5", ""), ("6", "")]
    assert is_familiar(rig, mine("7"))


def test_a_channel_that_was_deleted_is_made_anew(rig: Rig) -> None:
    rig.engine.administer(1, DeleteChannel("foo"), rig.now_ns)
    rig.run()
    assert "foo" not in rig.engine.channels.by_name
    rig.receive(mine("3"))
    assert rig.acks() == [("3", "")]
    assert rig.engine.channels.by_name["foo"].last == 1
    assert is_familiar(rig, mine("4"))


def test_what_nats_does_not_carry_any_more_is_refused(rig: Rig) -> None:
    rig.engine.change_max_payload(60, rig.now_ns)
    rig.receive(mine("3", data=b"x" * 200))
    assert rig.acks() == [("3", "nats: maximum payload exceeded")]


def test_a_full_queue_refuses_what_is_familiar() -> None:
    rig = Rig(Settings(limits=StoreLimits(0, ChannelLimits()), queue_messages=1))
    rig.connect("me", CONN)
    rig.receive(mine("1"))
    rig.acks()
    rig.hold = True
    rig.receive(*(mine(str(n)) for n in range(2, 6)))
    assert ("5", "stan: server is overloaded, publish again later") in rig.acks()


@pytest.mark.parametrize("count", [1, 2])
def test_a_guid_is_as_long_as_its_characters(count: int) -> None:
    """Of one that is no ASCII the bytes say nothing about another one of that size."""
    rig = Rig()
    rig.connect("me", CONN)
    rig.hold = True
    rig.receive(*([mine("ä" * 1024)] * count), mine("x" * 2048))
    assert rig.engine.publishing.refused == 1


def test_long_names_are_not_remembered() -> None:
    rig = Rig()
    rig.connect("me", CONN)
    subject, _, payload = publish(b"data", client_id="x" * 10_000, guid="1", connID=CONN)
    rig.receive((subject, b"acks", payload))
    assert not is_familiar(rig, (subject, b"acks", payload))


def test_behind_a_close_that_was_held_nothing_is_taken() -> None:
    rig = Rig()
    rig.ask(rig.engine.subjects.connect, connect("me", CONN, resends=True), ConnectResponse)
    rig.connect("other")
    rig.hold = True
    rig.receive(publish(b"s", guid="s", client_id="other"))
    request = CloseRequest(clientID="me")
    close = (rig.engine.subjects.close.encode(), b"answers", request.SerializeToString())
    rig.receive(mine("1", resentAfter=5), close)
    rig.receive(mine("2"), mine("3"))
    assert rig.engine.publishing.refused == 2
