"""The session: requests, heartbeats, pings, deliveries and the end, without any I/O."""

import pytest

from stan.client.options import SubscribeOptions
from stan.client.protocol import (
    close_request,
    read_closed,
    read_subscribed,
    unsubscribe_request,
)
from stan.client.receipt import Receipt
from stan.errors import (
    ClientIDTakenError,
    ConnectError,
    ConnectionClosedError,
    ConnectionLostError,
    ConnectTimeoutError,
    InvalidSubscriptionError,
    SubscribeError,
)
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import (
    Ack,
    CloseRequest,
    CloseResponse,
    ConnectResponse,
    MsgProto,
    Ping,
    PingResponse,
    PubAck,
    SubscriptionResponse,
    UnsubscribeRequest,
)
from tests.client.stage import CONNECT, PINGS, UNKNOWN, Stage


def open_stage(**options: object) -> Stage:
    stage = Stage(**options)
    stage.open()
    return stage


def old_way(interval: int = 1, max_out: int = 3) -> Stage:
    """A session that does not resume."""
    stage = Stage(resume=False, ping_interval=interval, ping_max_out=max_out)
    stage.open(pingInterval=interval, pingMaxOut=max_out)
    return stage


def test_the_connect_request() -> None:
    stage = Stage(ping_interval=7, ping_max_out=9)
    request = stage.open()
    assert (request.clientID, request.protocol, request.connID) == ("me", 1, b"conn-id")
    assert request.heartbeatInbox.startswith("_INBOX.x.")
    assert (request.pingInterval, request.pingMaxOut) == (7, 9)
    assert request.resends


@pytest.mark.parametrize("options", [{"resume": False}, {"resend": "never"}])
def test_who_never_sends_again_does_not_say_so(options: dict[str, object]) -> None:
    assert not Stage(**options).open().resends


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("stan: clientID already registered", ClientIDTakenError),
        ("stan: invalid connection request", ConnectError),
    ],
)
def test_a_refused_connect_keeps_the_words(error: str, kind: type[ConnectError]) -> None:
    stage = Stage()
    stage.session.open(stage.now_ns, stage.opened.append)
    stage.answer(stage.sent(CONNECT)[0], ConnectResponse(error=error))
    [raised] = stage.opened
    assert str(raised) == error
    assert type(raised) is kind


def test_a_malformed_connect_response_is_an_error_of_ours() -> None:
    stage = Stage()
    stage.session.open(stage.now_ns, stage.opened.append)
    stage.receive(stage.sent(CONNECT)[0].reply, b"\xff")
    assert isinstance(stage.opened[0], ConnectError)


@pytest.mark.parametrize("nobody", [True, False])
def test_a_connect_request_without_an_answer(nobody: bool) -> None:
    stage = Stage(connect_wait=2.0)
    stage.session.open(stage.now_ns, stage.opened.append)
    if nobody:
        stage.answer(stage.sent(CONNECT)[0], None)
    else:
        stage.pass_time(1.9)
        assert stage.opened == []
        stage.pass_time(0.2)
    [error] = stage.opened
    assert isinstance(error, ConnectTimeoutError)
    assert str(error) == "stan: connect request timeout (possibly wrong cluster ID?)"


def test_heartbeats_are_answered_in_order() -> None:
    stage = Stage()
    inbox = stage.open().heartbeatInbox.encode()
    stage.session.receive([(inbox, b"r.1", b""), (inbox, b"r.2", b"")], stage.now_ns)
    assert stage.session.operations == [b"PUB r.1 0\r\n\r\n", b"PUB r.2 0\r\n\r\n"]


def test_a_ping_goes_out_each_interval() -> None:
    stage = open_stage()
    stage.pass_time(4.9)
    assert stage.sent() == []
    stage.pass_time(0.2)
    [ping] = stage.sent()
    assert (ping.subject, ping.payload) == (PINGS, Ping(connID=b"conn-id").SerializeToString())
    stage.pong(ping)
    stage.pass_time(4.8)
    assert stage.sent() == []
    stage.pass_time(0.2)
    assert len(stage.sent(PINGS)) == 1


