"""The open-loop load: publishes at a fixed rate, whatever the answers do, and times them.

A process of its own (`python -m bench.openloop`), the same for every peer: NATS frames on two
sockets, one for the publisher and one for the subscriber. It waits with `select`, whose
time is exact to the microsecond where an event loop's is to the millisecond. Invariant: a
latency counts from when the message was *due*, not from when it was sent, so a server that
holds the load up does not hide it. Every message must be acked once and arrive once.
"""

import argparse
import gc
import json
import math
import os
import select
import sys
import time
from array import array
from contextlib import suppress
from pathlib import Path

from bench.raw import Line, RawClient
from stan.wire.frames import pub
from stan.wire.messages import string_field, varint
from stan.wire.stan_pb2 import MsgProto, PubAck

_NS = 1_000_000_000
_DIGITS = 10
_MOST_AT_ONCE = 256  # messages written before the answers are looked at
_BURSTS_PER_S = 4000
_PATIENCE_S = 10.0  # for answers, after the last message


class LatencyError(Exception):
    """Something was refused, lost or doubled; str(error) says what."""


class Run:
    """One run: what was due when, and how long each message took.

    Above 4,000 a second messages are due in bursts, that many a second: a turn of the loop
    for each message would cost more than the servers that are measured.
    """

    def __init__(self, rate: int, messages: int) -> None:
        self.rate = rate
        self.burst = max(1, rate // _BURSTS_PER_S)
        self.messages = messages
        self.start_ns = 0
        self.sent = 0
        self.cpu_ns = 0
        self.lags_ns: list[int] = []
        self.acked = Answers(self, "acked")
        self.delivered = Answers(self, "delivered")

    def due_ns(self, index: int) -> int:
        """When the message should leave."""
        return self.start_ns + index // self.burst * self.burst * _NS // self.rate

    def due(self, now_ns: int) -> int:
        """How many messages should have left by now."""
        bursts = (now_ns - self.start_ns) * self.rate // (_NS * self.burst) + 1
        return min(self.messages, bursts * self.burst)

    @property
    def is_complete(self) -> bool:
        return self.acked.count == self.messages == self.delivered.count


class Answers:
    """The latency of each message in one direction."""

    def __init__(self, run: Run, what: str) -> None:
        self._run = run
        self._what = what
        self.latencies_ns = array("q", bytes(8 * run.messages))
        self.count = 0

    def add(self, index: int, now_ns: int) -> None:
        """Note the answer for a message. Raises LatencyError when it is not the first."""
        if not 0 <= index < self._run.sent or self.latencies_ns[index]:
            raise LatencyError(f"message {index} was {self._what} twice, or never sent")
        self.latencies_ns[index] = max(1, now_ns - self._run.due_ns(index))
        self.count += 1

    def percentiles_us(self, skip: int) -> list[float]:
        """p50, p99 and p99.9 of all but the first `skip` messages, in microseconds."""
        ordered = sorted(self.latencies_ns[skip:])
        return [pick(ordered, part) / 1000 for part in (0.5, 0.99, 0.999)]


def pick(ordered: list[int], part: float) -> int:
    """The nearest-rank percentile of sorted values: the smallest that `part` do not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


class Publisher:
    """Makes PUB operations whose guid and payload both carry the message's number."""

    def __init__(self, client: RawClient, channel: str, payload_bytes: int) -> None:
        self._client = client
        self.ack_subject = b"_STAN.acks." + os.urandom(8).hex().encode()
        client.line.subscribe(self.ack_subject)
        middle = string_field(0x1A, channel.encode()) + b"\x2a" + varint(payload_bytes)
        head = string_field(0x0A, client.client_id.encode()) + b"\x12%c" % _DIGITS
        tail = b"x" * (payload_bytes - _DIGITS) + string_field(0x32, client.connection_id)
        size = len(head) + len(middle) + len(tail) + 2 * _DIGITS
        subject = f"{client.server.pubPrefix}.{channel}".encode()
        line = b"PUB %b %b %d\r\n" % (subject, self.ack_subject, size)
        self._parts = (line + head, middle, tail + b"\r\n")

    def send(self, first: int, end: int) -> None:
        """Send these messages."""
        head, middle, tail = self._parts
        operations = [b"%b%010d%b%010d%b" % (head, n, middle, n, tail) for n in range(first, end)]
        self._client.line.send(b"".join(operations))

    def read(self, answers: Answers, now_ns: int) -> None:
        """Take in the acks that are there. Raises LatencyError for a refusal."""
        for _, _, payload in self._client.frames(self.ack_subject):
            if len(payload) != _DIGITS + 2 or payload[0] != 0x0A:
                raise LatencyError(f"a message was refused: {PubAck.FromString(payload).error}")
            answers.add(int(payload[2:]), now_ns)


class Subscriber:
    """Reads deliveries and acks each."""

    def __init__(self, client: RawClient, channel: str) -> None:
        self._client = client
        self._inbox, ack_inbox = client.subscribe(channel)
        self._ack_inbox = ack_inbox
        self._ack_head = string_field(0x0A, channel.encode()) + b"\x10"

    def read(self, answers: Answers, now_ns: int) -> None:
        """Take in the deliveries that are there, and ack them."""
        acks = []
        for _, _, payload in self._client.frames(self._inbox):
            message = MsgProto.FromString(payload)
            answers.add(int(message.data[:_DIGITS]), now_ns)
            acks.append(pub(self._ack_inbox, self._ack_head + varint(message.sequence)))
        self._client.line.send(b"".join(acks))


def run_open_loop(
    url: str, channel: str, run: Run, payload_bytes: int = 128, cluster_id: str = "test-cluster"
) -> None:
    """Connect, publish at the run's rate, wait for every answer.

    Raises LatencyError, and OSError when a connection ends.
    """
    publishing = RawClient(url, "open-loop-pub", cluster_id)
    subscribing = RawClient(url, "open-loop-sub", cluster_id)
    publisher = Publisher(publishing, channel, payload_bytes)
    subscriber = Subscriber(subscribing, channel)
    publishing.line.settle()
    cpu_ns = time.process_time_ns()
    run.start_ns = time.perf_counter_ns()
    while not run.is_complete:
        _send_due(run, publisher)
        _wait(run, publishing.line, subscribing.line)
        if publishing.line.receive():
            publisher.read(run.acked, time.perf_counter_ns())
        if subscribing.line.receive():
            subscriber.read(run.delivered, time.perf_counter_ns())
        late_ns = time.perf_counter_ns() - run.due_ns(run.messages)
        if late_ns > _PATIENCE_S * _NS and run.sent == run.messages:
            raise LatencyError(
                f"of {run.messages} messages {run.acked.count} were acked and "
                f"{run.delivered.count} delivered"
            )
    run.cpu_ns = time.process_time_ns() - cpu_ns
    publishing.close()
    subscribing.close()


def _send_due(run: Run, publisher: Publisher) -> None:
    now_ns = time.perf_counter_ns()
    end = min(run.due(now_ns), run.sent + _MOST_AT_ONCE)
    if end > run.sent:
        run.lags_ns.append(now_ns - run.due_ns(run.sent))
        publisher.send(run.sent, end)
        run.sent = end


def _wait(run: Run, *lines: Line) -> None:
    """Wait until something can be read or written, or a message is due."""
    wait_s = 1.0
    if run.sent < run.messages:
        wait_s = max(0.0, (run.due_ns(run.sent) - time.perf_counter_ns()) / _NS)
    writing = [line for line in lines if line.unsent]
    _, writable, _ = select.select(lines, writing, [], wait_s)
    for line in writable:
        line.flush()


def main(argv: list[str]) -> int:
    """Run the command: prints what was found as JSON. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.openloop", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--channel", default="bench")
    parser.add_argument("--cluster", default="test-cluster")
    parser.add_argument("--rate", type=int, required=True, help="messages a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds that do not count")
    parser.add_argument("--payload", type=int, default=128, help="bytes of a message")
    options = parser.parse_args(argv)
    skip = int(options.rate * options.warm_up)
    run = Run(options.rate, skip + max(1, int(options.rate * options.seconds)))
    # Without it the kernel ends every wait up to 50 us late, to save power.
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    gc.freeze()
    gc.disable()
    try:
        run_open_loop(options.url, options.channel, run, options.payload, options.cluster)
    except (LatencyError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    found = {
        "messages": run.messages,
        "ack_us": run.acked.percentiles_us(skip),
        "delivery_us": run.delivered.percentiles_us(skip),
        "lag_us": pick(sorted(run.lags_ns), 0.99) / 1000,
        "cpu_s": run.cpu_ns / _NS,
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
