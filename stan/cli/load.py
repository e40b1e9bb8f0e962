"""The load of a benchmark: publishers and subscribers on connections of their own.

Everybody is connected and subscribed before the first message is published. A publisher is
done when its last ack arrived, a subscriber when it has what it waits for. Counting only;
reporting is in `report`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import stan
from stan.cli.report import Sample

OnProgress = Callable[[int], None]


class LoadError(Exception):
    """The benchmark cannot go on; str(error) is the line to show."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    channel: str
    messages: int
    message_bytes: int
    publishers: int
    subscribers: int
    cluster_id: str
    client_id: str
    is_sync: bool
    ignores_old: bool
    queue: str
    max_pub_acks_inflight: int
    servers: str
    nats_options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How many messages were published or received, and how many there will be."""

    total: int
    on_progress: OnProgress
    done: int = 0
    _shown: int = -1

    def add(self, count: int = 1) -> None:
        """Count, and tell when another percent is done."""
        self.done += count
        percent = self.done * 100 // self.total
        if percent != self._shown:
            self._shown = percent
            self.on_progress(percent)


def share(messages: int, clients: int) -> list[int]:
    """Split the messages evenly; the remainder goes to the first clients."""
    each, rest = divmod(messages, clients)
    return [each + (index < rest) for index in range(clients)]


class Subscriber:
    """One subscriber and what it counts."""

    def __init__(self, progress: Progress) -> None:
        self.count = 0
        self.first_s = self.last_s = 0.0
        self.expected = 0
        self.done = asyncio.Event()
        self._progress = progress

    def receive(self, _: stan.Message) -> None:
        """The callback."""
        self.count += 1
        self._progress.add()
        if self.count == 1:
            self.first_s = perf_counter()
        if self.count == self.expected:
            self.finish()

    def finish(self) -> None:
        """All that was waited for is there."""
        self.last_s = perf_counter()
        self.done.set()


class QueueMember(Subscriber):
    """A subscriber that shares its messages; all are done when the group has all."""

    def __init__(self, progress: Progress, group: list["QueueMember"], messages: int) -> None:
        super().__init__(progress)
        self._group = group
        self._messages = messages
        group.append(self)

    def receive(self, message: stan.Message) -> None:
        super().receive(message)
        self.last_s = perf_counter()
        if sum(member.count for member in self._group) >= self._messages:
            for member in self._group:
                member.done.set()


async def run_load(plan: Plan, on_progress: OnProgress) -> tuple[list[Sample], list[Sample]]:
    """Run the plan; returns the publishers' and the subscribers' samples.

    Raises LoadError when a client cannot connect or subscribe, or is interrupted.
    """
    shares = share(plan.messages, plan.publishers) if plan.publishers else []
    copies = bool(plan.publishers) + (1 if plan.queue and plan.subscribers else plan.subscribers)
    progress = Progress(plan.messages * copies, on_progress)
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def lose(connection: stan.Connection, reason: str) -> None:
        """An interruption: what would be measured behind it is no measure of anything."""
        if not lost.done():
            lost.set_exception(LoadError(f"{connection.client_id} lost its connection: {reason}"))

    connections: list[stan.Connection] = []
    try:
        subscribers = await _subscribe(plan, progress, connections, lose)
        publishing = []
        for index in range(plan.publishers):
            name = f"{plan.client_id}-pub-{index}"
            publishing.append(await _connect(plan, name, "Publisher", connections, lose))
        jobs: list[Coroutine[Any, Any, Sample]] = [
            _publish(plan, connection, count, progress)
            for connection, count in zip(publishing, shares, strict=True)
        ]
        jobs += [_receive(plan, subscriber) for subscriber in subscribers]
        work: asyncio.Future[list[Sample]] = asyncio.gather(*jobs)
        either: list[asyncio.Future[Any]] = [work, lost]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if lost.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await lost
        samples = await work
    except stan.StanError as error:
        raise LoadError(f"Error during publish or subscribe: {error}") from None
    finally:
        lost.cancel()
        await asyncio.gather(*(c.close() for c in connections), return_exceptions=True)
    return samples[: plan.publishers], samples[plan.publishers :]


async def _connect(
    plan: Plan,
    name: str,
    kind: str,
    connections: list[stan.Connection],
    lose: stan.InterruptedCallback,
) -> stan.Connection:
    try:
        connection = await stan.connect(
            plan.cluster_id,
            name,
            servers=plan.servers,
            max_pub_acks_inflight=plan.max_pub_acks_inflight,
            interrupted_cb=lose,
            **plan.nats_options,
        )
    except stan.StanError as error:
        raise LoadError(f"{kind} {name} can't connect: {error}") from None
    connections.append(connection)
    return connection


async def _subscribe(
    plan: Plan,
    progress: Progress,
    connections: list[stan.Connection],
    lose: stan.InterruptedCallback,
) -> list[Subscriber]:
    subscribers: list[Subscriber] = []
    group: list[QueueMember] = []
    start = stan.StartPosition.NEW if plan.ignores_old else stan.StartPosition.FIRST
    for index in range(plan.subscribers):
        name = f"{plan.client_id}-sub-{index}"
        connection = await _connect(plan, name, "Subscriber", connections, lose)
        if plan.queue:
            subscriber: Subscriber = QueueMember(progress, group, plan.messages)
        else:
            subscriber = Subscriber(progress)
            subscriber.expected = plan.messages
        subscribers.append(subscriber)
        await connection.subscribe(
            plan.channel, subscriber.receive, queue=plan.queue, start_at=start
        )
    return subscribers


async def _publish(
    plan: Plan, connection: stan.Connection, count: int, progress: Progress
) -> Sample:
    payload = b"x" * plan.message_bytes
    start_s = perf_counter()
    if plan.is_sync:
        for _ in range(count):
            await connection.publish(plan.channel, payload)
            progress.add()
    else:
        await _publish_ahead(plan.channel, connection, payload, count, progress)
    return Sample(count, plan.message_bytes, start_s, perf_counter(), 2 * count)


async def _publish_ahead(
    channel: str, connection: stan.Connection, payload: bytes, count: int, progress: Progress
) -> None:
    """Publish without waiting for each ack, then wait for all of them."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    acks = 0

    def acked(_: str, error: stan.ClientError | None) -> None:
        nonlocal acks
        acks += 1
        progress.add()
        if error is not None and not done.done():
            done.set_exception(LoadError(f"Error in server ack: {error}"))
        if acks == count and not done.done():
            done.set_result(None)

    publish = connection.publish_async
    try:
        for _ in range(count):
            await publish(channel, payload, acked)
            if done.done():
                break
        if count:
            await done
    finally:
        if not done.cancel() and not done.cancelled():
            done.exception()  # nobody may be left to ask for it


async def _receive(plan: Plan, subscriber: Subscriber) -> Sample:
    await subscriber.done.wait()
    return Sample(
        subscriber.count,
        plan.message_bytes,
        subscriber.first_s,
        subscriber.last_s,
        2 * subscriber.count,
    )
