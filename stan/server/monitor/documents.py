"""The monitoring documents: which fields, in which order, and how their values are written.

Names and shapes are those of the original, on which consoles, scalers and dashboards rely;
`tests/server/monitor` compares every byte with recorded ones. How JSON is made of them is
the business of `gojson`.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from sys import intern

from stan.engine.limits import ChannelLimits
from stan.engine.rows import ChannelView, ClientView, SubscriptionView, Totals
from stan.server.monitor.gojson import PLACE, Raw, Value, encode
from stan.units import SECOND_NS

# Times.


def format_time(time_ns: int) -> str:
    """RFC 3339 in local time, with as many decimals as needed."""
    seconds, fraction_ns = divmod(time_ns, SECOND_NS)
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


def describe_client(client: ClientView, subscriptions: str) -> dict[str, Value]:
    """One client, with its subscriptions by channel when there are any, as JSON."""
    document: dict[str, Value] = {
        "id": client.client_id,
        "hb_inbox": client.heartbeat_inbox,
        "subs_count": client.subscriptions_count,
    }
    if subscriptions:
        document["subscriptions"] = Raw(subscriptions)
    return document


# Lists of channels and subscriptions are long, and little in them changes: what stands
# around the numbers is made once, and kept for those asked for lately.

_MOST_FRAMES = 65_536
_Names = tuple[str, str, str, str, str, bool, bool, int, int]


def write_channel(
    channel: ChannelView, subscriptions: Sequence[SubscriptionView], depth: int
) -> str:
    """One channel as JSON, with its subscriptions if there are any, `depth` levels deep."""
    frame = _channel_frame(channel.name, tuple([one[:-3] for one in subscriptions]), depth)
    return _fill(
        frame,
        [
            str(channel.messages),
            str(channel.stored_bytes),
            str(channel.first),
            str(channel.last),
            str(channel.subscriptions_count),
        ],
        subscriptions,
    )


def write_subscriptions(subscriptions: Sequence[SubscriptionView], depth: int) -> str:
    """A list of subscriptions as JSON, in order, `depth` levels deep."""
    frame = _subscriptions_frame(tuple([one[:-3] for one in subscriptions]), depth)
    return _fill(frame, [], subscriptions)


def _fill(frame: list[str], numbers: list[str], subscriptions: Sequence[SubscriptionView]) -> str:
    for one in subscriptions:
        last_sent, pending, is_stalled = one[-3:]
        numbers += (str(last_sent), str(pending), "true" if is_stalled else "false")
    parts = frame.copy()
    parts[1::2] = numbers
    return "".join(parts)


@lru_cache(maxsize=_MOST_FRAMES)
def _channel_frame(name: str, subscriptions: tuple[_Names, ...], depth: int) -> list[str]:
    """What stands around the numbers of a channel, with empty places for them."""
    numbers = ("msgs", "bytes", "first_seq", "last_seq", "subs_count")
    document: dict[str, Value] = {"name": name, **dict.fromkeys(numbers, PLACE)}
    if subscriptions:
        document["subscriptions"] = [_describe_subscription(one) for one in subscriptions]
    return _split(document, depth)


@lru_cache(maxsize=_MOST_FRAMES)
def _subscriptions_frame(subscriptions: tuple[_Names, ...], depth: int) -> list[str]:
    return _split([_describe_subscription(one) for one in subscriptions], depth)


def _split(document: Value, depth: int) -> list[str]:
    pieces = encode(document, depth).split(PLACE)
    parts = [""] * (2 * len(pieces) - 1)
    # Most pieces are the same in all frames: they are kept once.
    parts[::2] = map(intern, pieces)
    return parts


def _describe_subscription(names: _Names) -> dict[str, Value]:
    client_id, inbox, ack_inbox, durable, queue, is_durable, is_offline, most, wait_s = names
    document: dict[str, Value] = {"client_id": client_id, "inbox": inbox, "ack_inbox": ack_inbox}
    if durable:
        document["durable_name"] = durable
    if queue:
        document["queue_name"] = queue
    document |= {
        "is_durable": is_durable,
        "is_offline": is_offline,
        "max_inflight": most,
        "ack_wait": wait_s,
        "last_sent": PLACE,
        "pending_count": PLACE,
        "is_stalled": PLACE,
    }
    return document
