"""The load that is spread over many channels and clients, a process of its own for every peer.

NATS frames on one socket, as `bench.openloop`: publishes in turns over all channels, as many
under way as a client of Go's lets be. With subscribers each channel has a client of its own that
subscribes and acknowledges. What is sent is made before the clock starts, and a line on
standard input starts it. Invariant: every message is acked once and, with subscribers, arrives
once; else the run fails.
"""

import argparse
import json
import select
import sys
import time
from contextlib import closing

from bench.raw import FrameWithPayload, Line, new_inbox
from stan.wire.frames import pub
from stan.wire.messages import string_field, varint
from stan.wire.stan_pb2 import (
    ConnectRequest,
    ConnectResponse,
    MsgProto,
    PubAck,
    StartPosition,
    SubscriptionRequest,
    SubscriptionResponse,
)

WINDOW = 16_384
_AT_ONCE = 512
_DIGITS = 10
_PAYLOAD = b"x" * 128
_PATIENCE_S = 30.0


class SpreadError(Exception):
    """Something was refused, lost or doubled; str(error) says what."""


class Crowd:
    """Many clients on one line. Raises SpreadError, and OSError when the line ends."""

    def __init__(self, url: str, cluster_id: str) -> None:
        self.line = Line(url)
        self._inbox = new_inbox()
        self.line.subscribe(self._inbox + b".>")
        self._cluster_id = cluster_id
        self._ack_inboxes: list[bytes] = []
        self.server = ConnectResponse()
        self.acked = 0
        self.delivered = 0
        self._is_acked = bytearray()

    def close(self) -> None:
        """End the line; the server finds out."""
        self.line.close()

    def connect(self, names: list[str]) -> None:
        """Let these clients in."""
        heartbeats = (self._inbox + b".hb").decode()
        for name in names:
            request = ConnectRequest(
                clientID=name,
                heartbeatInbox=heartbeats,
                connID=self._connection_id(name),
                protocol=1,
                pingInterval=3600,
                pingMaxOut=2,
            )
            where = f"_STAN.discover.{self._cluster_id}"
            self.line.send(pub(where, request.SerializeToString(), self._inbox + b".c"))
        for _, payload in self._await(b".c", len(names)):
            self.server = ConnectResponse.FromString(payload)
            if self.server.error:
                raise SpreadError(self.server.error)

    def _connection_id(self, name: str) -> bytes:
        return b"%b-%b" % (self._inbox[-8:], name.encode())

    def subscribe(self, names: list[str]) -> None:
        """Each of these clients subscribes to the channel of its number."""
        for index, name in enumerate(names):
            request = SubscriptionRequest(
                clientID=name,
                subject=f"spread.{index}",
                inbox=f"{self._inbox.decode()}.d.{index}",
                maxInFlight=1024,
                ackWaitInSecs=30,
                startPosition=StartPosition.NewOnly,
            )
            reply = f"{self._inbox.decode()}.s.{index}"
            self.line.send(pub(self.server.subRequests, request.SerializeToString(), reply))
        self._ack_inboxes = [b""] * len(names)
        for subject, payload in self._await(b".s", len(names)):
            response = SubscriptionResponse.FromString(payload)
            if response.error:
                raise SpreadError(response.error)
            index = int(subject.rpartition(b".")[2])
            self._ack_inboxes[index] = response.ackInbox.encode()

    def make_publishes(self, names: list[str], channels: int, messages: int) -> list[bytes]:
        """What is to be sent, a message each."""
        self._is_acked = bytearray(messages)
        heads = [string_field(0x0A, name.encode()) + b"\x12%c" % _DIGITS for name in names]
        tails = [string_field(0x32, self._connection_id(name)) for name in names]
        made = []
        for number in range(messages):
            channel = f"spread.{number % channels}"
            middle = string_field(0x1A, channel.encode()) + string_field(0x2A, _PAYLOAD)
            who = number % len(names)
            message = b"%b%010d%b%b" % (heads[who], number, middle, tails[who])
            where = f"{self.server.pubPrefix}.{channel}"
            made.append(pub(where, message, b"%b.a.%d" % (self._inbox, who)))
        return made

    def read(self) -> None:
        """Take in what arrived."""
        self.line.receive()
        frames, self.line.frames = self.line.frames, []
        acks = []
        for subject, reply, payload in frames:
            kind = subject[len(self._inbox) + 1 : len(self._inbox) + 2]
            if kind == b"a":
                self._take_ack(payload)
            elif kind == b"d":
                acks.append(self._acknowledge(subject, payload))
            else:
                acks.append(b"PUB %b 0\r\n\r\n" % reply)
        self.line.send(b"".join(acks))

    def _take_ack(self, payload: bytes) -> None:
        if len(payload) != _DIGITS + 2:
            raise SpreadError(f"a message was refused: {PubAck.FromString(payload).error}")
        number = int(payload[2:])
        if self._is_acked[number]:
            raise SpreadError(f"message {number} was acked twice")
        self._is_acked[number] = 1
        self.acked += 1

    def _acknowledge(self, subject: bytes, payload: bytes) -> bytes:
        message = MsgProto.FromString(payload)
        if message.redelivered:
            raise SpreadError("a message arrived twice")
        self.delivered += 1
        ack = string_field(0x0A, message.subject.encode()) + b"\x10" + varint(message.sequence)
        return b"PUB %b %d\r\n%b\r\n" % (
            self._ack_inboxes[int(subject.rpartition(b".")[2])],
            len(ack),
            ack,
        )

    def _await(self, kind: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """The subjects and payloads of so many answers."""
        found: list[tuple[bytes, bytes]] = []
        end_s = time.monotonic() + _PATIENCE_S
        prefix = self._inbox + kind
        while len(found) < count:
            self.line.wait(end_s)
            frames: list[FrameWithPayload]
            frames, self.line.frames = self.line.frames, []
            found += [(to, payload) for to, _, payload in frames if to.startswith(prefix)]
        return found


def run(crowd: Crowd, operations: list[bytes], is_delivered: bool) -> float:
    """Send all, and wait for all that comes of it; how many seconds it took."""
    messages, sent = len(operations), 0
    began_s = time.perf_counter()
    heard_s = time.monotonic()
    while crowd.acked < messages or (is_delivered and crowd.delivered < messages):
        room = min(WINDOW - (sent - crowd.acked), _AT_ONCE, messages - sent)
        may_send = room > 0 and not crowd.line.unsent
        if may_send:
            crowd.line.send(b"".join(operations[sent : sent + room]))
            sent += room
        waits = [crowd.line] if crowd.line.unsent else []
        readable, _, _ = select.select([crowd.line], waits, [], 0 if may_send else 1.0)
        if crowd.line.unsent:
            crowd.line.flush()
        if readable:
            crowd.read()
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > _PATIENCE_S:
            raise SpreadError(f"of {messages} {crowd.acked} were acked, {crowd.delivered} arrived")
    return time.perf_counter() - began_s


def main(argv: list[str]) -> int:
    """Run the load and print what came of it as JSON. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.spread_load", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--cluster", default="test-cluster")
    parser.add_argument("--channels", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--publishers", type=int, default=10)
    parser.add_argument("--subscribed", action="store_true", help="a client for each channel")
    options = parser.parse_args(argv)
    try:
        with closing(Crowd(options.url, options.cluster)) as crowd:
            found = _measure(crowd, options)
    except (SpreadError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


def _measure(crowd: Crowd, options: argparse.Namespace) -> dict[str, float]:
    publishers = [f"publisher-{number}" for number in range(options.publishers)]
    crowd.connect(publishers)
    if options.subscribed:
        subscribers = [f"subscriber-{number}" for number in range(options.channels)]
        crowd.connect(subscribers)
        crowd.subscribe(subscribers)
    else:  # the channels are there before the clock starts
        run(crowd, crowd.make_publishes(publishers, options.channels, options.channels), False)
        crowd.acked = 0
    operations = crowd.make_publishes(publishers, options.channels, options.messages)
    print("ready", flush=True)
    sys.stdin.readline()  # whoever measures is ready, too
    began_s = time.process_time()
    seconds = run(crowd, operations, options.subscribed)
    cpu_s = time.process_time() - began_s
    return {"messages_per_s": options.messages / seconds, "cpu_s": cpu_s}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
