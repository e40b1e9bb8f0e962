"""The rows that views give: named values, nothing else.

What the fields mean is what monitoring tells, and its names are spelled there.
"""

from typing import NamedTuple

from stan.engine.limits import ChannelOverrides


class Totals(NamedTuple):
    """The server in numbers. `messages` and `stored_bytes` are those kept now; in, out, what
    was sent again and what was refused are counted since the start of the process. `queued`
    is what waits for a commit, `cache_bytes` what is held for delivery."""

    clients: int
    subscriptions: int
    channels: int
    messages: int
    stored_bytes: int
    in_messages: int
    in_bytes: int
    out_messages: int
    out_bytes: int
    redelivered: int
    refused: int
    queued_messages: int
    queued_bytes: int
    cache_bytes: int
    cache_limit_bytes: int


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


ConsumerName = tuple[str, str, str]
"""A client ID with a durable's name, and no queue group; or a group alone, as monitoring spells it:
"durable:group" for a durable one."""


class ConsumerView(NamedTuple):
    """A durable or a queue group: what it has done, and what it has still to do.

    `client_id` is empty for a group, `queue_name` of a durable group is "durable:group".
    `pending` messages were sent and not acknowledged; `unsent` ones are kept in the channel
    and were not sent yet; `lost` ones were dropped by limits before they could be.
    `oldest_sequence` is the earliest message not acknowledged, sent or not; 0 for none.
    `oversize` ones are larger than NATS carries, and wait.
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
    oversize: int


class ChannelView(NamedTuple):
    """One channel. Both sequences are 0 when nothing was ever stored. `dropped` messages
    are those that limits, or expiry, have removed since the channel exists; `removing` ones are
    still to go by a purge. `own_limits` are those that lie over the configured ones."""

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
    own_limits: ChannelOverrides
    removing: int


class ClientView(NamedTuple):
    """One client. `heard_ns` is when it last connected, pinged or answered a heartbeat; 0 when
    it has not since the server started."""

    client_id: str
    heartbeat_inbox: str
    subscriptions_count: int
    failed_heartbeats: int
    heard_ns: int


# What is counted of very many things; fields of the same name mean what they mean above.


class ChannelRow(NamedTuple):
    name: str
    stored_bytes: int
    messages: int
    last: int
    first: int
    dropped: int


class SubscriptionRow(NamedTuple):
    channel: str
    client_id: str
    inbox: str
    queue_name: str
    durable_name: str
    is_durable: bool
    is_offline: bool
    last_sent: int
    pending: int
    max_in_flight: int
    is_stalled: bool
    undeliverable: int


class ConsumerRow(NamedTuple):
    """`lag` is `unsent` and `pending` together. `oldest_stored_ns` is 0 when only the message
    itself tells when it was stored."""

    channel: str
    client_id: str
    queue_name: str
    durable_name: str
    is_durable: bool
    lag: int
    pending: int
    members: int
    is_stalled: bool
    redelivered: int
    lost: int
    oldest_sequence: int
    oldest_stored_ns: int
    channel_id: int


class Block(NamedTuple):
    """Some channels and all that hangs on them."""

    channels: list[ChannelRow]
    subscriptions: list[SubscriptionRow]
    consumers: list[ConsumerRow]
