"""The loads: what a load generator is told to do, and what must be true afterwards.

The generator is a `stan-bench` command: Go's when it is there, else ours. Afterwards the
channel is asked for its last sequence: every message must have been stored exactly once.
"""

import asyncio
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nats
from nats.aio.msg import Msg

from bench.cost import Cost, Meter, median_cost
from bench.peers import Running
from stan.wire.stan_pb2 import (
    Ack,
    CloseRequest,
    ConnectRequest,
    ConnectResponse,
    MsgProto,
    StartPosition,
    SubscriptionRequest,
    SubscriptionResponse,
)

CHANNEL = "bench"


@dataclass(frozen=True)
class Load:
    """One kind of work. `first` messages are tried to find out how many last long enough.

    `replays` means that the messages are stored before, and only reading them is measured.
    """

    name: str
    flags: tuple[str, ...]
    first: int
    publishers: int = 1
    subscribers: int = 0
    replays: bool = False


_WINDOW = ("-ms", "128", "-mpa", "1024")
_FILL = ("-np", "1", "-ns", "0", "-ms", "128", "-mpa", "4096")
ONE_TO_ONE = Load("1 publisher + 1 subscriber", ("-np", "1", "-ns", "1", *_WINDOW), 20_000, 1, 1)
ONE_TO_ONE_NEW = Load(ONE_TO_ONE.name, (*ONE_TO_ONE.flags, "-io"), 20_000, 1, 1)
LOADS = (
    Load("1 publisher", ("-np", "1", "-ns", "0", *_WINDOW), 20_000),
    ONE_TO_ONE,
    Load("4 publishers + 4 subscribers", ("-np", "4", "-ns", "4", *_WINDOW), 10_000, 4, 4),
    Load("one at a time", ("-np", "1", "-ns", "0", "-ms", "128", "-sync"), 200),
    Load("replay", ("-np", "0", "-ns", "1", *_WINDOW), 20_000, 0, 1, replays=True),
)
# Payloads of other sizes, one publisher and one subscriber.
SIZES = tuple(
    Load(name, ("-np", "1", "-ns", "1", "-ms", str(size), "-mpa", str(window)), window, 1, 1)
    for name, size, window in (
        ("4 KB", 4_000, 512),
        ("64 KB", 64_000, 128),
        ("1 MB", 1_000_000, 16),
    )
)


@dataclass(frozen=True)
class Measurement:
    """Messages a second published and received, and what each process spent on it."""

    published_per_s: float
    received_per_s: float
    cost: Cost

    @property
    def rate(self) -> float:
        return self.published_per_s or self.received_per_s


def measure(
    load: Load, messages: int, running: Running, generator: Sequence[str], present: int = 0
) -> Measurement:
    """Run one load; `present` messages are in the channel already.

    Raises RuntimeError when messages are missing afterwards, or are there twice.
    """
    if load.replays:
        fill(messages, running, generator)
    meter = Meter(running)
    output = generate(generator, running, load.flags, messages)
    cost = meter.read(messages * (bool(load.publishers) + load.subscribers))
    stored = asyncio.run(last_sequence(running.url, CHANNEL))
    if stored != messages + present:
        raise RuntimeError(f"{load.name}: {stored} messages stored, not {messages + present}")
    return Measurement(read_rate(output, "Pub"), read_rate(output, "Sub"), cost)


def fill(messages: int, running: Running, generator: Sequence[str]) -> None:
    """Store this many messages in the channel, as fast as possible."""
    generate(generator, running, _FILL, messages)


def median_measurement(taken: Sequence[Measurement]) -> Measurement:
    """The median of each part."""
    return Measurement(
        statistics.median(each.published_per_s for each in taken),
        statistics.median(each.received_per_s for each in taken),
        median_cost([each.cost for each in taken]),
    )


def find_generator(path: str) -> tuple[str, ...]:
    """The stan-bench to use: the one named, else Go's on PATH, else ours.

    Ours is a script of the same name; Go's is a binary, and costs the machine less.
    """
    if path:
        return (path,)
    for folder in os.get_exec_path():
        candidate = Path(folder) / "stan-bench"
        if os.access(candidate, os.X_OK) and candidate.read_bytes()[:2] != b"#!":
            return (str(candidate),)
    return (sys.executable, "-m", "stan.cli.bench")


def generate(
    generator: Sequence[str], running: Running, flags: tuple[str, ...], messages: int
) -> str:
    command = [*generator, "-s", running.url, *flags, "-n", str(messages), CHANNEL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr or done.stdout}")
    return done.stdout


def read_rate(output: str, kind: str) -> float:
    """The rate of the publishers or the subscribers in a stan-bench report."""
    found = re.search(rf"^\s*{kind} stats: ([\d,]+) msgs/sec", output, re.MULTILINE)
    return float(found.group(1).replace(",", "")) if found else 0.0


async def last_sequence(url: str, channel: str) -> int:
    """The last sequence of a channel, learnt as a client that asks for the last message."""
    connection = await nats.connect(url)
    try:
        inbox = connection.new_inbox()
        arrived: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def receive(message: Msg) -> None:
            if not arrived.done():
                arrived.set_result(MsgProto.FromString(message.data).sequence)

        async def beat(message: Msg) -> None:
            await message.respond(b"")

        await connection.subscribe(inbox, cb=receive)
        heartbeat = connection.new_inbox()
        await connection.subscribe(heartbeat, cb=beat)
        request = ConnectRequest(clientID="bench-check", heartbeatInbox=heartbeat)
        answer = await connection.request(
            "_STAN.discover.test-cluster", request.SerializeToString(), timeout=10
        )
        server = ConnectResponse.FromString(answer.data)
        subscribe = SubscriptionRequest(
            clientID="bench-check",
            subject=channel,
            inbox=inbox,
            maxInFlight=1,
            ackWaitInSecs=30,
            startPosition=StartPosition.LastReceived,
        )
        answer = await connection.request(
            server.subRequests, subscribe.SerializeToString(), timeout=10
        )
        sequence = await asyncio.wait_for(arrived, 10)
        ack_inbox = SubscriptionResponse.FromString(answer.data).ackInbox
        ack = Ack(subject=channel, sequence=sequence)
        await connection.publish(ack_inbox, ack.SerializeToString())
        close = CloseRequest(clientID="bench-check")
        await connection.request(server.closeRequests, close.SerializeToString(), timeout=10)
        return sequence
    finally:
        await connection.close()
