"""The session: requests, heartbeats, pings, deliveries and the end, without any I/O."""

import pytest

from stan.client.options import ConnectOptions, SubscribeOptions
from stan.client.receipt import Receipt
from stan.client.session import Inboxes, Session
from stan.errors import (
    ClientIDTakenError,
    ConnectError,
    ConnectionClosedError,
    ConnectionLostError,
    InvalidSubscriptionError,
    SubscribeError,
)
from stan.units import SECOND_NS as NS
from stan.wire.stan_pb2 import (
    Ack,
    CloseRequest,
    CloseResponse,
    ConnectRequest,
    ConnectResponse,
    MsgProto,
    Ping,
    PingResponse,
    PubAck,
    SubscriptionRequest,
    SubscriptionResponse,
    UnsubscribeRequest,
)

INBOXES = Inboxes(heartbeat="_INBOX.hb", ping="_INBOX.ping", ack="_INBOX.ack")


def make_session(*, interval: int = 5, max_out: int = 3) -> Session:
    options = ConnectOptions("c", "me", ping_interval=interval, ping_max_out=max_out)
    session = Session(options, INBOXES, "conn-id", "stem56789012")
    session.connected(response(pingInterval=interval, pingMaxOut=max_out), 0)
    return session


def response(**fields: object) -> bytes:
    return ConnectResponse(
        pubPrefix="_STAN.pub.c",
        subRequests="_STAN.sub.c",
        unsubRequests="_STAN.unsub.c",
        closeRequests="_STAN.close.c",
        subCloseRequests="_STAN.subclose.c",
        pingRequests="_STAN.discover.c.pings",
        protocol=1,
        **fields,  # type: ignore[arg-type]
    ).SerializeToString()


def sent(session: Session) -> list[bytes]:
    operations, session.operations = session.operations, []
    return operations


def message(sequence: int) -> bytes:
    return MsgProto(sequence=sequence, subject="foo", data=b"x").SerializeToString()


def test_the_connect_request() -> None:
    options = ConnectOptions("c", "me", ping_interval=7, ping_max_out=9)
    session = Session(options, INBOXES, "conn-id", "stem56789012")
    request = ConnectRequest.FromString(session.connect_request())
    assert (request.clientID, request.heartbeatInbox) == ("me", "_INBOX.hb")
    assert (request.protocol, request.connID) == (1, b"conn-id")
    assert (request.pingInterval, request.pingMaxOut) == (7, 9)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("stan: clientID already registered", ClientIDTakenError),
        ("stan: invalid connection request", ConnectError),
    ],
)
def test_a_refused_connect_keeps_the_words(error: str, kind: type[ConnectError]) -> None:
    session = make_session()
    with pytest.raises(kind) as raised:
        session.connected(ConnectResponse(error=error).SerializeToString(), 0)
    assert str(raised.value) == error
    assert type(raised.value) is kind


def test_a_malformed_connect_response_is_an_error_of_ours() -> None:
    with pytest.raises(ConnectError):
        make_session().connected(b"\xff", 0)


def test_heartbeats_are_answered_in_order() -> None:
    session = make_session()
    session.receive([(b"_INBOX.hb", b"r.1", b""), (b"_INBOX.hb", b"r.2", b"")])
    assert sent(session) == [b"PUB r.1 0\r\n\r\n", b"PUB r.2 0\r\n\r\n"]


def test_a_ping_goes_out_each_interval() -> None:
    session = make_session(interval=5)
    assert session.next_deadline_ns == 5 * NS
    session.tick(5 * NS - 1)
    assert sent(session) == []
    session.tick(5 * NS)
    ping = Ping(connID=b"conn-id").SerializeToString()
    head = b"PUB _STAN.discover.c.pings _INBOX.ping %d\r\n" % len(ping)
    assert sent(session) == [head + ping + b"\r\n"]
    assert session.next_deadline_ns == 10 * NS


def test_statement_119_unanswered_pings_lose_the_connection() -> None:
    session = make_session(interval=1, max_out=3)
    for second in range(1, 4):
        session.tick(second * NS)
    assert session.lost is None
    session.tick(4 * NS)
    assert isinstance(session.lost, ConnectionLostError)
    assert str(session.lost) == "stan: connection lost due to PING failure"
    assert session.next_deadline_ns is None


def test_an_answered_ping_starts_the_count_again() -> None:
    session = make_session(interval=1, max_out=2)
    for second in range(1, 20):
        session.tick(second * NS)
        session.receive([(b"_INBOX.ping", b"", b"")])
    assert session.lost is None
    assert len(sent(session)) == 19


def test_no_responders_neither_answers_nor_loses() -> None:
    session = make_session(interval=1, max_out=2)
    for second in range(1, 3):
        session.tick(second * NS)
        session.receive([(b"_INBOX.ping", b"", None)])
    assert session.lost is None
    session.tick(3 * NS)
    assert session.lost is not None


def test_an_error_in_a_ping_response_loses_at_once_with_its_words() -> None:
    session = make_session()
    text = "client has been replaced or is no longer registered"
    session.receive([(b"_INBOX.ping", b"", PingResponse(error=text).SerializeToString())])
    assert str(session.lost) == text


def test_no_pings_when_the_server_wants_none() -> None:
    session = make_session()
    session.connected(response(pingInterval=0), 0)
    session = Session(ConnectOptions("c", "me"), INBOXES, "conn-id", "stem56789012")
    session.connected(response(pingInterval=0), 0)
    assert session.next_deadline_ns is None


