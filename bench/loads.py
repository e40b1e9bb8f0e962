"""The loads: what a load generator is told to do, and what must be true afterwards.

The generator is a `stan-bench` command: Go's when it is there, else ours. Afterwards the
channel is asked for its last sequence: every message must have been stored exactly once.
"""

import asyncio
import re
import subprocess
from dataclasses import dataclass

import nats
from nats.aio.msg import Msg

from bench.peers import Running
from bench.processes import cpu_seconds, peak_memory_bytes
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


@dataclass(frozen=True)
class Load:
    """One row of the table. `prepare` messages are stored first, not measured."""

    name: str
    flags: tuple[str, ...]
    messages: int
    prepare: int = 0
    publishers: int = 1
    subscribers: int = 0


def loads(scale: float, slow: bool) -> list[Load]:
    """The rows for a fast store, or for one that is slow in the original."""
    many = max(1000, int((120_000 if slow else 400_000) * scale))
    single = max(200, int((1_500 if slow else 8_000) * scale))
    window = ("-ms", "128", "-mpa", "1024")
    rows = [
        Load("1 publisher", ("-np", "1", "-ns", "0", *window), many),
        Load("1 publisher + 1 subscriber", ("-np", "1", "-ns", "1", *window), many, 0, 1, 1),
        Load("4 publishers + 4 subscribers", ("-np", "4", "-ns", "4", *window), many // 2, 0, 4, 4),
        Load("one at a time", ("-np", "1", "-ns", "0", "-ms", "128", "-sync"), single),
    ]
    replay = max(1000, int((100_000 if slow else 300_000) * scale))
    rows.append(Load("replay", ("-np", "0", "-ns", "1", *window), replay, replay, 0, 1))
    return rows


@dataclass(frozen=True)
class Measurement:
    """Messages a second published and received, and what the server spent on it."""

    published_per_s: float
    received_per_s: float
    cpu_us_per_message: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        return self.published_per_s or self.received_per_s


def measure(load: Load, running: Running, generator: list[str]) -> Measurement:
    """Run one load against a fresh server. Raises RuntimeError when messages are missing."""
    if load.prepare:
        flags = ("-np", "1", "-ns", "0", "-ms", "128", "-mpa", "4096")
        _generate(generator, running, flags, load.prepare)
    before = cpu_seconds(running.service.pid)
    output = _generate(generator, running, load.flags, load.messages)
    spent_s = cpu_seconds(running.service.pid) - before
    stored = asyncio.run(last_sequence(running.url, "bench"))
    if stored != load.messages:
        raise RuntimeError(f"{load.name}: {stored} messages stored, {load.messages} expected")
    handled = load.messages if load.publishers else 0
    handled += load.messages * load.subscribers
    return Measurement(
        _rate(output, "Pub"),
        _rate(output, "Sub"),
        spent_s * 1e6 / max(1, handled),
        peak_memory_bytes(running.service.pid),
    )


def _generate(generator: list[str], running: Running, flags: tuple[str, ...], messages: int) -> str:
    command = [*generator, "-s", running.url, *flags, "-n", str(messages), "bench"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr or done.stdout}")
    return done.stdout


def _rate(output: str, kind: str) -> float:
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
