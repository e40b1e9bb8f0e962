"""What the next batch must make true besides messages, and who hears of it then.

Changes are collected by key, so a subscription acked a thousand times is one record, made
when the batch is sealed. Urgent changes cause a batch by themselves; the progress of
subscriptions is lazy and rides along. When a commit fails its changes come back, unless
newer ones took their place.
"""

from __future__ import annotations

from stan.engine.records import Batch, ChannelRecord, ClientRecord, Outcome
from stan.engine.state import Client, Subscription


class Reply:
    """An answer that may leave only when a batch is true.

    `kind` is connect, subscribe, resume, unsubscribe, close or operation. A subscription starts
    when its reply leaves, unless it was closed or resumed again since (another `ack_inbox`). An
    operation's answer is an outcome; the subscriptions that it moved go on then.
    """

    def __init__(self, subject: bytes, granted: bytes, kind: str) -> None:
        self.subject: bytes = subject
        self.granted: bytes = granted
        self.kind: str = kind
        self.client: Client | None = None
        self.subscription: Subscription | None = None
        self.ack_inbox: str = ""
        self.outcome: Outcome | None = None
        self.moved: list[Subscription] | None = None


class Changes:
    def __init__(self) -> None:
        self.urgent: bool = False
        self.channels_created: dict[int, ChannelRecord] = {}
        self.channels_deleted: list[int] = []
        self.channels_limited: dict[int, ChannelRecord] = {}
        self.messages_deleted: list[tuple[int, int]] = []
        self.clients: dict[str, ClientRecord | None] = {}
        self.subscriptions: dict[int, Subscription | None] = {}
        self.progressed: dict[int, Subscription] = {}
        self.replies: list[Reply] = []
        self.trims_due: dict[int, None] = {}  # channel IDs

    def create_channel(self, record: ChannelRecord) -> None:
        self.urgent = True
        self.channels_created[record.channel_id] = record

    def limit_channel(self, record: ChannelRecord) -> None:
        """The channel has other limits of its own."""
        self.urgent = True
        if record.channel_id in self.channels_created:
            self.channels_created[record.channel_id] = record
        else:
            self.channels_limited[record.channel_id] = record

    def delete_message(self, channel_id: int, sequence: int) -> None:
        self.urgent = True
        self.messages_deleted.append((channel_id, sequence))

    def delete_channel(self, channel_id: int, subscriptions: dict[int, Subscription]) -> None:
        self.urgent = True
        self.trims_due.pop(channel_id, None)
        self.channels_limited.pop(channel_id, None)
        if self.messages_deleted:
            self.messages_deleted = [one for one in self.messages_deleted if one[0] != channel_id]
        for subscription_id in subscriptions:
            self.subscriptions.pop(subscription_id, None)
            self.progressed.pop(subscription_id, None)
        if self.channels_created.pop(channel_id, None) is None:
            self.channels_deleted.append(channel_id)

    def put_client(self, record: ClientRecord) -> None:
        self.urgent = True
        self.clients[record.client_id] = record

    def delete_client(self, client_id: str) -> None:
        self.urgent = True
        self.clients[client_id] = None

    def put_subscription(self, subscription: Subscription) -> None:
        self.urgent = True
        self.subscriptions[subscription.subscription_id] = subscription

    def delete_subscription(self, subscription_id: int) -> None:
        self.urgent = True
        self.progressed.pop(subscription_id, None)
        self.subscriptions[subscription_id] = None

    def reply(self, reply: Reply) -> None:
        """Answer when everything asked for up to now is true."""
        self.urgent = True
        self.replies.append(reply)

    def fill(self, batch: Batch) -> Changes:
        """Hand everything but trims over to the batch; returns it for `take_back`."""
        taken = Changes()
        taken.channels_created, self.channels_created = self.channels_created, {}
        taken.channels_deleted, self.channels_deleted = self.channels_deleted, []
        if self.channels_limited or self.messages_deleted:
            taken.channels_limited, self.channels_limited = self.channels_limited, {}
            taken.messages_deleted, self.messages_deleted = self.messages_deleted, []
            batch.channels_limited.extend(taken.channels_limited.values())
            batch.messages_deleted.extend(taken.messages_deleted)
        taken.clients, self.clients = self.clients, {}
        taken.subscriptions, self.subscriptions = self.subscriptions, {}
        taken.progressed, self.progressed = self.progressed, {}
        taken.replies, self.replies = self.replies, []
        self.urgent = False
        batch.channels_created.extend(taken.channels_created.values())
        batch.channels_deleted.extend(taken.channels_deleted)
        for client_id, client in taken.clients.items():
            if client is None:
                batch.clients_deleted.append(client_id)
            else:
                batch.clients_put.append(client)
        for subscription_id, subscription in taken.subscriptions.items():
            if subscription is None:
                batch.subscriptions_deleted.append(subscription_id)
            elif not subscription.cursor.channel.deleted:
                batch.subscriptions_put.append(subscription.record())
        for subscription_id, subscription in taken.progressed.items():
            if (
                subscription_id not in taken.subscriptions
                and not subscription.cursor.channel.deleted
            ):
                batch.subscriptions_put.append(subscription.record())
        return taken

    def take_back(self, taken: Changes, replies: bool) -> None:
        """Make the changes of a failed batch due again, below what came since."""
        deleted = set(self.channels_deleted)
        for channel_id in list(taken.channels_created):
            if channel_id in deleted:  # created by the failed batch, deleted since
                del taken.channels_created[channel_id]
                self.channels_deleted.remove(channel_id)
        self.channels_created = taken.channels_created | self.channels_created
        self.channels_deleted = taken.channels_deleted + self.channels_deleted
        self._take_back_of_channels(taken, deleted)
        self.clients = taken.clients | self.clients
        self.subscriptions = taken.subscriptions | self.subscriptions
        self.progressed = taken.progressed | self.progressed
        for subscription_id, subscription in self.subscriptions.items():
            if subscription is None:
                self.progressed.pop(subscription_id, None)
        if replies:
            self.replies = taken.replies + self.replies
        self.urgent = True

    def _take_back_of_channels(self, taken: Changes, deleted: set[int]) -> None:
        """What the failed batch would have changed in channels that are still there."""
        for channel_id, record in taken.channels_limited.items():
            if channel_id not in deleted:
                self.channels_limited.setdefault(channel_id, record)
        self.messages_deleted = [
            one for one in taken.messages_deleted if one[0] not in deleted
        ] + self.messages_deleted
