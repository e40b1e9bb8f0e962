"""Runs one scenario with this project's client and prints what it observed, a JSON object a line.

Usage: driver.py SCENARIO URL CLUSTER PREFIX. No judgement is made here: the test compares. Every
channel and client ID starts with PREFIX.
"""

import asyncio
import datetime
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import stan

PATIENCE_S = 20.0
DEADLINE_S = 60.0


def observe(**what: Any) -> None:
    """Print one observation."""
    print(json.dumps(what), flush=True)


def sequences(messages: Sequence[stan.Message]) -> list[int]:
    """The messages' sequences."""
    return [message.sequence for message in messages]


class Feed:
    """A subscription whose messages can be waited for; acks are manual, and at once if wanted."""

    def __init__(self, acks: bool) -> None:
        self.acks = acks
        self.messages: asyncio.Queue[stan.Message] = asyncio.Queue()
        self.subscription: stan.Subscription

    def receive(self, message: stan.Message) -> None:
        """The subscription's callback."""
        if self.acks:
            message.ack()
        self.messages.put_nowait(message)

    async def take(self, count: int) -> list[stan.Message]:
        """The next messages."""
        async with asyncio.timeout(PATIENCE_S):
            return [await self.messages.get() for _ in range(count)]

    async def more(self, within_s: float) -> int:
        """1 when another message comes within the time."""
        try:
            async with asyncio.timeout(within_s):
                await self.messages.get()
        except TimeoutError:
            return 0
        return 1


