"""What a subscription is: a member with its messages in flight, and the cursor it reads by.

A Cursor is a position in a channel. A plain subscription has one of its own; the members
of a queue group share one. Only state lives here; who gets what is decided in `delivery`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from stan.engine.records import SubscriptionRecord
from stan.engine.settings import MILLISECOND_NS, SECOND_NS
from stan.engine.timers import Timer

if TYPE_CHECKING:
    from stan.engine.channels import Channel
    from stan.engine.clients import Client


class Cursor:
    """A position in a channel, shared by its active members.

    `last_sent` is the last sequence handed out for the first time. `resend` are sequences
    that wait to be sent again, each with the member that holds it; while there are any,
    nothing new is sent. `waiting` says that a load is under way for this cursor.
    `redelivered` and `lost` only count: messages sent again, and messages that limits
    dropped before they were sent at all.
    """

    def __init__(self, channel: Channel, group: str, last_sent: int) -> None:
        self.channel: Channel = channel
        self.group: str = group
        self.last_sent: int = last_sent
        self.members: list[Subscription] = []
        self.vacant: Subscription | None = None  # what a durable group's last member left
        self.resend: OrderedDict[tuple[int, Subscription], None] = OrderedDict()
        self.redeliveries: dict[int, int] = {}  # sequence -> how often it was sent again
        self.waiting: bool = False
        self.redelivered: int = 0
        self.lost: int = 0


class Subscription(Timer):
    """A member of a cursor. As a Timer it is due when a message in flight may expire.

    `in_flight` maps each sequence sent and not acked to the moment its ack wait ends.
    `last_sent` is the last new message that this member got, of those its cursor counts.
    """

    def __init__(
        self, subscription_id: int, cursor: Cursor, client_id: str, durable: str, is_durable: bool
    ) -> None:
        super().__init__()
        self.subscription_id: int = subscription_id
        self.cursor: Cursor = cursor
        self.client_id: str = client_id
        self.durable: str = durable
        # A durable, or a member of a durable group.
        self.is_durable: bool = is_durable
        self.client: Client | None = None
        self.inbox: str = ""
        self.ack_inbox: str = ""
        self.head: bytes = b""
        self.max_in_flight: int = 1
        self.ack_wait_s: int = 30
        self.ack_wait_ns: int = 30 * SECOND_NS
        self.in_flight: dict[int, int] = {}
        self.last_sent: int = 0 if cursor.members else cursor.last_sent
        # In the channel and serving a client; false for an offline durable.
        self.active: bool = False
        # The subscribe response has left, so messages may.
        self.started: bool = False
        # Recovered in flight: sent again according to each message's age.
        self.unaged: bool = False

    @property
    def group(self) -> str:
        return self.cursor.group

    @property
    def is_stalled(self) -> bool:
        return len(self.in_flight) >= self.max_in_flight

    def attach(
        self, client: Client, inbox: str, ack_inbox: str, max_in_flight: int, ack_wait_s: int
    ) -> None:
        """Serve this client from now on."""
        self.client = client
        self.client_id = client.client_id
        self.inbox = inbox
        self.ack_inbox = ack_inbox
        self.head = b"PUB " + inbox.encode() + b" "
        self.max_in_flight = max_in_flight
        self.ack_wait_s = ack_wait_s
        self.ack_wait_ns = ack_wait_ns(ack_wait_s)
        self.active = True

    def record(self) -> SubscriptionRecord:
        """This subscription as the store keeps it."""
        vacant = self.cursor.vacant is self
        return SubscriptionRecord(
            subscription_id=self.subscription_id,
            channel_id=self.cursor.channel.channel_id,
            client_id="" if vacant else self.client_id,
            inbox=self.inbox,
            ack_inbox=self.ack_inbox,
            max_in_flight=self.max_in_flight,
            ack_wait_s=self.ack_wait_s,
            durable_name=self.durable,
            queue_group=self.cursor.group,
            is_durable=self.is_durable,
            is_closed=not self.active,
            last_sent=self.cursor.last_sent,
            in_flight=tuple(sorted(self.in_flight)),
        )


def ack_wait_ns(ack_wait_s: int) -> int:
    """The ack wait of a request in nanoseconds; negative counts milliseconds (test timers)."""
    return ack_wait_s * SECOND_NS if ack_wait_s >= 0 else -ack_wait_s * MILLISECOND_NS
