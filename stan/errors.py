"""The whole exception tree. One class a cause; the server's words are kept verbatim.

StanError
├── ConfigError                 a setting makes no sense (also a ValueError)
├── AdminError                  an operation was refused; `code` says of which kind
├── ClientError                 what the library's user meets
│   ├── ConnectError            connecting failed for another reason
│   │   ├── ConnectTimeoutError     nobody answered the connect request (also a TimeoutError)
│   │   └── ClientIDTakenError      the client ID is in use by a live client
│   ├── ConnectionClosedError   the connection was closed, or was never open
│   ├── ConnectionLostError     lost for good: given up, or without resuming
│   ├── InvalidConnectionError  the NATS connection underneath is not usable
│   ├── PublishError            the server refused a message; its words are str(error)
│   ├── PublishTimeoutError     no ack in time: stored or not is unknown (also a TimeoutError)
│   ├── PayloadTooLargeError    the encoded message exceeds what NATS carries
│   ├── SubscribeError          the server refused a subscription
│   ├── RequestTimeoutError     a subscribe, unsubscribe or close went unanswered
│   ├── MessageTimeoutError     no message came in time (also a TimeoutError)
│   ├── InvalidSubscriptionError    the subscription is closed or unknown to the server
│   └── ManualAckError          ack() on a subscription that acks by itself
└── ServerError                 what the server's operator meets; one clear line each
    ├── NatsServerError         the NATS server: missing, died, port taken, unreachable
    ├── ClusterIDMismatchError  the store belongs to another cluster
    ├── AnotherServerError      a server with this cluster ID is already running
    ├── MonitorError            the monitoring port cannot be listened to
    ├── OriginError             the original server's data cannot be imported as it is
    └── StoreError              the store cannot do what was asked
        ├── StoreUnavailableError   certainly not applied; worth retrying
        ├── StoreRefusedError       certainly not applied; retrying will not help by itself
        ├── StoreOutcomeUnknownError    the connection was lost during COMMIT
        ├── SchemaError             the schema is newer than this code, or cannot be used
        └── LeaseLostError          another server owns the store now
"""


class StanError(Exception):
    """The root of every error raised by this package on purpose."""


class ConfigError(StanError, ValueError):
    """A setting has a value that makes no sense; nothing was changed.

    `about` names the field of the configuration that is to blame, where that is known.
    """

    def __init__(self, text: str, about: str = "") -> None:
        super().__init__(text)
        self.about = about


class AdminError(StanError):
    """An operation of the admin service was refused; nothing was changed.

    `code` is 400 for a request that makes no sense, 403 where changes are not allowed, 404 for
    what does not exist, 409 for a conflict, 503 when the service cannot do it now or does not
    answer, 500 for a defect. The words are str(error).
    """

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class ClientError(StanError):
    """An error met by a user of the client library."""


class ConnectError(ClientError):
    """The server answered the connect request with an error, kept in str(error)."""


class ConnectTimeoutError(ConnectError, TimeoutError):
    """Nobody answered the connect request: no server, or another cluster ID."""


class ClientIDTakenError(ConnectError):
    """The client ID belongs to a client that is alive."""


class ConnectionClosedError(ClientError):
    """The STAN connection is closed."""


class ConnectionLostError(ClientError):
    """The connection is lost for good: the server was away for longer than `give_up_after`,
    NATS was closed; or, without resuming, it stopped answering or forgot this client."""


class InvalidConnectionError(ClientError):
    """The NATS connection underneath is not connected."""


class PublishError(ClientError):
    """The server refused the message; it is not stored."""


class PublishTimeoutError(ClientError, TimeoutError):
    """No ack arrived in time. Whether the message is stored is unknown."""


class PayloadTooLargeError(ClientError):
    """The encoded message is larger than the NATS server carries; nothing was sent."""


class SubscribeError(ClientError):
    """The server refused the subscription."""


class RequestTimeoutError(ClientError, TimeoutError):
    """A subscribe, unsubscribe or close request was not answered in time."""


class MessageTimeoutError(ClientError, TimeoutError):
    """No message came within the time that was given."""


class InvalidSubscriptionError(ClientError):
    """The subscription is closed, or the server does not know it."""


class ManualAckError(ClientError):
    """ack() was called on a subscription that acknowledges by itself."""


class ServerError(StanError):
    """An error met by somebody who runs the server."""


class NatsServerError(ServerError):
    """The NATS server is missing, cannot start, died, or cannot be reached."""


class ClusterIDMismatchError(ServerError):
    """The store was created for another cluster ID."""


class AnotherServerError(ServerError):
    """Another streaming server with the same cluster ID answers on this NATS server."""


class MonitorError(ServerError):
    """The monitoring port is taken, or may not be listened to."""


class OriginError(ServerError):
    """The original server's data is missing, damaged, or not what an import can read."""


class StoreError(ServerError):
    """The store cannot do what was asked."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached; nothing was applied, a retry makes sense."""


class StoreRefusedError(StoreError):
    """The store said no (disk full, a constraint, missing rights); nothing was applied."""


class StoreOutcomeUnknownError(StoreError):
    """The connection was lost during COMMIT; ask the store what it holds."""


class SchemaError(StoreError):
    """The database's schema is newer than this code, or is not ours."""


class LeaseLostError(StoreError):
    """Another server took the store over; this one must not write again."""
