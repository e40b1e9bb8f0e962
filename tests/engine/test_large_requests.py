"""A request that is larger than any honest one is refused before it is parsed, and so is one
with a name that is longer than any name."""

from typing import Any

import pytest

from stan.engine.channels import MAX_NAME_BYTES
from stan.engine.publishing import INVALID_PUBLISH
from stan.wire.messages import MAX_REQUEST_BYTES
from stan.wire.stan_pb2 import CloseResponse, ConnectResponse, PubMsg, SubscriptionResponse
from tests.tools.rig import Rig, connect, subscription

LONGEST = "x" * MAX_NAME_BYTES
TOO_LONG = LONGEST + "x"


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


@pytest.mark.parametrize(
    ("longest", "too_long", "name"),
    [
        (connect(LONGEST), connect(TOO_LONG), "clientID"),
        (connect("it", LONGEST.encode()), connect("it", TOO_LONG.encode()), "connID"),
    ],
    ids=["client ID", "connection ID"],
)
def test_a_long_name_does_not_connect(longest: Any, too_long: Any, name: str) -> None:
    rig = Rig()
    # The heartbeat inbox is a subject of its own, with a bound of its own.
    longest.heartbeatInbox = too_long.heartbeatInbox = "hb.it"
    refused = rig.ask(rig.engine.subjects.connect, too_long, ConnectResponse)
    assert refused.error == f"stan: {name} is longer than {MAX_NAME_BYTES} bytes"
    assert not rig.engine.clients.by_id
    assert not rig.ask(rig.engine.subjects.connect, longest, ConnectResponse).error


@pytest.mark.parametrize(
    ("field", "name"), [("durableName", "durable name"), ("qGroup", "queue group")]
)
def test_a_long_name_does_not_subscribe(rig: Rig, field: str, name: str) -> None:
    refused = rig.subscribe(**{field: TOO_LONG})
    assert refused.error == f"stan: {name} is longer than {MAX_NAME_BYTES} bytes"
    assert not rig.engine.channels.by_name
    assert not rig.subscribe(**{field: LONGEST}).error


def test_bytes_count_and_not_letters(rig: Rig) -> None:
    assert rig.subscribe(durableName="é" * (MAX_NAME_BYTES // 2 + 1)).error
    assert not rig.subscribe(durableName="é" * (MAX_NAME_BYTES // 2)).error


def publish_with(**fields: Any) -> PubMsg:
    return PubMsg(**{"clientID": "me", "guid": "guid", "subject": "foo"} | fields)


@pytest.mark.parametrize("field", ["guid", "messageId"])
@pytest.mark.parametrize("before", [0, 1, 2], ids=["first", "second", "third"])
def test_a_long_name_is_not_published(rig: Rig, field: str, before: int) -> None:
    """Also behind others of the same publisher, that are not looked at again."""
    subject = b"_STAN.pub.test-cluster.foo"
    honest = [publish_with(guid=f"guid{number}") for number in range(before)]
    messages = [*honest, publish_with(**{field: TOO_LONG}), publish_with(**{field: LONGEST})]
    rig.receive(*((subject, b"acks", message.SerializeToString()) for message in messages))
    assert [error for _, error in sorted(rig.acks())].count(INVALID_PUBLISH) == 1
    assert rig.engine.channels.by_name["foo"].last == before + 1
