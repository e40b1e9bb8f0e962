"""From what a store remembers to an engine that goes on where the last one stopped.

Clients are registered without having to connect again, their subscriptions keep their
inboxes, and what was in flight is sent again according to its age. Nothing is read but
records: the cost grows with channels and subscriptions, never with messages.
"""

from collections.abc import Iterable

from stan.engine.changes import Changes
from stan.engine.channels import Channels
from stan.engine.clients import Clients
from stan.engine.delivery import Delivery
from stan.engine.records import Recovered, SubscriptionRecord
from stan.engine.state import Channel, Cursor, Subscription
from stan.engine.subscriptions import Subscriptions
from stan.engine.timers import Timers


class Recovery:
    def __init__(
        self,
        channels: Channels,
        clients: Clients,
        subscriptions: Subscriptions,
        delivery: Delivery,
        changes: Changes,
        timers: Timers,
    ) -> None:
        self._channels = channels
        self._clients = clients
        self._subscriptions = subscriptions
        self._delivery = delivery
        self._changes = changes
        self._timers = timers

    def run(self, recovered: Recovered, now_ns: int) -> None:
        """Rebuild everything. To be called once, on an empty engine."""
        self._channels.next_channel_id = recovered.next_channel_id
        self._subscriptions.next_subscription_id = recovered.next_subscription_id
        for record, bounds in recovered.channels:
            channel = self._channels.add(record)
            channel.set_bounds(bounds)
            # The limits may be lower than when the messages came.
            self._changes.trims_due[channel.channel_id] = None
            self._channels.watch_age(channel)
        for client in recovered.clients:
            self._clients.add(client, now_ns)
        for subscription in sorted(recovered.subscriptions, key=by_id):
            self._subscription(subscription, now_ns)
        for channel in self._channels.by_id.values():
            self._channels.watch_inactivity(channel, now_ns)

    def start(self, cursors: Iterable[Cursor], now_ns: int) -> None:
        """Send what is due, once somebody can hear it."""
        for cursor in cursors:
            self._delivery.advance(cursor, now_ns)

    def _subscription(self, record: SubscriptionRecord, now_ns: int) -> None:
        channel = self._channels.by_id.get(record.channel_id)
        client = self._clients.by_id.get(record.client_id)
        if channel is None or (client is None and not record.is_durable):
            self._changes.delete_subscription(record.subscription_id)
            return
        cursor = self._cursor(channel, record)
        subscription = Subscription(
            record.subscription_id,
            cursor,
            record.client_id,
            record.durable_name,
            record.is_durable,
        )
        offline = record.is_closed or client is None
        if offline and cursor.group and (cursor.members or cursor.vacant is not None):
            # A group has members or, vacant, one record, never both.
            self._changes.delete_subscription(record.subscription_id)
            return
        channel.subscriptions[record.subscription_id] = subscription
        if record.durable_name:
            channel.durables[record.client_id, record.durable_name] = subscription
        subscription.in_flight = dict.fromkeys(record.in_flight, 0)
        subscription.last_sent = record.last_sent
        # An offline durable keeps what its last client asked for.
        subscription.inbox = record.inbox
        subscription.ack_inbox = record.ack_inbox
        subscription.max_in_flight = record.max_in_flight
        subscription.ack_wait_s = record.ack_wait_s
        if client is None or offline:
            if cursor.group:
                cursor.vacant = subscription
            return
        subscription.attach(
            client, record.inbox, record.ack_inbox, record.max_in_flight, record.ack_wait_s
        )
        subscription.started = True
        self._subscriptions.place(subscription)
        if record.in_flight:
            subscription.unaged = True
            expiry_ns = now_ns + subscription.ack_wait_ns
            for sequence in sorted(record.in_flight):
                subscription.in_flight[sequence] = expiry_ns
                cursor.resend[sequence, subscription] = None
            self._timers.set(subscription, expiry_ns)
        if cursor.vacant is not None:
            self._changes.delete_subscription(cursor.vacant.subscription_id)
            del channel.subscriptions[cursor.vacant.subscription_id]
            cursor.vacant = None

    def _cursor(self, channel: Channel, record: SubscriptionRecord) -> Cursor:
        """The record's own position, or that of its group: the furthest any member knew."""
        cursor = channel.groups.get(record.queue_group) if record.queue_group else None
        if cursor is None:
            cursor = Cursor(channel, record.queue_group, record.last_sent)
            if record.queue_group:
                channel.groups[record.queue_group] = cursor
        cursor.last_sent = max(cursor.last_sent, record.last_sent)
        return cursor


def by_id(record: SubscriptionRecord) -> int:
    return record.subscription_id
