"""What clients sent while nobody led: stored and answered once, whatever the last leader did."""

import pytest

from stan.engine.settings import Settings
from stan.units import SECOND_NS
from stan.wire.frames import Frame
from stan.wire.stan_pb2 import (
    CloseRequest,
    CloseResponse,
    ConnectResponse,
    PubAck,
    SubscriptionResponse,
    UnsubscribeRequest,
)
from tests.tools.rig import Rig, ack, connect, publish, subscription

CONNECT = "_STAN.discover.test-cluster"


@pytest.fixture
def old() -> Rig:
    """The leader that will be lost, with one client."""
    rig = Rig(Settings(record_all_guids=True))
    rig.connect("me", b"mine")
    return rig


def request(subject: str, payload: bytes, reply: bytes = b"answer") -> Frame:
    return subject.encode(), reply, payload


def take_over(old: Rig, *frames: Frame) -> Rig:
    """The next leader, with what it heard one second ago."""
    new = old.restart()
    new.now_ns = old.now_ns + SECOND_NS
    new.engine.start(new.now_ns)
    new.engine.replay([(old.now_ns, [frame]) for frame in frames], new.now_ns)
    new.run()
    return new


def guids(rig: Rig) -> list[tuple[str, str]]:
    return sorted(rig.acks())


def test_what_was_lost_is_stored_and_what_was_stored_is_acked_again(old: Rig) -> None:
    frames = [publish(b"%d" % n, connID=b"mine") for n in range(6)]
    old.receive(*frames[:3])
    new = take_over(old, *frames)
    assert guids(new) == [(f"{n}", "") for n in range(6)]
    new.subscribe(startPosition=4)
    assert [message.data for message in new.messages()] == [b"%d" % n for n in range(6)]


def test_the_order_of_each_client_stays(old: Rig) -> None:
    old.connect("you", b"yours")
    mine = [publish(b"m%d" % n) for n in range(4)]
    yours = [publish(b"y%d" % n, client_id="you") for n in range(4)]
    old.receive(mine[0], yours[0])
    new = take_over(old, *(frame for pair in zip(mine, yours, strict=True) for frame in pair))
    new.subscribe(startPosition=4)
    data = [message.data for message in new.messages()]
    assert [one for one in data if one.startswith(b"m")] == [b"m0", b"m1", b"m2", b"m3"]
    assert [one for one in data if one.startswith(b"y")] == [b"y0", b"y1", b"y2", b"y3"]
    assert len(data) == 8


def test_a_client_that_was_registered_is_answered_and_keeps_its_subscriptions(old: Rig) -> None:
    old.subscribe()
    new = take_over(old, request(CONNECT, connect("me", b"mine").SerializeToString()))
    (answer,) = new.take_payloads("answer")
    assert ConnectResponse.FromString(answer).error == ""
    new.publish(b"x")
    assert new.sequences() == [1]


def test_a_client_that_was_not_registered_is_registered(old: Rig) -> None:
    frames = (
        request(CONNECT, connect("new", b"new").SerializeToString()),
        request("_STAN.sub.test-cluster", subscription(client_id="new").SerializeToString(), b"s"),
        publish(b"x", client_id="new", connID=b"new"),
    )
    new = take_over(old, *frames)
    assert ConnectResponse.FromString(new.take_payloads("answer")[0]).pubPrefix
    assert SubscriptionResponse.FromString(new.take_payloads("s")[0]).ackInbox
    assert new.sequences() == [1]
    assert new.acks() == [("x", "")]


def test_a_subscription_that_exists_is_answered_with_its_ack_inbox(old: Rig) -> None:
    granted = old.subscribe()
    frame = request("_STAN.sub.test-cluster", subscription().SerializeToString())
    new = take_over(old, frame)
    (answer,) = new.take_payloads("answer")
    assert SubscriptionResponse.FromString(answer).ackInbox == granted.ackInbox
    new.publish(b"x")
    assert new.sequences() == [1]
    new.ack(granted.ackInbox, 1)
    new.wait(2 * SECOND_NS)
    assert new.sequences() == []


def test_a_subscription_that_began_and_ended_does_not_come_back(old: Rig) -> None:
    granted = old.subscribe()
    old.unsubscribe(granted.ackInbox)
    leave = UnsubscribeRequest(clientID="me", subject="foo", inbox=granted.ackInbox)
    new = take_over(
        old,
        request("_STAN.sub.test-cluster", subscription().SerializeToString(), b"first"),
        request("_STAN.unsub.test-cluster", leave.SerializeToString(), b"second"),
    )
    assert new.take_payloads("first") == []
    assert new.take_payloads("second") == [b""]
    new.publish(b"x")
    assert new.sequences() == []


def test_a_subscription_behind_one_that_ended_is_made(old: Rig) -> None:
    granted = old.subscribe()
    old.unsubscribe(granted.ackInbox)
    leave = UnsubscribeRequest(clientID="me", subject="foo", inbox=granted.ackInbox)
    other = subscription(inbox="other")
    new = take_over(
        old,
        request("_STAN.unsub.test-cluster", leave.SerializeToString(), b"first"),
        request("_STAN.sub.test-cluster", other.SerializeToString(), b"second"),
    )
    (answer,) = new.take_payloads("second")
    assert SubscriptionResponse.FromString(answer).ackInbox
    new.publish(b"x")
    assert new.sequences("other") == [1]