class Driver:
    """One run: where the server is, and the scenarios as methods."""

    def __init__(self, url: str, cluster: str, prefix: str) -> None:
        self.url = url
        self.cluster = cluster
        self.prefix = prefix
        self.channel = f"{prefix}-channel"

    async def connect(self, name: str, **options: Any) -> stan.Connection:
        """A connection of this run."""
        client_id = f"{self.prefix}-{name}"
        return await stan.connect(self.cluster, client_id, servers=[self.url], **options)

    async def subscribe(
        self, sc: stan.Connection, *, acks: bool = True, channel: str = "", **options: Any
    ) -> Feed:
        """Subscribe, by default to all that is available."""
        if not options.keys() & {"start_at", "sequence", "time", "delta"}:
            options["start_at"] = "first"
        feed = Feed(acks)
        feed.subscription = await sc.subscribe(
            channel or self.channel, feed.receive, manual_acks=True, **options
        )
        return feed

    async def publish_count(self, sc: stan.Connection, first: int, count: int) -> None:
        """Publish numbers, one after the other."""
        for number in range(first, first + count):
            await sc.publish(self.channel, b"%d" % number)

    async def publish(self) -> None:
        async with await self.connect("a") as sc:
            for word in (b"one", b"two", b"three"):
                observe(acked=bool(await sc.publish(self.channel, word)))
            for message in await (await self.subscribe(sc)).take(3):
                observe(
                    sequence=message.sequence,
                    data=message.data.decode(),
                    redelivered=message.redelivered,
                )

    async def publish_async(self) -> None:
        async with await self.connect("a") as sc:
            acked: set[str] = set()

            def note(guid: str, error: BaseException | None) -> None:
                if error is None:
                    acked.add(guid)

            receipts = [
                await sc.publish_async(self.channel, b"%d" % number, note)
                for number in range(1, 101)
            ]
            for receipt in receipts:
                await receipt
            observe(acked=len({receipt.guid for receipt in receipts} & acked))
            received = sequences(await (await self.subscribe(sc)).take(100))
            observe(received=len(received), ordered=received == sorted(received))

    async def start_positions(self) -> None:
        async with await self.connect("a") as sc:
            await self.publish_count(sc, 1, 3)
            await asyncio.sleep(0.4)
            between = datetime.datetime.now() - datetime.timedelta(milliseconds=200)
            await self.publish_count(sc, 4, 2)
            starts: dict[str, dict[str, Any]] = {
                "all": {"start_at": "first"},
                "last": {"start_at": "last"},
                "sequence": {"sequence": 3},
                "time": {"time": between},
                "delta": {"delta": datetime.timedelta(hours=1)},
            }
            for start, option in starts.items():
                (first,) = await (await self.subscribe(sc, **option)).take(1)
                observe(start=start, sequence=first.sequence)
            fresh = await self.subscribe(sc, start_at="new")
            await self.publish_count(sc, 6, 1)
            observe(start="new", sequence=sequences(await fresh.take(1))[0])

    async def durable(self) -> None:
        async with await self.connect("a") as sc:
            first = await self.subscribe(sc, durable="d")
            await self.publish_count(sc, 1, 3)
            observe(received=sequences(await first.take(3)))
        async with await self.connect("a") as again:
            await self.publish_count(again, 4, 2)
            second = await self.subscribe(again, durable="d")
            observe(resumed=sequences(await second.take(2)))

    async def queue_group(self) -> None:
        async with await self.connect("a") as sc:
            members = [await self.subscribe(sc, acks=False, queue="g") for _ in range(3)]
            await self.publish_count(sc, 1, 30)
            shares = [sequences(await member.take(10)) for member in members]
            distinct = {sequence for share in shares for sequence in share}
            observe(shares=[len(share) for share in shares], distinct=len(distinct))

    async def redelivery(self) -> None:
        async with await self.connect("a") as sc:
            feed = await self.subscribe(sc, acks=False, ack_wait=1)
            await self.publish_count(sc, 1, 1)
            for message in await feed.take(3):
                observe(redelivered=message.redelivered, count=message.redelivery_count)
            await message.ack()
            observe(after_ack=await feed.more(1.5))

    async def max_in_flight(self) -> None:
        async with await self.connect("a") as sc:
            feed = await self.subscribe(sc, acks=False, max_in_flight=5)
            await self.publish_count(sc, 1, 10)
            before = await feed.take(5)
            observe(before_acks=sequences(before), more=await feed.more(0.3))
            for message in before:
                await message.ack()
            observe(after_acks=sequences(await feed.take(5)))

    async def duplicate_id(self) -> None:
        async with await self.connect("a"):
            try:
                await self.connect("a")
            except stan.ClientIDTakenError as error:
                observe(refused=str(error))

    async def replaced(self) -> None:
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def note(_: stan.Connection, reason: stan.ClientError) -> None:
            lost.set_result(str(reason))

        await self.connect("a", ping_interval=1, connection_lost_cb=note, resume=False)
        async with await self.connect("b") as other:
            # Close the client behind its back: CloseRequest{clientID} by hand.
            victim = f"{self.prefix}-a".encode()
            request = bytes((0x0A, len(victim))) + victim
            assert other.nats is not None
            await other.nats.request(f"_STAN.close.{self.cluster}", request, timeout=5)
            async with asyncio.timeout(PATIENCE_S):
                observe(lost=await lost)

    async def unsubscribe(self) -> None:
        async with await self.connect("a") as sc:
            first = await self.subscribe(sc, durable="d")
            await self.publish_count(sc, 1, 2)
            observe(received=sequences(await first.take(2)))
            await first.subscription.close()
            await self.publish_count(sc, 3, 1)
            second = await self.subscribe(sc, durable="d")
            observe(after_close=sequences(await second.take(1)))
            await second.subscription.unsubscribe()
            third = await self.subscribe(sc, durable="d")
            observe(after_unsubscribe=sequences(await third.take(3)))

    async def carry(self, data: bytes) -> None:
        """Publish these bytes and look at what comes back."""
        async with await self.connect("a") as sc:
            await sc.publish(self.channel, data)
            (message,) = await (await self.subscribe(sc)).take(1)
            digest = hashlib.sha256(message.data).hexdigest()
            observe(bytes=len(message.data), digest=digest, same=message.data == data)

    async def large(self) -> None:
        await self.carry(b"x" * (1024 * 1024 - 1024))

    async def binary(self) -> None:
        await self.carry(bytes(range(256)))

    async def many_channels(self) -> None:
        async with await self.connect("a") as sc:
            names = [f"{self.channel}.{number}" for number in range(1000)]
            receipts = [await sc.publish_async(name, name.encode()) for name in names]
            observe(acked=sum([bool(await receipt) for receipt in receipts]))
            received = 0
            for name in names:
                (message,) = await (await self.subscribe(sc, channel=name)).take(1)
                received += message.data == name.encode() and message.sequence == 1
            observe(received=received)


async def run(scenario: str, url: str, cluster: str, prefix: str) -> None:
    """Run one scenario within its time."""
    method: Callable[[], Awaitable[None]] = getattr(Driver(url, cluster, prefix), scenario)
    async with asyncio.timeout(DEADLINE_S):
        await method()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
