"""The client's requests as bytes, and what the server's answers mean.

Plain functions without state. An answer that refuses becomes an error that keeps the
server's words.
"""

from stan.client.feed import Feed
from stan.client.options import ConnectOptions
from stan.errors import (
    ClientIDTakenError,
    ConnectError,
    ConnectionLostError,
    InvalidSubscriptionError,
    SubscribeError,
)
from stan.wire.messages import parse
from stan.wire.stan_pb2 import (
    CloseRequest,
    CloseResponse,
    ConnectRequest,
    ConnectResponse,
    SubscriptionResponse,
    UnsubscribeRequest,
)

PROTOCOL_LEVEL = 1
CONNECTION_CLOSED = "stan: connection closed"
CONNECT_TIMEOUT = "stan: connect request timeout (possibly wrong cluster ID?)"
NO_SERVER = "stan: no streaming server listens"
PINGS_UNANSWERED = "stan: connection lost due to PING failure"
INVALID_SUBSCRIPTION = "stan: invalid subscription"
UNKNOWN_CLIENT_ID = "stan: unknown clientID"
# What a server says about a subscription of a client that it has forgotten.
FORGOTTEN = (UNKNOWN_CLIENT_ID, "stan: unknown channel")


def connect_request(options: ConnectOptions, heartbeat_inbox: str, connection_id: str) -> bytes:
    """The payload that registers a client."""
    return ConnectRequest(
        clientID=options.client_id,
        heartbeatInbox=heartbeat_inbox,
        protocol=PROTOCOL_LEVEL,
        connID=connection_id.encode(),
        pingInterval=options.ping_interval,
        pingMaxOut=options.ping_max_out,
        resends=options.resends,
    ).SerializeToString()


def read_connected(payload: bytes) -> ConnectResponse:
    """The answer to that. Raises ConnectError, or ClientIDTakenError, when it refuses."""
    try:
        response = parse(ConnectResponse, payload)
    except ValueError:
        raise ConnectError("stan: malformed connect response") from None
    if response.error:
        taken = response.error == "stan: clientID already registered"
        raise (ClientIDTakenError if taken else ConnectError)(response.error)
    return response


def unsubscribe_request(client_id: str, feed: Feed) -> bytes:
    """The payload that ends a subscription, by unsubscribing or by closing it. One that the
    server may have accepted without our knowing is named by its inbox."""
    return UnsubscribeRequest(
        clientID=client_id, subject=feed.channel, inbox=feed.ack_inbox or feed.inbox
    ).SerializeToString()


def read_subscribed(payload: bytes) -> str:
    """The ack inbox in an answer about a subscription.

    Raises InvalidSubscriptionError or SubscribeError.
    """
    try:
        response = parse(SubscriptionResponse, payload)
    except ValueError:
        raise SubscribeError("stan: malformed subscription response") from None
    if response.error == INVALID_SUBSCRIPTION:
        raise InvalidSubscriptionError(response.error)
    if response.error:
        raise SubscribeError(response.error)
    return response.ackInbox


def close_request(client_id: str) -> bytes:
    """The payload that ends a connection."""
    return CloseRequest(clientID=client_id).SerializeToString()


def read_closed(payload: bytes) -> None:
    """Take the answer to that. Raises ConnectionLostError when the server refuses it, because
    it does not know this client any more."""
    try:
        error = parse(CloseResponse, payload).error
    except ValueError:
        return
    if error:
        raise ConnectionLostError(error)