def test_statement_119_unanswered_pings_lose_the_connection() -> None:
    stage = old_way(interval=1, max_out=3)
    stage.pass_time(3.5)
    assert stage.session.lost is None
    assert len(stage.sent(PINGS)) == 3
    stage.pass_time(1)
    assert isinstance(stage.session.lost, ConnectionLostError)
    assert str(stage.session.lost) == "stan: connection lost due to PING failure"
    assert stage.session.next_deadline_ns is None


def test_an_answered_ping_starts_the_count_again() -> None:
    stage = old_way(interval=1, max_out=2)
    for _ in range(20):
        stage.pass_time(1)
        stage.known()
    assert stage.session.lost is None


def test_no_responders_neither_answers_nor_loses_the_old_way() -> None:
    stage = old_way(interval=1, max_out=2)
    for _ in range(2):
        stage.pass_time(1)
        stage.answer(stage.sent(PINGS)[0], None)
    assert stage.session.lost is None
    stage.pass_time(1)
    assert stage.session.lost is not None


def test_an_error_in_a_ping_response_loses_at_once_with_its_words_the_old_way() -> None:
    stage = old_way()
    stage.pass_time(1)
    stage.pong(stage.sent(PINGS)[0], UNKNOWN)
    assert str(stage.session.lost) == UNKNOWN


def test_no_pings_when_the_server_wants_none() -> None:
    stage = Stage()
    stage.open(pingInterval=0)
    assert stage.session.next_deadline_ns is None


def test_losing_fails_what_waits_and_stops_everything() -> None:
    stage = open_stage()
    receipt = stage.publish()
    feed = stage.subscribe()
    stage.session.lose(ConnectionLostError("gone"))
    stage.settle()
    assert isinstance(receipt.error, ConnectionClosedError)
    assert str(receipt.error) == "stan: connection closed"
    stage.deliver(feed, 1)
    assert stage.session.ready == []
    with pytest.raises(ConnectionClosedError):
        stage.publish()


def test_a_closed_session_is_not_lost() -> None:
    session = open_stage().session
    session.end()
    session.lose(ConnectionLostError("late"))
    assert session.lost is None


def test_publish_acks_and_deliveries_in_one_chunk() -> None:
    stage = open_stage()
    feed = stage.subscribe()
    inbox = feed.inbox.encode()
    receipt = stage.publish()
    ack = PubAck(guid=receipt.guid).SerializeToString()
    encoded = [MsgProto(sequence=n, subject="foo").SerializeToString() for n in (1, 2, 3)]
    stage.session.receive(
        [
            (inbox, b"", encoded[0]),
            (inbox, b"", encoded[1]),
            (b"_INBOX.x.acks", b"", ack),
            (inbox, b"", encoded[2]),
            (b"_INBOX.unknown", b"", b"?"),
        ],
        stage.now_ns,
    )
    assert set(stage.session.ready) == {feed}
    assert stage.handed_out(feed) == [1, 2, 3]
    assert stage.session.window.settled == [(receipt, None)]


def test_messages_that_overtake_the_response_wait_for_it() -> None:
    stage = open_stage()
    feed = stage.session.open_feed("foo", SubscribeOptions(), stage.now_ns, stage.now_ns)
    stage.deliver(feed, 1)
    assert stage.session.ready == []
    assert not feed.messages
    feed.open("_INBOX.back", 1)
    assert stage.handed_out(feed) == [1]


@pytest.mark.parametrize("sequence", [1, 127, 128, 16384, 2**63, 2**64 - 1])
def test_an_ack_is_the_bytes_that_protobuf_makes(sequence: int) -> None:
    feed = open_stage().subscribe()
    payload = Ack(subject="foo", sequence=sequence).SerializeToString()
    head = f"PUB {feed.ack_inbox} {len(payload)}\r\n".encode()
    assert feed.ack(sequence) == head + payload + b"\r\n"


