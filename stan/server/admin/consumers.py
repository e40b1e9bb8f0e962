"""Durables and queue groups as the operations describe them, put together from views."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stan.engine.rows import ConsumerView, SubscriptionView
from stan.engine.views import View


@dataclass(slots=True, frozen=True)
class Consumer:
    """A durable or group, and the subscriptions that it is made of."""

    channel: str
    channel_id: int
    view: ConsumerView
    subscriptions: list[SubscriptionView]

    def describe(self) -> dict[str, Any]:
        """All but the time of the oldest message."""
        view = self.view
        return {
            "channel": self.channel,
            "client_id": view.client_id,
            "durable": view.durable_name,
            "queue_group": view.queue_name,
            "is_durable": view.is_durable,
            "is_online": view.members > 0,
            "is_stalled": view.is_stalled,
            "members_count": view.members,
            "last_sent": max((one.last_sent for one in self.subscriptions), default=0),
            "pending": view.pending,
            "unsent": view.unsent,
            "lag": view.pending + view.unsent,
            "oldest_unacked": view.oldest_sequence,
            "redelivered": view.redelivered,
            "lost": view.lost,
            "oversize": view.oversize,
        }

    def describe_members(self) -> list[dict[str, Any]]:
        """Who receives."""
        return [
            {
                "client_id": one.client_id,
                "inbox": one.inbox,
                "is_online": not one.is_offline,
                "is_stalled": one.is_stalled,
                "pending": one.pending,
                "last_sent": one.last_sent,
                "max_in_flight": one.max_in_flight,
                "ack_wait_s": one.ack_wait_s,
            }
            for one in self.subscriptions
        ]


def complete(view: View, channel: str, consumers: list[ConsumerView]) -> Iterator[Consumer]:
    """Some durables and groups of a channel, with their subscriptions."""
    known = view.channel(channel)
    by_name: dict[tuple[str, str, str], list[SubscriptionView]] = {}
    for one in view.channel_subscriptions(channel):
        group = one.queue_name
        key = ("", "", group) if group else (one.client_id, one.durable_name, "")
        by_name.setdefault(key, []).append(one)
    for consumer in consumers:
        key = (consumer.client_id, consumer.durable_name, consumer.queue_name)
        yield Consumer(channel, known.channel_id if known else 0, consumer, by_name.get(key, []))


def describe_subscription(one: SubscriptionView) -> dict[str, Any]:
    """A subscription of a client."""
    return {
        "inbox": one.inbox,
        "durable": one.durable_name,
        "queue_group": one.queue_name,
        "is_durable": one.is_durable,
        "pending": one.pending,
        "last_sent": one.last_sent,
        "is_stalled": one.is_stalled,
        "max_in_flight": one.max_in_flight,
        "ack_wait_s": one.ack_wait_s,
    }
