"""Coming back: how the session notices that the server or NATS went, and registers again with a
server that forgot it, decided without any I/O. The test plays the server, and turns the clock."""

import pytest

from stan.client.events import Interrupted, Lost, Resumed
from stan.client.pulse import wait_ns
from stan.errors import ClientIDTakenError, ConnectionLostError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import (
    ConnectRequest,
    ConnectResponse,
)
from tests.client.stage import CONNECT, DEDUPE, PINGS, UNKNOWN, Stage, opened

NO_SERVER = "stan: no streaming server listens"


def test_nats_that_goes_is_seen_at_once_and_asked_when_it_is_back() -> None:
    stage = opened()
    stage.lose_nats()
    assert not stage.session.is_up
    assert stage.events() == [Interrupted("nats: disconnected")]
    stage.pass_time(60)
    assert stage.sent() == []
    stage.regain_nats()
    stage.known()
    assert stage.session.is_up
    assert stage.events() == [Resumed(pytest.approx(60.1), 0, False)]  # type: ignore[arg-type]


def test_nobody_listens_to_a_ping() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.answer(stage.sent(PINGS)[0], None)
    assert stage.events() == [Interrupted(NO_SERVER)]


def test_nobody_listens_to_a_publish() -> None:
    stage = opened()
    stage.publish()
    stage.sent()
    stage.receive("_INBOX.x.acks", None)
    assert not stage.session.is_up
    assert [one.subject for one in stage.sent()] == [PINGS]


def test_a_dead_server_is_noticed_within_ten_seconds() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.known()
    stage.pass_time(9.9)
    assert stage.events() == [Interrupted("stan: connection lost due to PING failure")]


def test_a_loop_that_stood_still_is_no_dead_server() -> None:
    stage = opened()
    stage.pass_time(5)
    for _ in range(20):
        stage.pass_time(0.5)
        stage.now_ns += 30 * SECOND_NS  # nothing runs, answers included
        stage.session.tick(stage.now_ns)
        stage.session.tick(stage.now_ns)
        stage.known()
    assert stage.events() == []
    assert stage.session.is_up


def test_a_slow_answer_is_no_dead_server() -> None:
    stage = opened()
    for _ in range(10):
        stage.pass_time(5)
        ping = stage.sent(PINGS)[0]
        stage.pass_time(2.5)
        stage.pong(ping)
    assert stage.events() == []


def test_waits_grow_and_are_random() -> None:
    longest = [wait_ns(gone_s * SECOND_NS, lambda: 1.0) for gone_s in (0, 3, 60, 3600)]
    assert longest == sorted(longest)
    assert longest[1] <= 0.4 * SECOND_NS
    assert longest[3] == 5 * SECOND_NS
    assert wait_ns(60 * SECOND_NS, lambda: 0.0) == longest[2] // 2


def test_a_server_that_is_away_is_asked_ever_more_rarely() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.answer(stage.sent(PINGS)[0], None)
    counts = []
    for _ in range(3):
        stage.pass_time(20)
        counts.append(len(stage.sent(PINGS)))
    assert counts[0] > counts[1] > counts[2] >= 4


def test_a_loss_is_final_only_when_it_is_given_up() -> None:
    stage = opened(give_up_after=3.0)
    stage.lose_nats()
    stage.pass_time(2.9)
    assert not stage.session.ended
    stage.pass_time(0.2)
    assert isinstance(stage.session.lost, ConnectionLostError)
    assert [type(event) for event in stage.events()] == [Interrupted, Lost]


# Registering again.


def test_a_server_that_forgot_us_is_told_again_who_we_are() -> None:
    stage = Stage()
    first = stage.open(**DEDUPE)
    stage.pass_time(5)
    again = stage.registered(**DEDUPE)
    assert (again.clientID, again.connID) == (first.clientID, first.connID)
    assert again.heartbeatInbox != first.heartbeatInbox
    assert again.resends
    stage.receive(first.heartbeatInbox, b"", "who.asks")
    assert stage.sent("who") == []  # who hears of the old registration, is nobody's server
    stage.receive(again.heartbeatInbox, b"", "who.asks")
    assert len(stage.sent("who")) == 1
    assert [type(event) for event in stage.events()] == [Interrupted, Resumed]


def test_a_registration_without_an_answer_is_asked_for_again_and_never_only_pinged() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.pong(stage.sent(PINGS)[0], UNKNOWN)
    stage.pass_time(10)
    requests = stage.sent()
    assert {request.subject for request in requests} == {CONNECT}
    inboxes = [ConnectRequest.FromString(one.payload).heartbeatInbox for one in requests]
    assert len(set(inboxes)) == len(inboxes) >= 3
    stage.lose_nats()
    stage.regain_nats()
    [request] = stage.sent()
    assert request.subject == CONNECT
    stage.answer(request, stage.accepted())
    assert stage.session.is_up


def test_a_late_pong_is_no_answer_to_a_registration() -> None:
    stage = opened()
    stage.pass_time(5)
    [ping] = stage.sent(PINGS)
    stage.pong(ping, UNKNOWN)
    stage.pass_time(0)
    stage.pong(ping)
    assert not stage.session.is_up


def test_a_client_id_that_somebody_else_holds_is_the_end() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.pong(stage.sent(PINGS)[0], UNKNOWN)
    for _ in range(100):
        if stage.session.ended:
            break
        stage.pass_time(0.5)
        for request in stage.sent(CONNECT):
            if request.subject == CONNECT:
                text = "stan: clientID already registered"
                stage.answer(request, ConnectResponse(error=text))
    assert isinstance(stage.session.lost, ClientIDTakenError)


def test_a_client_id_that_is_taken_for_a_moment_is_not() -> None:
    stage = opened()
    stage.pass_time(5)
    stage.pong(stage.sent(PINGS)[0], UNKNOWN)
    stage.pass_time(0)
    for _ in range(2):
        [request] = stage.sent(CONNECT)
        stage.answer(request, ConnectResponse(error="stan: clientID already registered"))
        stage.pass_time(0.2)
    stage.answer(stage.sent(CONNECT)[0], stage.accepted())
    assert stage.session.is_up


def test_a_server_without_pings_is_registered_with_again() -> None:
    stage = Stage()
    stage.open(pingInterval=0)
    stage.publish()
    stage.sent()
    stage.receive("_INBOX.x.acks", None)
    stage.pass_time(0)
    assert [one.subject for one in stage.sent()] == [CONNECT]
