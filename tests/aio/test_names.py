"""The names, parameters and defaults of 0.4.0 are all there, and what it raises is ours too."""

import asyncio
import inspect

import nats.aio.errors
import pytest

import stan
import stan.aio.client
import stan.aio.errors

REQUIRED = inspect.Parameter.empty

CALLS: dict[str, dict[str, object]] = {
    "Client": {},
    "Client.connect": {
        "cluster_id": REQUIRED,
        "client_id": REQUIRED,
        "nats": None,
        "connect_timeout": 2,
        "max_pub_acks_inflight": 16384,
        "ping_interval": 5,
        "ping_max_out": 3,
        "conn_lost_cb": None,
        "loop": None,
    },
    "Client.publish": {
        "subject": REQUIRED,
        "payload": REQUIRED,
        "ack_handler": None,
        "ack_wait": 30,
    },
    "Client.subscribe": {
        "subject": REQUIRED,
        "cb": None,
        "error_cb": None,
        "start_at": None,
        "deliver_all_available": False,
        "sequence": None,
        "time": None,
        "manual_acks": False,
        "queue": None,
        "ack_wait": 30,
        "max_inflight": 1024,
        "durable_name": None,
        "pending_limits": 8192,
    },
    "Client.ack": {"msg": REQUIRED},
    "Client.close": {},
    "Subscription.unsubscribe": {},
    "Subscription.close": {},
}

CONSTANTS: dict[str, object] = {
    "DEFAULT_ACKS_SUBJECT": "_STAN.acks.%s",
    "DEFAULT_DISCOVER_SUBJECT": "_STAN.discover.%s",
    "DEFAULT_INBOX_SUBJECT": "_INBOX.%s",
    "DEFAULT_ACK_WAIT": 30,
    "DEFAULT_MAX_INFLIGHT": 1024,
    "DEFAULT_CONNECT_TIMEOUT": 2,
    "DEFAULT_MAX_PUB_ACKS_INFLIGHT": 16384,
    "DEFAULT_PENDING_LIMIT": 8192,
    "DEFAULT_PING_INTERVAL": 5,
    "DEFAULT_PING_MAX_OUT": 3,
    "PROTOCOL_ONE": 1,
    "__version__": "0.4.0",
}

SUBSCRIPTION = (
    "subject",
    "queue",
    "cb",
    "error_cb",
    "inbox",
    "ack_inbox",
    "durable_name",
    "manual_acks",
    "pending_queue_size",
)
MSG = ("proto", "sub", "data", "sequence", "seq", "timestamp", "subject", "redelivered")


def find(path: str) -> object:
    """Something of the client's module, by its dotted name."""
    found: object = stan.aio.client
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("path", CALLS)
def test_parameters_have_the_same_names_order_and_defaults(path: str) -> None:
    call = find(path)
    assert callable(call)
    parameters = inspect.signature(call).parameters
    found = {name: each.default for name, each in parameters.items() if name != "self"}
    assert list(found.items()) == list(CALLS[path].items())


def test_constants_have_the_same_values() -> None:
    assert {name: find(name) for name in CONSTANTS} == CONSTANTS


def test_subscriptions_and_messages_have_the_same_attributes() -> None:
    subscription, msg = stan.aio.client.Subscription(), stan.aio.client.Msg()
    assert [name for name in SUBSCRIPTION if not hasattr(subscription, name)] == []
    assert [name for name in MSG if not hasattr(msg, name)] == []
    assert repr(msg) == "<nats streaming msg sequence=0, time=0>"
    assert repr(stan.aio.client.Client()) == "<nats streaming client v0.4.0>"
    assert stan.aio.client.new_guid() != stan.aio.client.new_guid()


def test_star_imports_bring_the_errors_and_hide_none_of_nats() -> None:
    names: dict[str, object] = {}
    exec("from nats.aio.errors import *\nfrom stan.aio.errors import *", names)
    assert names["StanError"] is stan.StanError
    assert names["ErrTimeout"] is nats.aio.errors.ErrTimeout
    assert names["ErrConnectReqTimeout"] is stan.aio.errors.ErrConnectReqTimeout
    assert names["ErrTimeoutError"] is stan.aio.errors.ErrTimeoutError


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        (
            stan.ConnectTimeoutError,
            (stan.aio.errors.ErrConnectReqTimeout, stan.aio.errors.ErrTimeoutError),
        ),
        (
            stan.PublishTimeoutError,
            (stan.aio.errors.ErrTimeoutError, asyncio.TimeoutError, nats.aio.errors.ErrTimeout),
        ),
        (
            stan.RequestTimeoutError,
            (stan.aio.errors.ErrTimeoutError, asyncio.TimeoutError, nats.aio.errors.ErrTimeout),
        ),
        (stan.ConnectionClosedError, (nats.aio.errors.ErrConnectionClosed,)),
        (stan.InvalidConnectionError, (nats.aio.errors.ErrConnectionClosed,)),
        (stan.PayloadTooLargeError, (nats.aio.errors.ErrMaxPayload,)),
        (stan.SubscribeError, (stan.StanError,)),
    ],
)
def test_an_error_is_caught_by_the_older_names_and_by_ours(
    raised: type[stan.ClientError], caught: tuple[type[Exception], ...]
) -> None:
    with pytest.raises(raised) as error, stan.aio.errors.older_errors():
        raise raised("stan: the words")
    assert str(error.value) == "stan: the words"
    assert [name for name in caught if not isinstance(error.value, name)] == []
    with pytest.raises(raised) as again, stan.aio.errors.older_errors():
        raise error.value
    assert again.value is error.value