def test_the_requests_about_a_subscription() -> None:
    stage = open_stage()
    feed = stage.session.open_feed("foo", SubscribeOptions(durable="d", queue="q"), 0, 0)
    asked = feed.request
    assert (asked.clientID, asked.subject, asked.inbox) == ("me", "foo", feed.inbox)
    assert (asked.durableName, asked.qGroup) == ("d", "q")
    before = UnsubscribeRequest.FromString(unsubscribe_request("me", feed))
    assert before.inbox == feed.inbox
    feed.open("_INBOX.back", 1)
    after = UnsubscribeRequest.FromString(unsubscribe_request("me", feed))
    assert (after.clientID, after.subject, after.inbox) == ("me", "foo", "_INBOX.back")
    assert CloseRequest.FromString(close_request("me")).clientID == "me"


def test_pending_limits_drop_and_count() -> None:
    feed = open_stage().subscribe()
    feed.limit_messages = 2
    feed.offer([b"1", b"2", b"3", None])
    assert (list(feed.messages), feed.dropped, feed.pending_bytes) == ([b"1", b"2"], 1, 2)
    feed.limit_messages, feed.limit_bytes = -1, 4
    feed.offer([b"45", b"6"])
    assert (list(feed.messages), feed.dropped) == ([b"1", b"2", b"45"], 2)
    assert (feed.max_pending_messages, feed.max_pending_bytes) == (3, 4)


def test_a_stopped_feed_takes_nothing() -> None:
    stage = open_stage()
    feed = stage.subscribe()
    feed.offer([b"1"])
    stage.session.close_feed(feed)
    feed.offer([b"2"])
    assert (len(feed.messages), feed.pending_bytes) == (0, 0)


def test_answers_about_a_subscription() -> None:
    accepted = SubscriptionResponse(ackInbox="_INBOX.back").SerializeToString()
    assert read_subscribed(accepted) == "_INBOX.back"
    for text, kind in (
        ("stan: invalid subscription", InvalidSubscriptionError),
        ("too many subscriptions per channel", SubscribeError),
    ):
        with pytest.raises(kind) as raised:
            read_subscribed(SubscriptionResponse(error=text).SerializeToString())
        assert str(raised.value) == text
    with pytest.raises(SubscribeError):
        read_subscribed(b"\xff")


def test_the_answer_to_a_close() -> None:
    read_closed(b"")
    read_closed(b"\xff")  # whatever it says, there is nothing left to close
    with pytest.raises(ConnectionLostError, match="stan: unknown clientID"):
        read_closed(CloseResponse(error="stan: unknown clientID").SerializeToString())


def test_a_request_ends_once_by_its_answer_or_its_deadline() -> None:
    stage = open_stage()
    answers: list[object] = []
    for _ in range(2):
        stage.session.request("ask", b"?", stage.now_ns, lambda a, now_ns: answers.append(a))
    first, second = stage.sent("ask")
    stage.receive(first.reply, b"yes")
    stage.receive(first.reply, b"again")
    stage.pass_time(3)
    stage.receive(second.reply, b"late")
    assert [getattr(one, "name", one) for one in answers] == [b"yes", "LATE"]


def test_a_publish_takes_its_deadline_from_where_it_began() -> None:
    stage = open_stage(pub_ack_wait=30.0)
    receipt = Receipt()
    stage.session.publish("foo", b"x", receipt, stage.now_ns - 29 * SECOND_NS, 1 << 20)
    stage.pass_time(1.1)
    stage.settle()
    assert str(receipt.error) == "stan: publish ack timeout"


def test_a_pong_after_the_one_that_lost_the_connection_changes_nothing() -> None:
    stage = old_way()
    stage.pass_time(1)
    ping = stage.sent(PINGS)[0]
    answers = (PingResponse(error=text).SerializeToString() for text in (UNKNOWN, "another"))
    stage.session.receive(
        [(ping.reply.encode(), b"", payload) for payload in answers], stage.now_ns
    )
    assert str(stage.session.lost) == UNKNOWN
    assert len(stage.events()) == 1
