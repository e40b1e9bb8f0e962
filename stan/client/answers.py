"""What the admin service answers, as frozen dataclasses with the service's own names.

`read` makes one of an answer. A key that this version does not know is left out, and one that
an older server does not send keeps its default, so that either side may be the newer one.
Nothing is asked here.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Self, get_args, get_origin

from stan.errors import AdminError
from stan.units import SECOND_NS

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)")


def read_time_ns(text: str) -> int:
    """Unix nanoseconds of an RFC 3339 time in UTC; 0 for none. Raises ValueError."""
    if not text:
        return 0
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time in UTC")
    seconds = int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    return seconds * SECOND_NS + int((match[2] or "0").ljust(9, "0"))


def read_time(text: str) -> datetime | None:
    """The same as a datetime, to the microsecond."""
    if not text:
        return None
    seconds, rest_ns = divmod(read_time_ns(text), SECOND_NS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)


def write_time(time: datetime) -> str:
    """What the service reads; a naive datetime is local time."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Answer:
    """One object of an answer."""

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Self:
        """From the service's JSON. Raises AdminError for what is none of ours."""
        values: dict[str, Any] = {}
        try:
            for one in fields(cls):
                if one.name in answer:
                    values[one.name] = _convert(one.type, answer[one.name])
            return cls(**values)
        except (TypeError, AttributeError, ValueError) as error:
            text = f"the admin service's answer makes no sense: {error}"
            raise AdminError(500, text) from error


def _convert(kind: Any, value: Any) -> Any:
    """JSON to what a field of this type holds."""
    if kind == datetime | None:
        return read_time(value)
    if kind is bytes:
        return base64.b64decode(value)
    if isinstance(kind, type) and issubclass(kind, Answer):
        return kind.read(value)
    if get_origin(kind) is tuple:
        return tuple(get_args(kind)[0].read(row) for row in value)
    return value


@dataclass(frozen=True, slots=True)
class Limits(Answer):
    """What a channel may hold; 0 is unlimited."""

    max_msgs: int = 0
    max_bytes: int = 0
    max_age_s: float = 0
    max_inactivity_s: float = 0
    max_subs: int = 0


@dataclass(frozen=True, slots=True)
class ChannelInfo(Answer):
    """A channel."""

    name: str = ""
    messages: int = 0
    bytes: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    first_time: datetime | None = None
    last_time: datetime | None = None
    subscriptions: int = 0
    durables: int = 0
    limits: Limits = Limits()
    limits_source: str = ""
    """stored: its own, kept in the store; configured: by name; global: as all others."""
    removing: int = 0
    """How many messages are still being removed in the background."""


@dataclass(frozen=True, slots=True)
class MemberInfo(Answer):
    """A subscription of a durable or group."""

    client_id: str = ""
    inbox: str = ""
    is_online: bool = False
    is_stalled: bool = False
    pending: int = 0
    last_sent: int = 0
    max_in_flight: int = 0
    ack_wait_s: float = 0


@dataclass(frozen=True, slots=True)
class DurableInfo(Answer):
    """A durable, or a queue group, which need not be durable."""

    channel: str = ""
    client_id: str = ""
    durable: str = ""
    queue_group: str = ""
    is_durable: bool = False
    is_online: bool = False
    is_stalled: bool = False
    members_count: int = 0
    last_sent: int = 0
    pending: int = 0
    """Sent, and not acknowledged."""
    unsent: int = 0
    lag: int = 0
    """What it has not done: pending and unsent."""
    oldest_unacked: int = 0
    oldest_unacked_time: datetime | None = None
    redelivered: int = 0
    lost: int = 0
    """What limits removed before it was acknowledged."""
    oversize: int = 0
    """Larger than NATS carries: it waits until that changes."""
    members: tuple[MemberInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscriptionInfo(Answer):
    """A subscription of a client."""

    channel: str = ""
    durable: str = ""
    queue_group: str = ""
    inbox: str = ""
    pending: int = 0
    last_sent: int = 0
    is_stalled: bool = False
    max_in_flight: int = 0
    ack_wait_s: float = 0


@dataclass(frozen=True, slots=True)
class ClientInfo(Answer):
    """A client that is registered."""

    client_id: str = ""
    heartbeat_inbox: str = ""
    subscriptions_count: int = 0
    failed_heartbeats: int = 0
    last_heard: datetime | None = None
    subscriptions: tuple[SubscriptionInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredMessage(Answer):
    """A message as the store keeps it."""

    sequence: int = 0
    time: datetime | None = None
    size_bytes: int = 0
    data: bytes = b""
    """Cut off where `max_bytes` was given."""
    reply: str = ""


@dataclass(frozen=True, slots=True)
class ServerInfo(Answer):
    """The active server of the cluster."""

    cluster_id: str = ""
    server_id: str = ""
    version: str = ""
    engine: str = ""
    state: str = ""
    mode: str = ""
    start_time: datetime | None = None
    now: datetime | None = None
    uptime_s: float = 0
    nats_url: str = ""
    store: Mapping[str, Any] = field(default_factory=dict)
    clients: int = 0
    channels: int = 0
    subscriptions: int = 0
    messages: int = 0
    bytes: int = 0
    in_messages: int = 0
    in_bytes: int = 0
    out_messages: int = 0
    out_bytes: int = 0
    redelivered: int = 0
    refused: int = 0
    queued_messages: int = 0
    queued_bytes: int = 0
    commit_ms: Mapping[str, float] = field(default_factory=dict)
    group: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ParkedRow(Answer):
    """A row of the outbox that could not become a message."""

    id: int = 0
    channel: str = ""
    size_bytes: int = 0
    reply: str = ""
    msg_id: str = ""
    created_time: datetime | None = None
    parked_time: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Purged(Answer):
    """What a purge removed, or would remove; `removing` goes on in the background."""

    channel: str = ""
    purged: int = 0
    first_sequence: int = 0
    last_sequence: int = 0
    removing: int = 0


@dataclass(frozen=True, slots=True)
class Deleted(Answer):
    """What went, or would go, with a channel."""

    channel: str = ""
    messages: int = 0
    subscriptions: int = 0
