"""The load of the cluster demo: one publisher, two members of a queue group, and the count.

These are ordinary programs for the ordinary client: no retry, no reconnect, no except.
Every message carries its number, so that at the end each can be accounted for.
"""

import asyncio
import time
from dataclasses import dataclass, field

import stan

CHANNEL = "demo"
QUEUE = "workers"


@dataclass
class Count:
    """What happened so far."""

    published: int = 0
    acked: set[int] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    received: dict[int, int] = field(default_factory=dict)  # number -> sequence
    again: int = 0  # deliveries of what had been received, which at-least-once allows
    last_ack_s: float = field(default_factory=time.monotonic)
    longest_pause_s: float = 0.0
    pause_s: float = 0.0  # the longest one since it was asked for
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def acknowledge(self, number: int) -> None:
        now_s = time.monotonic()
        pause_s = now_s - self.last_ack_s
        self.last_ack_s = now_s
        self.longest_pause_s = max(self.longest_pause_s, pause_s)
        self.pause_s = max(self.pause_s, pause_s)
        self.acked.add(number)

    def receive(self, number: int, sequence: int) -> None:
        if number in self.received:
            self.again += 1
        self.received[number] = sequence
        self.news.set()

    async def wait_until_received(self) -> None:
        """Wait until all that was acked has been received."""
        while not self.acked.issubset(self.received):
            self.news.clear()
            await self.news.wait()


async def publish(sc: stan.Connection, count: Count, rate: int, stop: asyncio.Event) -> None:
    """Publish numbers at a steady rate; wait for every ack at the end."""
    waiting: set[asyncio.Task[None]] = set()

    async def follow(number: int, receipt: stan.Receipt) -> None:
        try:
            await receipt
        except stan.StanError as error:  # to be counted, not to be repaired
            count.failed.append(str(error))
        else:
            count.acknowledge(number)

    began_s = time.monotonic()
    count.last_ack_s = began_s
    while not stop.is_set():
        due = int((time.monotonic() - began_s) * rate)
        while count.published < due:
            receipt = await sc.publish_async(CHANNEL, b"%d" % count.published)
            task = asyncio.create_task(follow(count.published, receipt))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            count.published += 1
        await asyncio.sleep(0.005)
    await asyncio.gather(*waiting)


async def work(sc: stan.Connection, count: Count) -> None:
    """A member of the queue group."""
    sub = await sc.subscribe(
        CHANNEL, queue=QUEUE, durable="demo", start_at="first", max_in_flight=4096, ack_wait=5
    )
    async for msg in sub:
        count.receive(int(msg.data), msg.sequence)


async def read_back(servers: list[str], count: Count) -> list[int]:
    """Every number as it is stored, in order."""
    stored: list[int] = []
    async with stan.connect("test-cluster", "auditor", servers=servers) as sc:
        sub = await sc.subscribe(CHANNEL, start_at="first", max_in_flight=4096)
        last = await sc.subscribe(CHANNEL, start_at="last")
        async for msg in last:
            end = msg.sequence
            break
        async for msg in sub:
            stored.append(int(msg.data))
            if msg.sequence >= end:
                break
    return stored
