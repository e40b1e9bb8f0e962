"""The monitoring documents: which fields, in which order, and how Go would write them.

Names and shapes are those of the original, on which consoles, scalers and dashboards rely;
`tests/server/monitor` compares every byte with recorded ones. Long lists are made a slice
at a time, so that no document keeps the pump from its work.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TypeAlias, TypeVar

from stan.engine.limits import ChannelLimits
from stan.engine.views import ChannelView, ClientView, SubscriptionView, Totals

Value: TypeAlias = "str | int | bool | list[Value] | dict[str, Value]"
T = TypeVar("T")

# Between two slices everything else in the process has its turn.
SLICE_S = 0.001
_SLICE_ITEMS = 64
_INDENT = "  "
_BOOLEANS = {True: "true", False: "false"}
# What Go escapes in strings besides what JSON demands.
_GO_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class Raw(str):
    """JSON made already."""

    __slots__ = ()


class Map(dict[str, "Value"]):
    """An object whose names are data; those of any other dict are the fields of a document,
    fixed in the source."""

    __slots__ = ()


def encode(value: Value, depth: int = 0) -> str:
    """This value as Go's indenting encoder writes it, nested `depth` levels deep."""
    if type(value) is dict and value:
        # Long lists are of objects with the same fields: their frame is made once.
        values = [one if type(one) is int else encode(one, depth + 1) for one in value.values()]
        return _frame(depth, *value) % tuple(values)
    if isinstance(value, str):
        return str(value) if isinstance(value, Raw) else quote(value)
    if isinstance(value, int):
        return _BOOLEANS[value] if isinstance(value, bool) else str(value)
    inside = _INDENT * (depth + 1)
    if isinstance(value, list):
        return _enclose("[]", [inside + encode(one, depth + 1) for one in value], depth)
    lines = [f"{inside}{quote(name)}: {encode(one, depth + 1)}" for name, one in value.items()]
    return _enclose("{}", lines, depth)


def quote(text: str) -> str:
    """A JSON string as Go writes it."""
    quoted = encode_basestring(text)
    if "<" in text or ">" in text or "&" in text or not text.isascii():
        return quoted.translate(_GO_ESCAPES)
    return quoted


@lru_cache(maxsize=64)
def _frame(depth: int, *names: str) -> str:
    inside = _INDENT * (depth + 1)
    return _enclose("{}", [f"{inside}{quote(name)}: %s" for name in names], depth)


def _enclose(brackets: str, lines: list[str], depth: int) -> str:
    if not lines:
        return brackets
    body = ",\n".join(lines)
    return f"{brackets[0]}\n{body}\n{_INDENT * depth}{brackets[1]}"


async def encode_list(
    items: Iterable[T], describe: Callable[[T], "Value | None"], depth: int
) -> tuple[Raw, int]:
    """A list of what `describe` makes of each item, and its length. Items of which it makes
    None are left out. Lets others run in between."""
    lines: list[str] = []
    inside = _INDENT * (depth + 1)
    slice_end_s = time.perf_counter() + SLICE_S
    for number, item in enumerate(items, 1):
        value = describe(item)
        if value is not None:
            lines.append(inside + encode(value, depth + 1))
        if number % _SLICE_ITEMS == 0 and time.perf_counter() >= slice_end_s:
            await asyncio.sleep(0)
            slice_end_s = time.perf_counter() + SLICE_S
    return Raw(_enclose("[]", lines, depth)), len(lines)


# Times.


def format_time(time_ns: int) -> str:
    """RFC 3339 in local time, with as many decimals as needed."""
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    local = datetime.fromtimestamp(seconds).astimezone()
    fraction = f".{fraction_ns:09}".rstrip("0") if fraction_ns else ""
    offset = local.isoformat()[19:]
    return f"{local:%Y-%m-%dT%H:%M:%S}{fraction}{'Z' if offset == '+00:00' else offset}"


def format_uptime(uptime_s: int) -> str:
    """5s, 1m2s, 1h2m3s, 1d2h3m4s or 1y2d3h4m5s."""
    minutes, seconds = divmod(uptime_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    years, days = divmod(days, 365)
    parts = [(years, "y"), (days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        del parts[0]
    return "".join(f"{count}{unit}" for count, unit in parts)


# Parts.


def describe_totals(totals: Totals) -> dict[str, Value]:
    """The counters of the server document."""
    return {
        "clients": totals.clients,
        "subscriptions": totals.subscriptions,
        "channels": totals.channels,
        "total_msgs": totals.messages,
        "total_bytes": totals.stored_bytes,
        "in_msgs": totals.in_messages,
        "in_bytes": totals.in_bytes,
        "out_msgs": totals.out_messages,
        "out_bytes": totals.out_bytes,
    }


def describe_limits(limits: ChannelLimits) -> dict[str, Value]:
    """The limits of a channel; times are nanoseconds."""
    return {
        "max_msgs": limits.max_messages,
        "max_bytes": limits.max_bytes,
        "max_age": limits.max_age_ns,
        "max_subscriptions": limits.max_subscriptions,
        "max_inactivity": limits.max_inactivity_ns,
    }


def describe_client(
    client: ClientView, subscriptions: dict[str, list[SubscriptionView]] | None
) -> dict[str, Value]:
    """One client, with its subscriptions by channel when they are given and there are any."""
    document: dict[str, Value] = {
        "id": client.client_id,
        "hb_inbox": client.heartbeat_inbox,
        "subs_count": client.subscriptions_count,
    }
    if subscriptions:
        document["subscriptions"] = Map(
            {channel: describe_subscriptions(some) for channel, some in subscriptions.items()}
        )
    return document


def describe_channel(
    channel: ChannelView, subscriptions: Sequence[SubscriptionView] | None
) -> dict[str, Value]:
    """One channel, with its subscriptions when they are given and there are any."""
    document: dict[str, Value] = {
        "name": channel.name,
        "msgs": channel.messages,
        "bytes": channel.stored_bytes,
        "first_seq": channel.first,
        "last_seq": channel.last,
        "subs_count": channel.subscriptions_count,
    }
    if subscriptions:
        document["subscriptions"] = describe_subscriptions(subscriptions)
    return document


def describe_subscriptions(subscriptions: Iterable[SubscriptionView]) -> list[Value]:
    """Each subscription, in order."""
    return [_describe_subscription(one) for one in subscriptions]


def _describe_subscription(one: SubscriptionView) -> dict[str, Value]:
    document: dict[str, Value] = {
        "client_id": one.client_id,
        "inbox": one.inbox,
        "ack_inbox": one.ack_inbox,
    }
    if one.durable_name:
        document["durable_name"] = one.durable_name
    if one.queue_name:
        document["queue_name"] = one.queue_name
    document |= {
        "is_durable": one.is_durable,
        "is_offline": one.is_offline,
        "max_inflight": one.max_in_flight,
        "ack_wait": one.ack_wait_s,
        "last_sent": one.last_sent,
        "pending_count": one.pending,
        "is_stalled": one.is_stalled,
    }
    return document
