"""What a user may choose when connecting and when subscribing, and its validation.

Plain values only: no sockets, no clock except what is passed in. Values that make no
sense are refused here with ConfigError, before anything travels; values that only the
server can judge (a client ID, an ack wait below one second) are sent as they are, so
that its own words come back. Seconds in the public options, nanoseconds inside.
"""

import datetime
import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

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
DEFAULT_MAX_PUB_BYTES_INFLIGHT = 64 * 1024 * 1024
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


StartAt = Literal["new", "last", "first"]
WhileDisconnected = Literal["wait", "fail"]
Resend = Literal["safe", "always", "never"]

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
    """How long a publish may take in all: waiting for a place in the window, for a server that
    is away, for being sent again, and for its ack."""
    max_pub_acks_inflight: int = DEFAULT_MAX_PUB_ACKS_INFLIGHT
    max_pub_bytes_inflight: int = DEFAULT_MAX_PUB_BYTES_INFLIGHT
    """The window: how many publishes, and bytes, may be unacknowledged before publishing waits."""
    ping_interval: int = DEFAULT_PING_INTERVAL_S
    ping_max_out: int = DEFAULT_PING_MAX_OUT
    """Without `resume` the connection is lost when more pings than this went unanswered."""
    allow_close_retry: bool = False
    """Keep the NATS connection when a close request timed out, so that it can be repeated."""
    discover_prefix: str = DEFAULT_DISCOVER_PREFIX
    resume: bool = True
    """Come back by itself after an interruption. False: a lost connection is final."""
    give_up_after: float | None = None
    """How long an interruption may last before the connection is lost; None: for ever."""
    while_disconnected: WhileDisconnected = "wait"
    """Whether publishing waits during an interruption, or fails at once."""
    resend: Resend = "safe"
    """Whether publishes without an ack are sent again after an interruption: where the server
    recognises them, always (then one may be stored twice), or never."""

    def __post_init__(self) -> None:
        _check_types(self)
        if not is_publishable_subject(self.discover_subject):
            raise ConfigError(f"stan: invalid cluster ID {self.cluster_id!r}")
        if not (self.connect_wait > 0 and self.pub_ack_wait > 0):
            raise ConfigError("stan: connect_wait and pub_ack_wait must be above 0")
        if self.max_pub_acks_inflight < 1 or self.max_pub_bytes_inflight < 1:
            raise ConfigError("stan: max_pub_acks_inflight must be at least 1")
        if self.give_up_after is not None and not self.give_up_after > 0:
            raise ConfigError("stan: give_up_after must be above 0")
        if self.while_disconnected not in ("wait", "fail"):
            raise ConfigError(
                f"stan: while_disconnected is wait or fail, not {self.while_disconnected!r}"
            )
        if self.resend not in ("safe", "always", "never"):
            raise ConfigError(f"stan: resend is safe, always or never, not {self.resend!r}")
        interval, max_out = self.ping_interval, self.ping_max_out
        if not (1 <= interval <= _MAX_INT32 and 2 <= max_out <= _MAX_INT32):
            raise ConfigError(
                f"invalid ping values: interval={interval} (min>0) maxOut={max_out} (min=2)"
            )

    @property
    def resends(self) -> bool:
        """Whether publishes without an ack may be sent again."""
        return self.resume and self.resend != "never"

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
    start_at: StartPosition | StartAt | None = None
    sequence: int | None = None
    time: datetime.datetime | float | None = None
    delta: datetime.timedelta | float | None = None
    manual_acks: bool = False
    max_in_flight: int = DEFAULT_MAX_IN_FLIGHT
    ack_wait: float = DEFAULT_ACK_WAIT_S

    def __post_init__(self) -> None:
        _check_types(self)
        starts = (self.start_at, self.sequence, self.time, self.delta)
        if sum(start is not None for start in starts) > 1:
            raise ConfigError("stan: give only one of start_at, sequence, time and delta")
        if self.start_at is not None and self.start_at not in list(StartPosition):
            raise ConfigError(f"stan: start_at is new, last or first, not {self.start_at!r}")
        if self.delta is not None and _seconds_ns(self.delta) < 0:
            raise ConfigError(f"stan: invalid delta {self.delta}: it counts back from now")
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


def check_channel(channel: object) -> None:
    """Raises ConfigError for what is no text."""
    if not isinstance(channel, str):
        raise ConfigError(f"stan: a channel is text, not {type(channel).__name__}")
    if not _is_encodable(channel):
        raise ConfigError(f"stan: invalid channel {channel!r}")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_types(options: "ConnectOptions | SubscribeOptions") -> None:
    """Raises ConfigError for a value of another kind than its option has."""
    for option in fields(options):
        value = getattr(options, option.name)
        kinds = get_args(option.type) or (option.type,)
        if not all(isinstance(kind, type) for kind in kinds):
            continue  # a choice of words, which is checked by itself
        if float in kinds:
            kinds += (int,)
        wrong = not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        wrong = wrong or (isinstance(value, float) and not math.isfinite(value))
        if wrong or (isinstance(value, str) and not _is_encodable(value)):
            raise ConfigError(f"stan: invalid {option.name} {value!r}")


def split_urls(servers: str | Sequence[str] | None) -> list[str]:
    """The NATS URLs of a list, or of one comma separated string."""
    if servers is None:
        return [DEFAULT_SERVER_URL]
    parts = servers.split(",") if isinstance(servers, str) else servers
    if not isinstance(parts, Iterable) or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"stan: invalid servers {servers!r}")
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