def test_losing_fails_what_waits_and_stops_everything() -> None:
    session = make_session()
    session.publish("foo", b"x", Receipt(), 0, 1 << 20)
    session.open_feed("foo", "_INBOX.in")
    session.lose(ConnectionLostError("gone"))
    [(_, error)] = session.window.settled
    assert isinstance(error, ConnectionClosedError)
    assert str(error) == "stan: connection closed"
    session.receive([(b"_INBOX.in", b"", message(1)), (b"_INBOX.hb", b"r", b"")])
    assert session.ready == []
    with pytest.raises(ConnectionClosedError):
        session.publish("foo", b"x", Receipt(), 0, 1 << 20)


def test_a_closed_session_is_not_lost() -> None:
    session = make_session()
    session.end()
    session.lose(ConnectionLostError("late"))
    assert session.lost is None


def test_publish_acks_and_deliveries_in_one_chunk() -> None:
    session = make_session()
    feed = session.open_feed("foo", "_INBOX.in")
    feed.open("_INBOX.back")
    receipt = Receipt()
    session.publish("foo", b"x", receipt, 0, 1 << 20)
    ack = PubAck(guid=receipt.guid).SerializeToString()
    session.receive(
        [
            (b"_INBOX.in", b"", message(1)),
            (b"_INBOX.in", b"", message(2)),
            (b"_INBOX.ack", b"", ack),
            (b"_INBOX.in", b"", message(3)),
            (b"_INBOX.unknown", b"", b"?"),
        ]
    )
    assert set(session.ready) == {feed}
    assert [MsgProto.FromString(feed.take()).sequence for _ in range(3)] == [1, 2, 3]
    assert session.window.settled == [(receipt, None)]


def test_messages_that_overtake_the_response_wait_for_it() -> None:
    session = make_session()
    feed = session.open_feed("foo", "_INBOX.in")
    session.receive([(b"_INBOX.in", b"", message(1))])
    assert session.ready == []
    feed.open("_INBOX.back")
    assert len(feed.messages) == 1


@pytest.mark.parametrize("sequence", [1, 127, 128, 16384, 2**63, 2**64 - 1])
def test_an_ack_is_the_bytes_that_protobuf_makes(sequence: int) -> None:
    feed = make_session().open_feed("foo", "_INBOX.in")
    feed.open("_INBOX.back")
    payload = Ack(subject="foo", sequence=sequence).SerializeToString()
    assert feed.ack(sequence) == b"PUB _INBOX.back %d\r\n%b\r\n" % (len(payload), payload)


def test_the_requests_about_a_subscription() -> None:
    session = make_session()
    feed = session.open_feed("foo", "_INBOX.in")
    asked = SubscriptionRequest.FromString(
        session.subscribe_request(feed, SubscribeOptions(durable="d", queue="q"), 0)
    )
    assert (asked.clientID, asked.subject, asked.inbox) == ("me", "foo", "_INBOX.in")
    assert (asked.durableName, asked.qGroup) == ("d", "q")
    before = UnsubscribeRequest.FromString(session.unsubscribe_request(feed))
    assert before.inbox == "_INBOX.in"
    feed.open("_INBOX.back")
    after = UnsubscribeRequest.FromString(session.unsubscribe_request(feed))
    assert (after.clientID, after.subject, after.inbox) == ("me", "foo", "_INBOX.back")
    assert CloseRequest.FromString(session.close_request()).clientID == "me"


def test_pending_limits_drop_and_count() -> None:
    feed = make_session().open_feed("foo", "_INBOX.in")
    feed.limit_messages = 2
    feed.offer([b"1", b"2", b"3", None])
    assert (list(feed.messages), feed.dropped, feed.pending_bytes) == ([b"1", b"2"], 1, 2)
    feed.limit_messages, feed.limit_bytes = -1, 4
    feed.offer([b"45", b"6"])
    assert (list(feed.messages), feed.dropped) == ([b"1", b"2", b"45"], 2)
    assert (feed.max_pending_messages, feed.max_pending_bytes) == (3, 4)


def test_a_stopped_feed_takes_nothing() -> None:
    session = make_session()
    feed = session.open_feed("foo", "_INBOX.in")
    feed.offer([b"1"])
    session.close_feed(feed)
    feed.offer([b"2"])
    assert (len(feed.messages), feed.pending_bytes) == (0, 0)


def test_answers_about_a_subscription() -> None:
    session = make_session()
    accepted = SubscriptionResponse(ackInbox="_INBOX.back").SerializeToString()
    assert session.read_subscribed(accepted) == "_INBOX.back"
    for text, kind in (
        ("stan: invalid subscription", InvalidSubscriptionError),
        ("too many subscriptions per channel", SubscribeError),
    ):
        with pytest.raises(kind) as raised:
            session.read_subscribed(SubscriptionResponse(error=text).SerializeToString())
        assert str(raised.value) == text
    with pytest.raises(SubscribeError):
        session.read_subscribed(b"\xff")


def test_the_answer_to_a_close() -> None:
    session = make_session()
    session.read_closed(b"")
    session.read_closed(b"\xff")  # whatever it says, there is nothing left to close
    with pytest.raises(ConnectionLostError, match="stan: unknown clientID"):
        session.read_closed(CloseResponse(error="stan: unknown clientID").SerializeToString())
