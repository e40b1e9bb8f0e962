"""The engine's state for people and their tools: values, read in one step, never kept.

A `View` reads; it changes nothing, and nothing in the engine depends on it. Each call
looks at one thing or at totals, so a caller with ten thousand channels asks for them one
by one and lets others run in between. Numbers mean what the protocol's monitoring means
by them; wire names and JSON are the server's business.
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter

from stan.engine.engine import Engine
from stan.engine.limits import ChannelLimits, StoreLimits
from stan.engine.rows import (
    Block,
    ChannelRow,
    ChannelView,
    ClientView,
    ConsumerName,
    ConsumerRow,
    ConsumerView,
    SubscriptionRow,
    SubscriptionView,
    Totals,
)
from stan.engine.state import Channel, Cursor, Subscription
from stan.wire.messages import message_timestamp, unframe_message


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
            redelivered=engine.delivery.redelivered,
            refused=engine.publishing.refused,
            queued_messages=engine.publishing.queued_messages,
            queued_bytes=engine.publishing.queued_bytes,
            cache_bytes=engine.cache.bytes_held,
            cache_limit_bytes=engine.cache.limit_bytes,
        )

    def channel_names(self) -> list[str]:
        """All channels by name, in byte order."""
        return sorted(self._engine.channels.by_name)

    def channels_by_use(self) -> list[str]:
        """All channels by name, those first into which the most was published."""
        channels = self._engine.channels.by_name.values()
        return [one.name for one in sorted(channels, key=attrgetter("last"), reverse=True)]

    def client_ids(self) -> list[str]:
        """All clients by ID, in byte order."""
        return sorted(self._engine.clients.by_id)

    def store_limits(self) -> StoreLimits:
        """The configured limits as they are."""
        return self._engine.settings.limits

    def limits(self) -> list[tuple[str, ChannelLimits]]:
        """The configured entries by name, inheritance done."""
        listing = self._engine.settings.limits.listing()
        return sorted((entry.name, entry.limits) for entry in listing)

    def channel(self, name: str) -> ChannelView | None:
        channel = self._engine.channels.by_name.get(name)
        return view_channel(channel) if channel is not None else None

    def client(self, client_id: str) -> ClientView | None:
        client = self._engine.clients.by_id.get(client_id)
        if client is None:
            return None
        return ClientView(
            client_id=client_id,
            heartbeat_inbox=client.record.heartbeat_inbox,
            subscriptions_count=len(client.subscriptions),
            failed_heartbeats=client.failed_heartbeats,
            heard_ns=client.heard_ns,
        )

    def channel_subscriptions(self, name: str) -> list[SubscriptionView]:
        """A channel's subscriptions: plain and durable ones, then offline durables, then
        queue groups, each group's members in the order of their turn."""
        channel = self._engine.channels.by_name.get(name)
        if channel is None:
            return []
        return [view_subscription(one) for one in _in_order(channel)]

    def client_subscriptions(self, client_id: str) -> Iterator[tuple[str, list[SubscriptionView]]]:
        """A client's subscriptions by channel, channels in byte order. There may be very many:
        which they are is found at once, what there is to see of each when its turn comes."""
        client = self._engine.clients.by_id.get(client_id)
        found: dict[str, list[Subscription]] = {}
        for one in client.subscriptions.values() if client is not None else ():
            found.setdefault(one.cursor.channel.name, []).append(one)
        for name in sorted(found):
            yield name, [view_subscription(one) for one in found[name]]

    def channel_sizes(self, names: Iterable[str], sort: str) -> list[tuple[int, str]]:
        """Those of these channels that exist, each behind how many messages or bytes it holds,
        how many subscriptions it has, or its last sequence."""
        by_name, found = self._engine.channels.by_name, []
        for name in names:
            one = by_name.get(name)
            if one is None:
                continue
            if sort == "messages":
                size = one.count
            elif sort == "bytes":
                size = one.end_position - one.first_position
            else:
                size = one.last if sort == "last" else len(one.subscriptions)
            found.append((size, name))
        return found

    def consumer_names(
        self, channels: Iterable[str], only_stalled: bool = False
    ) -> list[tuple[str, ConsumerName]]:
        """The durables, then the queue groups, of these channels; or those of them to which
        nothing can be sent although somebody is there."""
        by_name, found = self._engine.channels.by_name, []
        for name in channels:
            one = by_name.get(name)
            if one is None or not (one.durables or one.groups):
                continue
            if only_stalled and not one.cursors:
                continue
            for client_id, durable in one.durables:
                found.append((name, (client_id, durable, "")))
            for group in one.groups:
                found.append((name, ("", "", group)))
        if only_stalled:
            return [one for one in found if _is_stuck(_holders(by_name[one[0]], one[1]))]
        return found

    def consumer(self, channel: str, name: ConsumerName) -> ConsumerView | None:
        """One of them."""
        found = self._engine.channels.by_name.get(channel)
        holders = _holders(found, name) if found is not None else []
        return view_consumer(holders[0].cursor, holders) if holders else None

    def block(self, names: Iterable[str]) -> Block:
        """The channels of these names that exist; subscriptions in no certain order."""
        by_name = self._engine.channels.by_name
        channels = [by_name[name] for name in names if name in by_name]
        subscriptions = [one for each in channels for one in each.subscriptions.values()]
        return Block(
            [
                ChannelRow(
                    one.name,
                    one.end_position - one.first_position,
                    one.count,
                    one.last,
                    one.first if one.last else 0,
                    one.first - 1 if one.first > 1 else 0,
                )
                for one in channels
            ],
            [
                SubscriptionRow(
                    one.cursor.channel.name,
                    one.client_id,
                    one.inbox,
                    one.cursor.group,
                    one.durable,
                    one.is_durable,
                    not one.active,
                    one.last_sent if len(one.cursor.members) > 1 else one.cursor.last_sent,
                    len(one.in_flight),
                    one.max_in_flight,
                    one.is_stalled,
                    len(one.cursor.oversize),
                )
                for one in subscriptions
            ],
            _count_consumers(channels),
        )

    def message_time_ns(self, channel: str, sequence: int) -> int:
        """When this message was stored, as far as that is in memory; 0 when it is not."""
        found = self._engine.channels.by_name.get(channel)
        if found is None:
            return 0
        if sequence == found.first:
            return found.first_timestamp_ns
        framed = found.shelf.message(sequence)
        return message_timestamp(unframe_message(framed)) if framed is not None else 0


