"""The engine's state for people and their tools: values, read in one step, never kept.

A `View` reads; it changes nothing, and nothing in the engine depends on it. Each call
looks at one thing or at totals, so a caller with ten thousand channels asks for them one
by one and lets others run in between. Numbers mean what the protocol's monitoring means
by them; wire names and JSON are the server's business.
"""

from collections.abc import Iterable
from typing import NamedTuple

from stan.engine.channels import Channel
from stan.engine.engine import Engine
from stan.engine.limits import ChannelLimits
from stan.engine.subscription import Cursor, Subscription


class Totals(NamedTuple):
    """The server in numbers. `messages` and `payload_bytes` are those kept now, the in and
    out counters run since the start of the process."""

    clients: int
    subscriptions: int
    channels: int
    messages: int
    stored_bytes: int
    in_messages: int
    in_bytes: int
    out_messages: int
    out_bytes: int


class SubscriptionView(NamedTuple):
    """One subscription. `queue_name` of a durable group is "durable:group"."""

    client_id: str
    inbox: str
    ack_inbox: str
    durable_name: str
    queue_name: str
    is_durable: bool
    is_offline: bool
    max_in_flight: int
    ack_wait_s: int
    last_sent: int
    pending: int
    is_stalled: bool


class ConsumerView(NamedTuple):
    """A durable or a queue group: what it has done, and what it has still to do.

    `client_id` is empty for a group, `queue_name` of a durable group is "durable:group".
    `pending` messages were sent and not acknowledged; `unsent` ones are kept in the channel
    and were not sent yet; `lost` ones were dropped by limits before they could be.
    `oldest_sequence` is the earliest message not acknowledged, sent or not; 0 for none.
    """

    client_id: str
    durable_name: str
    queue_name: str
    is_durable: bool
    members: int
    pending: int
    unsent: int
    lost: int
    redelivered: int
    oldest_sequence: int
    is_stalled: bool


class ChannelView(NamedTuple):
    """One channel. Both sequences are 0 when nothing was ever stored. `dropped` messages
    are those that limits, or expiry, have removed since the channel exists."""

    channel_id: int
    name: str
    messages: int
    stored_bytes: int
    first: int
    last: int
    first_timestamp_ns: int
    last_timestamp_ns: int
    dropped: int
    subscriptions_count: int


class ClientView(NamedTuple):
    client_id: str
    heartbeat_inbox: str
    subscriptions_count: int
    failed_heartbeats: int


