"""One asyncio client at work, in a process of its own: `python -m bench.client_load`.

The same three kinds of work for our client and for nats-py's JetStream, each in its usual
words. What was acked and what arrived is checked; prints the time it took as JSON. Invariant:
only the work is timed, not connecting and not closing.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import nats
import uvloop
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import FetchTimeoutError

import stan

CHANNEL = "bench"
STREAM = "BENCH"
MAX_IN_FLIGHT = 1024
CLUSTER = "test-cluster"
_FETCH = 500
_PATIENCE_S = 60.0
_FILLER = b"x" * 118


class CheckError(Exception):
    """Something is missing or was there twice; str(error) says what."""


@dataclass(frozen=True)
class Took:
    """Seconds of the clock and of this process's CPU."""

    seconds: float
    cpu_s: float


class Stopwatch:
    """Runs from its making on."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self._start_cpu_s = time.process_time()

    def read(self) -> Took:
        """What it took since then."""
        return Took(time.perf_counter() - self._start_s, time.process_time() - self._start_cpu_s)


class Seen:
    """Which numbered messages were met. `done` is set when all were."""

    def __init__(self, messages: int) -> None:
        self._missing = messages
        self._met = bytearray(messages)
        self.done = asyncio.Event()
        self.trouble = ""

    def add(self, data: bytes) -> None:
        """Note a message, by its payload's number."""
        self.add_number(int(data[:10]))

    def add_number(self, number: int) -> None:
        """Note a number, from 0."""
        if self._met[number]:
            self.trouble = f"message {number} was there twice"
            self.done.set()
        self._met[number] = 1
        self._missing -= 1
        if not self._missing:
            self.done.set()

    async def complete(self) -> None:
        """Wait for the last. Raises CheckError when one comes twice, or none for too long."""
        try:
            await asyncio.wait_for(self.done.wait(), _PATIENCE_S)
        except TimeoutError:
            raise CheckError(f"{self._missing} messages did not arrive") from None
        if self.trouble:
            raise CheckError(self.trouble)


def payload(number: int) -> bytes:
    """A payload of 128 bytes that carries a number."""
    return b"%010d%b" % (number, _FILLER)


async def publish_stan(url: str, messages: int) -> Took:
    """Publish ahead with a window; returns what it took until the last ack."""
    async with await stan.connect(
        CLUSTER, "bench-pub", servers=url, max_pub_acks_inflight=MAX_IN_FLIGHT
    ) as connection:
        watch = Stopwatch()
        receipts = [
            await connection.publish_async(CHANNEL, payload(number)) for number in range(messages)
        ]
        for receipt in receipts:
            await receipt
        return watch.read()


async def publish_stan_in_turn(url: str, messages: int) -> Took:
    """Publish one at a time."""
    async with await stan.connect(CLUSTER, "bench-pub", servers=url) as connection:
        watch = Stopwatch()
        for number in range(messages):
            await connection.publish(CHANNEL, payload(number))
        return watch.read()


async def receive_stan(url: str, messages: int) -> Took:
    """Receive what is stored; the client acks when the callback is done."""
    seen = Seen(messages)
    async with await stan.connect(CLUSTER, "bench-sub", servers=url) as connection:
        watch = Stopwatch()
        await connection.subscribe(
            CHANNEL,
            lambda message: seen.add(message.data),
            start_at="first",
            max_in_flight=MAX_IN_FLIGHT,
        )
        await seen.complete()
        return watch.read()


async def publish_jetstream(url: str, messages: int) -> Took:
    """Publish ahead with a window; every ack must carry a sequence of its own."""
    async with await nats.connect(url) as connection:
        context = connection.jetstream(publish_async_max_pending=MAX_IN_FLIGHT)
        seen = Seen(messages)
        watch = Stopwatch()
        futures = [
            await context.publish_async(CHANNEL, payload(number)) for number in range(messages)
        ]
        for future in futures:
            seen.add_number((await future).seq - 1)
        await seen.complete()
        return watch.read()


async def publish_jetstream_in_turn(url: str, messages: int) -> Took:
    """Publish one at a time."""
    async with await nats.connect(url) as connection:
        context = connection.jetstream()
        seen = Seen(messages)
        watch = Stopwatch()
        for number in range(messages):
            seen.add_number((await context.publish(CHANNEL, payload(number))).seq - 1)
        await seen.complete()
        return watch.read()


async def receive_jetstream(url: str, messages: int) -> Took:
    """Receive what is stored through a push consumer with a callback, acking each."""
    seen = Seen(messages)

    async def take(message: Msg) -> None:
        seen.add(message.data)
        await message.ack()

    async with await nats.connect(url) as connection:
        context = connection.jetstream()
        watch = Stopwatch()
        await context.subscribe(CHANNEL, cb=take, manual_ack=True, config=_consumer())
        await seen.complete()
        took = watch.read()
        await connection.flush()
        return took


async def fetch_jetstream(url: str, messages: int) -> Took:
    """Receive what is stored through a pull consumer, a few hundred at a time, acking each."""
    seen = Seen(messages)
    async with await nats.connect(url) as connection:
        context = connection.jetstream()
        watch = Stopwatch()
        puller = await context.pull_subscribe(CHANNEL, durable="bench", config=_consumer())
        await _fetch_all(puller, seen)
        took = watch.read()
        await connection.flush()
        return took


async def _fetch_all(puller: JetStreamContext.PullSubscription, seen: Seen) -> None:
    while not seen.done.is_set():
        try:
            batch = await puller.fetch(_FETCH, timeout=_PATIENCE_S / 4)
        except FetchTimeoutError:
            break
        for message in batch:
            seen.add(message.data)
            await message.ack()
    await seen.complete()


def _consumer() -> ConsumerConfig:
    return ConsumerConfig(
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        max_ack_pending=MAX_IN_FLIGHT,
        ack_wait=30,
    )


WORK: dict[str, Callable[[str, int], Awaitable[Took]]] = {
    "publish-stan": publish_stan,
    "publish-stan-in-turn": publish_stan_in_turn,
    "receive-stan": receive_stan,
    "publish-jetstream": publish_jetstream,
    "publish-jetstream-in-turn": publish_jetstream_in_turn,
    "receive-jetstream": receive_jetstream,
    "fetch-jetstream": fetch_jetstream,
}


def main(argv: list[str]) -> int:
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.client_load", description=__doc__)
    parser.add_argument("work", choices=WORK)
    parser.add_argument("url")
    parser.add_argument("messages", type=int)
    options = parser.parse_args(argv)

    async def work() -> Took:
        return await WORK[options.work](options.url, options.messages)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(asdict(runner.run(work()))))
    except (CheckError, stan.StanError, nats.errors.Error, OSError) as error:
        print(f"{options.work}: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
