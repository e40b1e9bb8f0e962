"""The older client's errors, within our tree.

Its programs catch three kinds of names: those of this module, `TimeoutError`, and those of
`nats.aio.errors`, because its NATS connection's errors came through. So what we raise is turned
into a class that is all of them, and ours; the words stay. Only the older names are public:
``import *`` must not hide those of nats.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from nats.aio.errors import ErrConnectionClosed, ErrMaxPayload, ErrTimeout

from stan.errors import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    InvalidConnectionError,
    PayloadTooLargeError,
    PublishTimeoutError,
    RequestTimeoutError,
    StanError,
)

__all__ = ["ErrConnectReqTimeout", "ErrTimeoutError", "StanError"]


class ErrTimeoutError(StanError, TimeoutError):
    """Something was not answered in time."""


class ErrConnectReqTimeout(ErrTimeoutError, ConnectTimeoutError):
    """Nobody answered the connect request."""


class _Worded(StanError):
    """Prints our words; nats-py's errors print fixed ones."""

    def __str__(self) -> str:
        return str(self.args[0])


class PublishUnanswered(_Worded, ErrTimeoutError, PublishTimeoutError, ErrTimeout):
    """No publish ack in time."""


class RequestUnanswered(_Worded, ErrTimeoutError, RequestTimeoutError, ErrTimeout):
    """No answer to a subscribe, unsubscribe or close in time."""


class Closed(_Worded, ConnectionClosedError, ErrConnectionClosed):
    """The connection is closed."""


class Unusable(_Worded, InvalidConnectionError, ErrConnectionClosed):
    """The NATS connection cannot be used."""


class TooLarge(_Worded, PayloadTooLargeError, ErrMaxPayload):
    """The message is larger than NATS carries."""


_OLDER: tuple[tuple[type[ClientError], type[ClientError]], ...] = (
    (ConnectTimeoutError, ErrConnectReqTimeout),
    (PublishTimeoutError, PublishUnanswered),
    (RequestTimeoutError, RequestUnanswered),
    (ConnectionClosedError, Closed),
    (InvalidConnectionError, Unusable),
    (PayloadTooLargeError, TooLarge),
)


@contextmanager
def older_errors() -> Iterator[None]:
    """Raise what is raised within as what the older client's programs catch."""
    try:
        yield
    except ClientError as error:
        for ours, older in _OLDER:
            if isinstance(error, ours) and not isinstance(error, older):
                raise older(str(error)) from error
        raise
