"""Clients: connecting, duplicates, heartbeats, pings, closing; two deadlines in one tick."""

import pytest

from stan.engine.settings import MILLISECOND_NS, Settings
from stan.errors import StoreRefusedError
from stan.units import SECOND_NS
from stan.wire.frames import Frame
from stan.wire.stan_pb2 import CloseResponse, ConnectRequest, ConnectResponse, PingResponse
from tests.tools.rig import Rig, connect, publish

TAKEN = "stan: clientID already registered"
REPLACED = "client has been replaced or is no longer registered"


def request(rig: Rig, client_id: str, connection_id: bytes, reply: bytes) -> Frame:
    return (
        rig.engine.subjects.connect.encode(),
        reply,
        connect(client_id, connection_id).SerializeToString(),
    )


def beat(rig: Rig, client_id: str = "me") -> bytes:
    """The reply subject of the last heartbeat to this client."""
    replies = [reply for to, reply, _ in rig.sent if to == f"hb.{client_id}".encode()]
    rig.sent = [op for op in rig.sent if op[0] != f"hb.{client_id}".encode()]
    return replies[-1] if replies else b""


@pytest.mark.parametrize("payload", [b"dummy", b"", ConnectRequest(clientID="me")])
def test_a_connect_request_needs_a_heartbeat_inbox_002(payload: bytes | ConnectRequest) -> None:
    rig = Rig()
    answer = rig.ask(rig.engine.subjects.connect, payload, ConnectResponse)
    assert answer.error == "stan: invalid connection request"


@pytest.mark.parametrize("inbox", ["a b", "*", "a\r\nPUB x 0\r\n", "x" * 2000])
def test_a_heartbeat_inbox_must_be_a_subject(inbox: str) -> None:
    rig = Rig()
    asked = ConnectRequest(clientID="me", heartbeatInbox=inbox)
    answer = rig.ask(rig.engine.subjects.connect, asked, ConnectResponse)
    assert answer.error == "stan: invalid connection request"


def test_the_response_echoes_the_ping_values_004() -> None:
    rig = Rig()
    asked = connect("me", b"c", pingInterval=1, pingMaxOut=3)
    answer = rig.ask(rig.engine.subjects.connect, asked, ConnectResponse)
    assert (answer.protocol, answer.pingInterval, answer.pingMaxOut) == (1, 1, 3)
    assert answer.pingRequests == "_STAN.discover.test-cluster.pings"


def test_an_old_client_gets_no_ping_values_005() -> None:
    rig = Rig()
    asked = ConnectRequest(clientID="me", heartbeatInbox="hb.me", pingInterval=1)
    answer = rig.ask(rig.engine.subjects.connect, asked, ConnectResponse)
    assert (answer.protocol, answer.pingInterval, answer.pingRequests) == (1, 0, "")


def test_a_living_client_keeps_its_id_006(rig: Rig) -> None:
    rig.receive(request(rig, "me", b"new", b"second"))
    rig.receive((beat(rig), b"", b""))
    (answer,) = rig.take_payloads("second")
    assert ConnectResponse.FromString(answer).error == TAKEN


@pytest.mark.parametrize("nobody_listens", [True, False])
def test_a_dead_client_is_replaced_007(nobody_listens: bool) -> None:
    rig = Rig()
    rig.connect("me", b"old")
    rig.receive(request(rig, "me", b"new", b"second"))
    if nobody_listens:
        rig.receive((beat(rig), b"", None))
    else:
        rig.wait(500 * MILLISECOND_NS)
    (answer,) = rig.take_payloads("second")
    assert ConnectResponse.FromString(answer).error == ""
    rig.ping(b"old")
    assert PingResponse.FromString(rig.take_payloads("pong")[0]).error == REPLACED
    rig.ping(b"new")
    assert rig.take_payloads("pong") == [b""]


def test_one_duplicate_check_at_a_time_008(rig: Rig) -> None:
    rig.receive(request(rig, "me", b"2", b"second"))
    rig.receive(request(rig, "me", b"3", b"third"))
    (answer,) = rig.take_payloads("third")
    assert ConnectResponse.FromString(answer).error == TAKEN
    assert rig.connect("you").error == ""


def test_a_silent_client_goes_after_one_failure_too_many_009() -> None:
    rig = Rig(Settings(heartbeat_fail_count=5))
    rig.connect("me", b"c")
    rig.wait(6 * 40 * SECOND_NS - 1)
    assert "me" in rig.engine.clients.by_id
    rig.wait(1)
    assert not rig.engine.clients.by_id
    assert not rig.engine.clients.by_connection_id


def test_a_ping_makes_a_doubtful_client_prove_itself_013() -> None:
    rig = Rig()
    rig.connect("me", b"c")
    rig.wait(40 * SECOND_NS)
    assert rig.engine.clients.by_id["me"].failed_heartbeats == 1
    beat(rig)
    rig.ping(b"c")
    rig.wait(MILLISECOND_NS)
    rig.receive((beat(rig), b"", b""))
    assert rig.engine.clients.by_id["me"].failed_heartbeats == 0


@pytest.mark.parametrize("payload", [b"", b"dummy"])
def test_pings_of_nobody_are_ignored_010(rig: Rig, payload: bytes) -> None:
    rig.receive((rig.engine.subjects.pings.encode(), b"pong", payload))
    assert rig.take_payloads("pong") == []


def test_close_014(rig: Rig) -> None:
    assert rig.close("nobody").error == "stan: unknown clientID"
    garbled = rig.ask(rig.engine.subjects.close, b"dummy", CloseResponse)
    assert garbled.error == "stan: invalid close request"
    assert rig.close().error == ""
    assert not rig.engine.clients.by_id


def test_publishes_before_a_close_are_stored_015(rig: Rig) -> None:
    closing = (rig.engine.subjects.close.encode(), b"closed", b"\x0a\x02me")
    rig.receive(*(publish(b"%d" % n) for n in range(100)), closing)
    assert len(rig.acks()) == 100
    assert rig.take_payloads("closed") == [b""]


def test_a_client_replaced_when_its_heartbeat_fails_is_touched_once() -> None:
    """Two deadlines of one client in one tick: the second one finds it gone."""
    rig = Rig(Settings(heartbeat_fail_count=0, duplicate_check_timeout_ns=SECOND_NS))
    rig.connect("me", b"old")
    rig.wait(36 * SECOND_NS)
    rig.receive(request(rig, "me", b"new", b"second"))
    rig.now_ns += 20 * SECOND_NS
    rig.engine.tick(rig.now_ns)
    rig.run()
    assert rig.engine.clients.by_id["me"].record.connection_id == b"new"
    rig.wait(SECOND_NS)
    assert rig.engine.clients.by_id["me"].record.connection_id == b"new"


def test_a_refused_connect_spares_the_client_that_came_after() -> None:
    rig = Rig()
    rig.hold = True
    rig.receive(request(rig, "me", b"first", b"one"))
    rig.receive((rig.engine.subjects.close.encode(), b"closed", b"\x0a\x02me"))
    rig.receive(request(rig, "me", b"second", b"two"))
    rig.fail(StoreRefusedError("disk full"))
    rig.hold = False
    rig.wait(SECOND_NS)
    (first,) = rig.take_payloads("one")
    (second,) = rig.take_payloads("two")
    assert ConnectResponse.FromString(first).error == "disk full"
    assert ConnectResponse.FromString(second).error == ""
    assert rig.engine.clients.by_id["me"].record.connection_id == b"second"
