"""Records as the engine would make them: small builders for the tests."""

from collections.abc import Sequence
from itertools import count

from stan.engine.records import (
    Batch,
    Bounds,
    ChannelRecord,
    ClientRecord,
    RangeLoad,
    Run,
    SubscriptionRecord,
    TimeLoad,
)
from stan.store.contract import Store
from stan.wire.messages import encode_message, frame_message, string_field, unframe_message

_load_ids = count(1)


def make_run(
    channel_id: int,
    payloads: Sequence[bytes],
    *,
    first: int,
    position: int,
    timestamp_ns: int,
    replies: Sequence[str] = (),
    channel: str = "foo",
) -> Run:
    channel_field = string_field(0x12, channel.encode())
    framed = [
        frame_message(
            encode_message(
                first + at, channel_field, replies[at] if replies else "", data, timestamp_ns
            )
        )
        for at, data in enumerate(payloads)
    ]
    sizes = [len(unframe_message(message)) for message in framed]
    return Run(
        channel_id,
        channel,
        first,
        timestamp_ns,
        position,
        framed,
        sizes,
        list(payloads),
        list(replies),
    )


class Writer:
    """Keeps the numbers that an engine would keep while it writes to a store."""

    def __init__(self, store: Store, number: int = 0) -> None:
        self.store = store
        self.number = number
        self.last: dict[int, int] = {}
        self.position: dict[int, int] = {}

    def batch(self, **parts: object) -> Batch:
        self.number += 1
        return Batch(self.number, **parts)  # type: ignore[arg-type]

    async def commit(self, **parts: object):  # type: ignore[no-untyped-def]
        return await self.store.commit(self.batch(**parts))

    async def create(self, channel_id: int, name: str = "foo") -> None:
        await self.commit(channels_created=[ChannelRecord(channel_id, name)])

    def run(
        self,
        channel_id: int,
        payloads: Sequence[bytes],
        timestamp_ns: int,
        *,
        replies: Sequence[str] = (),
        gap: int = 0,
        channel: str = "foo",
    ) -> Run:
        first = self.last.get(channel_id, 0) + 1 + gap
        run = make_run(
            channel_id,
            payloads,
            first=first,
            position=self.position.get(channel_id, 0),
            timestamp_ns=timestamp_ns,
            replies=replies,
            channel=channel,
        )
        self.last[channel_id] = first + len(payloads) - 1
        self.position[channel_id] = run.position + sum(run.sizes)
        return run

    async def append(
        self, channel_id: int, payloads: Sequence[bytes], timestamp_ns: int, **options: object
    ) -> Run:
        run = self.run(channel_id, payloads, timestamp_ns, **options)  # type: ignore[arg-type]
        await self.commit(runs=[run])
        return run


def range_load(
    channel_id: int, start: int = 1, messages: int = 1000, most_bytes: int = 1 << 20
) -> RangeLoad:
    return RangeLoad(next(_load_ids), channel_id, "foo", start, messages, most_bytes)


def time_load(channel_id: int, timestamp_ns: int) -> TimeLoad:
    return TimeLoad(next(_load_ids), channel_id, timestamp_ns)


async def read_all(
    store: Store, channel_id: int, start: int = 1, messages: int = 1000, most_bytes: int = 1 << 20
) -> dict[int, bytes]:
    """Everything from `start` on, in as many loads as it takes."""
    found: dict[int, bytes] = {}
    while True:
        history = await store.load(range_load(channel_id, start, messages, most_bytes))
        assert len(history.sequences) == len(history.framed) <= messages
        if not history.sequences:
            return found
        found.update(zip(history.sequences, history.framed, strict=True))
        start = history.sequences[-1] + 1


async def bounds_of(store: Store, channel_id: int) -> Bounds:
    """The bounds of a channel, as a server would recover them."""
    recovered = await store.recover()
    return {channel.channel_id: bounds for channel, bounds in recovered.channels}[channel_id]


def a_client(client_id: str = "me", **changes: object) -> ClientRecord:
    fields: dict[str, object] = {
        "client_id": client_id,
        "heartbeat_inbox": "_INBOX.heartbeat",
        "connection_id": b"\x00\xff binary",
        "protocol": 1,
        "ping_interval_s": 5,
        "ping_max_out": 3,
    }
    return ClientRecord(**(fields | changes))  # type: ignore[arg-type]


def a_subscription(subscription_id: int, channel_id: int, **changes: object) -> SubscriptionRecord:
    fields: dict[str, object] = {
        "subscription_id": subscription_id,
        "channel_id": channel_id,
        "client_id": "me",
        "inbox": "_INBOX.messages",
        "ack_inbox": "_INBOX.acks",
        "max_in_flight": 1024,
        "ack_wait_s": 30,
        "durable_name": "",
        "queue_group": "",
        "is_durable": False,
        "is_closed": False,
        "last_sent": 0,
        "in_flight": (),
    }
    return SubscriptionRecord(**(fields | changes))  # type: ignore[arg-type]