def view_channel(channel: Channel) -> ChannelView:
    """What there is to see of a channel."""
    first, last = channel.first, channel.last
    return ChannelView(
        channel.channel_id,
        channel.name,
        channel.count,
        channel.end_position - channel.first_position,
        first if last else 0,
        last,
        channel.first_timestamp_ns,
        channel.last_timestamp_ns,
        first - 1 if first > 1 else 0,
        len(channel.subscriptions),
        channel.record.limits,
        max(0, channel.floor.sequence - first) if channel.floor is not None else 0,
    )


def _holders(channel: Channel, name: ConsumerName) -> list[Subscription]:
    """Those that hold the messages of this durable or group; none when there is no such one."""
    client_id, durable, group = name
    if group and (client_id or durable):
        return []
    if not group:
        found = channel.durables.get((client_id, durable))
        return [found] if found is not None else []
    cursor = channel.groups.get(group)
    if cursor is None:
        return []
    return [cursor.vacant] if cursor.vacant else cursor.members


def _is_stuck(holders: list[Subscription]) -> bool:
    is_online = False
    for one in holders:
        if not one.is_stalled:
            return False
        is_online = is_online or one.active
    return is_online


def _in_order(channel: Channel) -> list[Subscription]:
    found = list(channel.subscriptions.values())
    if len(found) == 1:
        return found
    if channel.groups:
        found = [one for one in found if not one.cursor.group]
    found.sort(key=_is_offline)  # which keeps the order of equals
    for cursor in channel.groups.values():
        found += cursor.members
        if cursor.vacant is not None:
            found.append(cursor.vacant)
    return found


