"""What -SV shows: every message of the protocol, no payload, no forged line."""

from stan.server.tracing import trace_frames, trace_operations
from stan.wire.frames import pub
from stan.wire.stan_pb2 import (
    Ack,
    ConnectRequest,
    MsgProto,
    PubAck,
    PubMsg,
    SubscriptionRequest,
    UnsubscribeRequest,
)
from stan.wire.subjects import ServerSubjects

SUBJECTS = ServerSubjects("test-cluster")


def shown(subject: str, payload: bytes | None) -> str:
    (line,) = trace_frames([(subject.encode(), b"", payload)], SUBJECTS)
    return line


def test_a_publish_shows_its_fields_and_the_size_of_its_payload() -> None:
    message = PubMsg(clientID="me", guid="g1", subject="foo", data=b"secret", connID=b"12345678")
    line = shown(f"{SUBJECTS.publish_prefix}.foo", message.SerializeToString())
    assert line == (
        f"Received PubMsg on {SUBJECTS.publish_prefix}.foo: "
        "clientID=me, guid=g1, subject=foo, data=6 bytes, connID=8 bytes"
    )


def test_requests_and_acks_are_named() -> None:
    connect = ConnectRequest(clientID="me", heartbeatInbox="hb").SerializeToString()
    assert shown(SUBJECTS.connect, connect) == (
        f"Received ConnectRequest on {SUBJECTS.connect}: clientID=me, heartbeatInbox=hb"
    )
    subscribe = SubscriptionRequest(clientID="me", subject="foo").SerializeToString()
    assert "Received SubscriptionRequest" in shown(SUBJECTS.subscribe, subscribe)
    leave = UnsubscribeRequest(clientID="me", inbox="in").SerializeToString()
    assert "Received UnsubscribeRequest" in shown(SUBJECTS.subscription_close, leave)
    ack = Ack(subject="foo", sequence=5).SerializeToString()
    assert shown("acks.1", ack) == "Received Ack on acks.1: subject=foo, sequence=5"


def test_heartbeats_are_answers_or_silence() -> None:
    assert shown("hb.1", b"") == "Answer on hb.1"
    assert shown("hb.1", None) == "Nobody listens for hb.1"


def test_rubbish_and_line_breaks_make_one_line() -> None:
    assert shown(SUBJECTS.connect, b"\xff\xff") == (
        f"Received ConnectRequest on {SUBJECTS.connect}: 2 bytes that are none"
    )
    forged = PubMsg(clientID="me\n[INF] fine", guid="g").SerializeToString()
    assert "\n" not in shown(f"{SUBJECTS.publish_prefix}.foo", forged)


def test_what_leaves_is_shown_message_by_message() -> None:
    delivery = MsgProto(sequence=7, subject="foo", data=b"secret\r\nPUB", redelivered=True)
    ack = PubAck(guid="g1").SerializeToString()
    operations = pub("in.1", delivery.SerializeToString()) + pub("acks", ack) + pub("hb", b"", "r")
    assert list(trace_operations(operations)) == [
        "Sent MsgProto to in.1: sequence=7, subject=foo, data=11 bytes, redelivered=True",
        f"Sent {len(ack)} bytes to acks",
        "Sent 0 bytes to hb",
    ]