def test_what_an_earlier_session_asked_for_touches_not_the_one_that_is_registered(
    old: Rig,
) -> None:
    old.subscribe()
    old.close()
    old.connect("me", b"again")
    close = CloseRequest(clientID="me").SerializeToString()
    new = take_over(
        old,
        request(CONNECT, connect("me", b"mine").SerializeToString(), b"first"),
        request("_STAN.sub.test-cluster", subscription().SerializeToString(), b"second"),
        request("_STAN.close.test-cluster", close, b"third"),
        request(CONNECT, connect("me", b"again").SerializeToString(), b"fourth"),
    )
    assert new.take_payloads("first") == new.take_payloads("second") == []
    assert new.take_payloads("third") == [b""]
    (answer,) = new.take_payloads("fourth")
    assert ConnectResponse.FromString(answer).error == ""
    client = new.engine.clients.by_id["me"]
    assert (client.record.connection_id, client.subscriptions) == (b"again", {})


def test_a_durable_that_was_resumed_is_not_resumed_again(old: Rig) -> None:
    old.settings.replace_durable = True
    first, second = (subscription(inbox=inbox, durableName="d") for inbox in ("first", "second"))
    frames = [
        request("_STAN.sub.test-cluster", one.SerializeToString(), one.inbox.encode())
        for one in (first, second)
    ]
    old.receive(*frames)
    (granted,) = old.take_payloads("second")
    new = take_over(old, *frames)
    assert new.take_payloads("first") == []
    assert new.take_payloads("second") == [granted]


def test_a_session_that_moved_its_heartbeats_is_registered_anew(old: Rig) -> None:
    moved = connect("me", b"mine")
    moved.heartbeatInbox = "hb.moved"
    new = take_over(old, request(CONNECT, moved.SerializeToString()))
    (answer,) = new.take_payloads("answer")
    assert ConnectResponse.FromString(answer).error == ""
    assert new.engine.clients.by_id["me"].record.heartbeat_inbox == "hb.moved"


def test_an_unsubscribe_that_was_lost_is_done(old: Rig) -> None:
    granted = old.subscribe()
    leave = UnsubscribeRequest(clientID="me", subject="foo", inbox=granted.ackInbox)
    new = take_over(old, request("_STAN.unsub.test-cluster", leave.SerializeToString()))
    assert new.take_payloads("answer") == [b""]
    new.publish(b"x")
    assert new.sequences() == []


def test_a_close_comes_behind_the_publishes_that_are_held(old: Rig) -> None:
    close = request("_STAN.close.test-cluster", CloseRequest(clientID="me").SerializeToString())
    new = take_over(old, publish(b"x"), close)
    assert new.acks() == [("x", "")]
    assert new.take_payloads("answer") == [b""]
    assert "me" not in new.engine.clients.by_id


def test_a_close_that_was_done_succeeds_again(old: Rig) -> None:
    old.close()
    close = request("_STAN.close.test-cluster", CloseRequest(clientID="me").SerializeToString())
    new = take_over(old, close)
    (answer,) = new.take_payloads("answer")
    assert CloseResponse.FromString(answer).error == ""


def test_acks_are_taken(old: Rig) -> None:
    granted = old.subscribe()
    old.publish(b"x")
    assert old.sequences() == [1]
    old.wait(SECOND_NS // 2)  # the progress is recorded
    new = take_over(old, ack(granted.ackInbox, 1))
    new.wait(5 * SECOND_NS)
    assert new.sequences() == []


def test_answers_to_questions_of_the_last_leader_change_nothing(old: Rig) -> None:
    new = take_over(old, (b"_INBOX.srv.elseh1", b"", b""), (b"_INBOX.srv.elseh2", b"", None))
    assert new.sent == []


def test_what_comes_late_may_have_come_to_the_last_leader_sooner(old: Rig) -> None:
    old.publish(b"x", b"y")
    new = take_over(old, publish(b"x", connID=b"mine"))
    new.receive(publish(b"y", connID=b"mine"), publish(b"z", connID=b"mine"))
    new.wait(2 * SECOND_NS)
    new.receive(publish(b"later", connID=b"mine"))
    assert guids(new) == [("later", ""), ("x", ""), ("y", ""), ("z", "")]
    new.subscribe(startPosition=4)
    assert [message.data for message in new.messages()] == [b"x", b"y", b"z", b"later"]


def test_a_malformed_frame_is_refused_like_any_other(old: Rig) -> None:
    new = take_over(
        old,
        (b"_STAN.pub.test-cluster.foo", b"acks", b"\xff"),
        request("_STAN.sub.test-cluster", b"\xff", b"s"),
    )
    (refused,) = new.take_payloads("acks")
    assert PubAck.FromString(refused).error == "stan: invalid publish request"
    (refused,) = new.take_payloads("s")
    assert SubscriptionResponse.FromString(refused).error == "stan: invalid subscription request"


def test_a_chain_of_leaders_stores_once(old: Rig) -> None:
    frames = [publish(b"%d" % n, connID=b"mine") for n in range(9)]
    old.receive(*frames[:3])
    second = take_over(old, *frames[:6])
    third = take_over(second, *frames)
    assert guids(third) == [(f"{n}", "") for n in range(9)]
    third.subscribe(startPosition=4)
    assert [message.data for message in third.messages()] == [b"%d" % n for n in range(9)]
