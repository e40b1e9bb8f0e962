"""The monitoring documents: which fields, in which order, and how their values are written.

Names and shapes are those of the original, on which consoles, scalers and dashboards rely;
`tests/server/monitor` compares every byte with recorded ones. How JSON is made of them is
the business of `gojson`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from stan.engine.limits import ChannelLimits
from stan.engine.views import ChannelView, ClientView, SubscriptionView, Totals
from stan.server.gojson import Map, Value

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


def describe_client(client: ClientView, channels: Map) -> dict[str, Value]:
    """One client, with its subscriptions by channel when there are any."""
    document: dict[str, Value] = {
        "id": client.client_id,
        "hb_inbox": client.heartbeat_inbox,
        "subs_count": client.subscriptions_count,
    }
    if channels:
        document["subscriptions"] = channels
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
