"""What a user may choose when connecting and when subscribing, and its validation.

Plain values only: no sockets, no clock except what is passed in. Values that make no
sense are refused here with ConfigError, before anything travels; values that only the
server can judge (a client ID, an ack wait below one second) are sent as they are, so
that its own words come back. Seconds in the public options, nanoseconds inside.
"""

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stan.errors import ConfigError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import (
    First,
    LastReceived,
    NewOnly,
    SequenceStart,
    SubscriptionRequest,
    TimeDeltaStart,
)
from stan.wire.subjects import DEFAULT_DISCOVER_PREFIX, is_publishable_subject

DEFAULT_SERVER_URL = "nats://127.0.0.1:4222"
DEFAULT_CONNECT_WAIT_S = 2.0
DEFAULT_PUB_ACK_WAIT_S = 30.0
DEFAULT_MAX_PUB_ACKS_INFLIGHT = 16384
DEFAULT_PING_INTERVAL_S = 5
DEFAULT_PING_MAX_OUT = 88
DEFAULT_ACK_WAIT_S = 30.0
DEFAULT_MAX_IN_FLIGHT = 1024

_MAX_INT32 = 2**31 - 1
_MAX_INT64 = 2**63 - 1


class StartPosition(enum.StrEnum):
    """Where a new subscription begins. A resumed durable ignores it."""

    NEW = "new"
    """Only messages published after the subscription was made."""
    LAST = "last"
    """The last message of the channel, then everything after it."""
    FIRST = "first"
    """Everything that the channel still keeps."""


_WIRE_POSITION = {
    StartPosition.NEW: NewOnly,
    StartPosition.LAST: LastReceived,
    StartPosition.FIRST: First,
}


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How to connect. Times are seconds.

    Raises ConfigError (a ValueError) when a value makes no sense.
    """

    cluster_id: str
    client_id: str
    connect_wait: float = DEFAULT_CONNECT_WAIT_S
    """How long to wait for the answer to a connect, subscribe, unsubscribe or close."""
    pub_ack_wait: float = DEFAULT_PUB_ACK_WAIT_S
    """How long to wait for a publish ack, and at most for a free place in the window."""
    max_pub_acks_inflight: int = DEFAULT_MAX_PUB_ACKS_INFLIGHT
    """How many publishes may be unacknowledged before publishing waits."""
    ping_interval: int = DEFAULT_PING_INTERVAL_S
    ping_max_out: int = DEFAULT_PING_MAX_OUT
    """The connection is lost when more pings than this went unanswered."""
    allow_close_retry: bool = False
    """Keep the NATS connection when a close request timed out, so that it can be repeated."""
    discover_prefix: str = DEFAULT_DISCOVER_PREFIX

    def __post_init__(self) -> None:
        if not is_publishable_subject(self.discover_subject):
            raise ConfigError(f"stan: invalid cluster ID {self.cluster_id!r}")
        if self.connect_wait <= 0 or self.pub_ack_wait <= 0:
            raise ConfigError("stan: connect_wait and pub_ack_wait must be above 0")
        if self.max_pub_acks_inflight < 1:
            raise ConfigError("stan: max_pub_acks_inflight must be at least 1")
        interval, max_out = self.ping_interval, self.ping_max_out
        if not (1 <= interval <= _MAX_INT32 and 2 <= max_out <= _MAX_INT32):
            raise ConfigError(
                f"invalid ping values: interval={interval} (min>0) maxOut={max_out} (min=2)"
            )
        if interval != int(interval):
            raise ConfigError("stan: ping_interval is whole seconds")

    @property
    def discover_subject(self) -> str:
        """The NATS subject of the connect request."""
        return f"{self.discover_prefix}.{self.cluster_id}"


@dataclass(frozen=True, slots=True)
class SubscribeOptions:
    """How to subscribe. At most one of `start_at`, `sequence`, `time` and `delta` is given.

    `time` is a datetime (a naive one is local time) or Unix seconds; `delta` a timedelta or
    seconds into the past. `ack_wait` is in seconds and travels as whole seconds, cut off.
    Raises ConfigError (a ValueError) when a value makes no sense.
    """

    queue: str = ""
    durable: str = ""
    start_at: StartPosition | str | None = None
    sequence: int | None = None
    time: datetime.datetime | float | None = None
    delta: datetime.timedelta | float | None = None
    manual_acks: bool = False
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    ack_wait: float = DEFAULT_ACK_WAIT_S

    def __post_init__(self) -> None:
        starts = (self.start_at, self.sequence, self.time, self.delta)
        if sum(start is not None for start in starts) > 1:
            raise ConfigError("stan: give only one of start_at, sequence, time and delta")
        if self.start_at is not None and self.start_at not in list(StartPosition):
            raise ConfigError(f"stan: start_at is new, last or first, not {self.start_at!r}")
        if self.sequence is not None and not 0 <= self.sequence < 2**64:
            raise ConfigError(f"stan: invalid start sequence {self.sequence}")
        if not abs(self.max_in_flight) <= _MAX_INT32:
            raise ConfigError(f"stan: invalid max_in_flight {self.max_in_flight}")
        if not abs(self.ack_wait) <= _MAX_INT32:
            raise ConfigError(f"stan: invalid ack_wait {self.ack_wait}")

    def fill(self, request: SubscriptionRequest, now_ns: int) -> None:
        """Write the options into a request. `now_ns` is Unix time, for `time`."""
        request.qGroup = self.queue
        request.durableName = self.durable
        request.maxInFlight = self.max_in_flight
        request.ackWaitInSecs = int(self.ack_wait)
        if self.sequence is not None:
            request.startPosition = SequenceStart
            request.startSequence = self.sequence
        elif self.time is not None:
            request.startPosition = TimeDeltaStart
            request.startTimeDelta = _clamp(now_ns - _unix_ns(self.time))
        elif self.delta is not None:
            request.startPosition = TimeDeltaStart
            request.startTimeDelta = _clamp(_seconds_ns(self.delta))
        elif self.start_at is not None:
            request.startPosition = _WIRE_POSITION[StartPosition(self.start_at)]


def split_urls(servers: str | Sequence[str] | None) -> list[str]:
    """The NATS URLs of a list, or of one comma separated string."""
    if servers is None:
        return [DEFAULT_SERVER_URL]
    parts = servers.split(",") if isinstance(servers, str) else servers
    urls = [part.strip() for part in parts if part.strip()]
    if not urls:
        raise ConfigError("stan: no NATS server URL given")
    return urls


def join_nats_options(options: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """What passes through to nats.connect. Raises ConfigError for what is given twice."""
    joined = {**(options or {}), **more}
    if "servers" in joined:
        raise ConfigError("stan: servers is an option of its own")
    for name in joined:
        if name in more and name in (options or {}):
            raise ConfigError(f"stan: {name} is given twice")
    return joined


def _clamp(delta_ns: int) -> int:
    return max(-_MAX_INT64, min(_MAX_INT64, delta_ns))


def _unix_ns(time: datetime.datetime | float) -> int:
    if isinstance(time, datetime.datetime):
        # Whole seconds and microseconds apart: a float cannot hold both exactly.
        whole = int(time.replace(microsecond=0).timestamp())
        return whole * SECOND_NS + time.microsecond * 1000
    return int(time * SECOND_NS)


def _seconds_ns(delta: datetime.timedelta | float) -> int:
    if isinstance(delta, datetime.timedelta):
        return (delta.days * 86400 + delta.seconds) * SECOND_NS + delta.microseconds * 1000
    return int(delta * SECOND_NS)
