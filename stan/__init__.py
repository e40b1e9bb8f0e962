"""Durable channels on top of NATS: the client's public names.

    import asyncio, stan

    async def main():
        async with stan.connect("test-cluster", "my-client") as sc:
            await sc.publish("orders", b"hello")        # returns when it is stored
            sub = await sc.subscribe("orders", start_at="first", durable="mine")
            async for msg in sub:
                print(msg.sequence, msg.data)

    asyncio.run(main())

`connect` tells how to connect, `Connection` what can be done then, `Subscription` and `Message`
what is received, `Receipt` what becomes of a publish. All errors are `StanError`s. `sc.nats` is
the NATS connection below, for subjects without memory. At a prompt that awaits by itself, such
as Jupyter's, ``sc = await stan.connect("test-cluster", "my-client")`` is all it takes.

The server is started by the command ``stan-server`` and is not imported here.
"""

from stan import link  # noqa: F401  # first: it loads nats-py without what few need
from stan.client.admin import Admin, admin
from stan.client.answers import (
    ChannelInfo,
    ClientInfo,
    Deleted,
    DurableInfo,
    Limits,
    MemberInfo,
    ParkedRow,
    Purged,
    ServerInfo,
    StoredMessage,
    SubscriptionInfo,
)
from stan.client.connecting import connect
from stan.client.connection import (
    Connection,
    ConnectionLostCallback,
    InterruptedCallback,
    ResumedCallback,
)
from stan.client.events import Event, Gap, Interrupted, Lost, Resumed
from stan.client.message import Message
from stan.client.options import ConnectOptions, StartPosition, SubscribeOptions
from stan.client.receipt import AckCallback, Receipt
from stan.client.subscription import MessageCallback, Subscription
from stan.errors import (
    AdminError,
    ClientError,
    ClientIDTakenError,
    ConfigError,
    ConnectError,
    ConnectionClosedError,
    ConnectionLostError,
    ConnectTimeoutError,
    InvalidConnectionError,
    InvalidSubscriptionError,
    ManualAckError,
    MessageTimeoutError,
    PayloadTooLargeError,
    PublishError,
    PublishTimeoutError,
    RequestTimeoutError,
    StanError,
    SubscribeError,
)
from stan.transactions import (
    AsyncOutbox,
    Outbox,
    OutboxRelay,
    inbox_table,
    outbox,
    outbox_parked_table,
    outbox_table,
)

__version__ = "0.2.0"

__all__ = [
    "AckCallback",
    "Admin",
    "AdminError",
    "ChannelInfo",
    "AsyncOutbox",
    "ClientError",
    "ClientIDTakenError",
    "ClientInfo",
    "ConfigError",
    "ConnectError",
    "ConnectOptions",
    "ConnectTimeoutError",
    "Connection",
    "ConnectionClosedError",
    "ConnectionLostCallback",
    "ConnectionLostError",
    "Deleted",
    "DurableInfo",
    "Event",
    "Gap",
    "Interrupted",
    "InterruptedCallback",
    "InvalidConnectionError",
    "InvalidSubscriptionError",
    "Limits",
    "Lost",
    "ManualAckError",
    "MemberInfo",
    "Message",
    "MessageCallback",
    "MessageTimeoutError",
    "Outbox",
    "OutboxRelay",
    "ParkedRow",
    "PayloadTooLargeError",
    "PublishError",
    "PublishTimeoutError",
    "Purged",
    "Receipt",
    "RequestTimeoutError",
    "Resumed",
    "ResumedCallback",
    "ServerInfo",
    "StanError",
    "StartPosition",
    "StoredMessage",
    "SubscribeError",
    "SubscribeOptions",
    "Subscription",
    "SubscriptionInfo",
    "__version__",
    "admin",
    "connect",
    "inbox_table",
    "outbox",
    "outbox_parked_table",
    "outbox_table",
]