class View:
    """Reads an engine. No call waits, and each is consistent in itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def totals(self) -> Totals:
        engine = self._engine
        messages = stored_bytes = subscriptions = 0
        for channel in engine.channels.by_name.values():
            messages += channel.count
            stored_bytes += channel.end_position - channel.first_position
            subscriptions += len(channel.subscriptions)
        return Totals(
            clients=len(engine.clients.by_id),
            subscriptions=subscriptions,
            channels=len(engine.channels.by_name),
            messages=messages,
            stored_bytes=stored_bytes,
            in_messages=engine.publishing.in_messages,
            in_bytes=engine.publishing.in_bytes,
            out_messages=engine.delivery.out_messages,
            out_bytes=engine.delivery.out_bytes,
        )

    def channel_names(self) -> list[str]:
        """All channels by name, in byte order."""
        return sorted(self._engine.channels.by_name)

    def client_ids(self) -> list[str]:
        """All clients by ID, in byte order."""
        return sorted(self._engine.clients.by_id)

    def limits(self) -> list[tuple[str, ChannelLimits]]:
        """The configured entries by name, inheritance done."""
        listing = self._engine.settings.limits.listing()
        return sorted((entry.name, entry.limits) for entry in listing)

    def channel(self, name: str) -> ChannelView | None:
        channel = self._engine.channels.by_name.get(name)
        if channel is None:
            return None
        last = channel.last
        return ChannelView(
            channel_id=channel.channel_id,
            name=name,
            messages=channel.count,
            stored_bytes=channel.end_position - channel.first_position,
            first=channel.first if last else 0,
            last=last,
            first_timestamp_ns=channel.first_timestamp_ns,
            last_timestamp_ns=channel.last_timestamp_ns,
            dropped=max(0, channel.first - 1),
            subscriptions_count=len(channel.subscriptions),
        )

    def client(self, client_id: str) -> ClientView | None:
        client = self._engine.clients.by_id.get(client_id)
        if client is None:
            return None
        return ClientView(
            client_id=client_id,
            heartbeat_inbox=client.record.heartbeat_inbox,
            subscriptions_count=len(client.subscriptions),
            failed_heartbeats=client.failed_heartbeats,
        )

    def channel_subscriptions(self, name: str) -> list[SubscriptionView]:
        """A channel's subscriptions: plain and durable ones, then offline durables, then
        queue groups, each group's members in the order of their turn."""
        channel = self._engine.channels.by_name.get(name)
        if channel is None:
            return []
        return [view_subscription(one) for one in _in_order(channel)]

    def client_subscriptions(self, client_id: str) -> dict[str, list[SubscriptionView]]:
        """A client's subscriptions by channel, channels in byte order."""
        client = self._engine.clients.by_id.get(client_id)
        found: dict[str, list[SubscriptionView]] = {}
        for one in client.subscriptions.values() if client is not None else ():
            found.setdefault(one.cursor.channel.name, []).append(view_subscription(one))
        return dict(sorted(found.items()))

    def consumers(self, name: str) -> list[ConsumerView]:
        """A channel's durables, then its queue groups."""
        channel = self._engine.channels.by_name.get(name)
        if channel is None:
            return []
        durables = [view_consumer(one.cursor, [one]) for one in channel.durables.values()]
        groups = [
            view_consumer(cursor, [cursor.shadow] if cursor.shadow else cursor.members)
            for cursor in channel.groups.values()
        ]
        return durables + groups

    def cached_message(self, channel: str, sequence: int) -> bytes | None:
        """The sized message if it is in memory."""
        found = self._engine.channels.by_name.get(channel)
        return found.shelf.message(sequence) if found is not None else None


def _in_order(channel: Channel) -> Iterable[Subscription]:
    plain = [one for one in channel.subscriptions.values() if not one.group]
    yield from (one for one in plain if one.active)
    yield from (one for one in plain if not one.active)
    for cursor in channel.groups.values():
        yield from cursor.members
        if cursor.shadow is not None:
            yield cursor.shadow


def view_subscription(one: Subscription) -> SubscriptionView:
    """What there is to see of one subscription."""
    cursor = one.cursor
    return SubscriptionView(
        client_id=one.client_id,
        inbox=one.inbox,
        ack_inbox=one.ack_inbox,
        durable_name=one.durable,
        queue_name=cursor.group,
        is_durable=one.is_durable,
        is_offline=not one.active,
        max_in_flight=one.max_in_flight,
        ack_wait_s=one.ack_wait_s,
        # A member of several knows what it got itself; a lone one stands for its group.
        last_sent=one.last_sent if len(cursor.members) > 1 else cursor.last_sent,
        pending=len(one.in_flight),
        is_stalled=one.is_stalled,
    )


def view_consumer(cursor: Cursor, holders: list[Subscription]) -> ConsumerView:
    """What there is to see of a cursor; `holders` have its messages in flight."""
    channel = cursor.channel
    next_unsent = max(cursor.last_sent + 1, channel.first)
    unsent = max(0, channel.last + 1 - next_unsent)
    earliest = [min(one.in_flight) for one in holders if one.in_flight]
    oldest = max(min(earliest), channel.first) if earliest else next_unsent if unsent else 0
    return ConsumerView(
        client_id="" if cursor.group else holders[0].client_id,
        durable_name="" if cursor.group else holders[0].durable,
        queue_name=cursor.group,
        is_durable=holders[0].is_durable,
        members=sum(1 for one in holders if one.active),
        pending=sum(len(one.in_flight) for one in holders),
        unsent=unsent,
        lost=cursor.lost + max(0, channel.first - 1 - cursor.last_sent),
        redelivered=cursor.redelivered,
        oldest_sequence=oldest if oldest <= channel.last else 0,
        is_stalled=all(one.is_stalled for one in holders),
    )