def _is_offline(one: Subscription) -> bool:
    return not one.active


def view_subscription(one: Subscription) -> SubscriptionView:
    """What there is to see of one subscription."""
    cursor, pending = one.cursor, len(one.in_flight)
    return SubscriptionView(
        one.client_id,
        one.inbox,
        one.ack_inbox,
        one.durable,
        cursor.group,
        one.is_durable,
        not one.active,
        one.max_in_flight,
        one.ack_wait_s,
        # A member of several knows what it got itself; a lone one stands for its group.
        one.last_sent if len(cursor.members) > 1 else cursor.last_sent,
        pending,
        one.is_stalled,
    )


def view_consumer(cursor: Cursor, holders: list[Subscription]) -> ConsumerView:
    """What there is to see of a cursor; `holders` have its messages in flight."""
    members = pending = earliest = 0
    is_stalled = True
    for one in holders:
        if one.active:
            members += 1
        held = len(one.in_flight)
        if held:
            pending += held
            first_held = min(one.in_flight)
            earliest = min(earliest, first_held) if earliest else first_held
        if not one.is_stalled:
            is_stalled = False
    unsent, lost, oldest = _position(cursor, earliest)
    head, group = holders[0], cursor.group
    return ConsumerView(
        "" if group else head.client_id,
        "" if group else head.durable,
        group,
        head.is_durable,
        members,
        pending,
        unsent,
        lost,
        cursor.redelivered,
        oldest,
        is_stalled,
        len(cursor.oversize),
    )


def _position(cursor: Cursor, earliest: int) -> tuple[int, int, int]:
    """How many messages are unsent and lost, and which is the oldest not acknowledged, when
    `earliest` is the first in flight, or 0."""
    channel, last_sent = cursor.channel, cursor.last_sent
    first, last = channel.first, channel.last
    if last_sent < first:
        lost, next_unsent = cursor.lost + first - 1 - last_sent, first
    else:
        lost, next_unsent = cursor.lost, last_sent + 1
    unsent = last + 1 - next_unsent if next_unsent <= last else 0
    oldest = earliest or (next_unsent if unsent else 0)
    if 0 < oldest < first:
        oldest = first if first <= last else 0
    return unsent, lost, oldest


def _count_consumers(channels: list[Channel]) -> list[ConsumerRow]:
    found: list[ConsumerRow] = []
    for channel in channels:
        for one in channel.durables.values():
            cursor, pending = one.cursor, len(one.in_flight)
            unsent, lost, oldest = _position(cursor, min(one.in_flight) if pending else 0)
            found.append(
                ConsumerRow(
                    channel.name,
                    one.client_id,
                    "",
                    one.durable,
                    one.is_durable,
                    unsent + pending,
                    pending,
                    1 if one.active else 0,
                    one.is_stalled,
                    cursor.redelivered,
                    lost,
                    oldest,
                    _stored_ns(channel, oldest),
                    channel.channel_id,
                )
            )
        for cursor in channel.groups.values():
            group = view_consumer(cursor, [cursor.vacant] if cursor.vacant else cursor.members)
            found.append(
                ConsumerRow(
                    channel.name,
                    "",
                    group.queue_name,
                    "",
                    group.is_durable,
                    group.unsent + group.pending,
                    group.pending,
                    group.members,
                    group.is_stalled,
                    group.redelivered,
                    group.lost,
                    group.oldest_sequence,
                    _stored_ns(channel, group.oldest_sequence),
                    channel.channel_id,
                )
            )
    return found


def _stored_ns(channel: Channel, sequence: int) -> int:
    """When a message at an end of the channel was stored; 0 for others."""
    if sequence == channel.first:
        return channel.first_timestamp_ns
    return channel.last_timestamp_ns if sequence == channel.last else 0
