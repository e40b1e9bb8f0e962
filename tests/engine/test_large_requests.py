"""A request that is larger than any honest one is refused before it is parsed."""

import pytest

from stan.wire.messages import MAX_REQUEST_BYTES
from stan.wire.stan_pb2 import CloseResponse, ConnectResponse, SubscriptionResponse
from tests.tools.rig import Rig, connect, subscription


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.connect()
    return rig


def test_a_large_client_id_is_refused(rig: Rig) -> None:
    answer = rig.ask(rig.engine.subjects.connect, connect("x" * MAX_REQUEST_BYTES), ConnectResponse)
    assert answer.error == "stan: invalid connection request"


def test_a_large_durable_is_refused(rig: Rig) -> None:
    request = subscription("foo", "in", "me", durableName="x" * MAX_REQUEST_BYTES)
    answer = rig.ask(rig.engine.subjects.subscribe, request, SubscriptionResponse)
    assert answer.error == "stan: invalid subscription request"


def test_a_large_close_is_refused(rig: Rig) -> None:
    answer = rig.ask(rig.engine.subjects.close, bytes(MAX_REQUEST_BYTES + 1), CloseResponse)
    assert answer.error == "stan: invalid close request"
