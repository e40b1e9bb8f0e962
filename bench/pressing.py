"""Loads that press on a server without being of use to anybody, a process of its own.

    python -m bench.pressing --url URL connects COUNT BYTES     requests with IDs of that size
    python -m bench.pressing --url URL acks COUNT               acks that are nobody's
    python -m bench.pressing --url URL deaf SECONDS             a subscriber that stops reading

It prints how many of its requests were refused, and ends when the server has dealt with it all.
"""

import argparse
import os
import select
import sys
import time
from contextlib import closing

from bench.openloop import Publisher
from bench.raw import Line, RawClient, new_inbox
from stan.wire.frames import pub
from stan.wire.stan_pb2 import (
    Ack,
    ConnectRequest,
    ConnectResponse,
    StartPosition,
    SubscriptionRequest,
    SubscriptionResponse,
)

_PATIENCE_S = 30.0
_AT_ONCE_BYTES = 1024 * 1024
_BACKLOG = 30_000
_BACKLOG_BYTES = 1_000
_DEAF_SUBSCRIPTIONS = 5


def press_connects(url: str, cluster_id: str, count: int, size: int) -> int:
    """Ask to be let in with client IDs of this size; how many were refused."""
    with closing(Line(url)) as line:
        return _ask_to_connect(line, f"_STAN.discover.{cluster_id}", count, size)


def _ask_to_connect(line: Line, subject: str, count: int, size: int) -> int:
    inbox = new_inbox()
    line.subscribe(inbox)
    refused = answered = sent = 0
    end_s = time.monotonic() + _PATIENCE_S
    while answered < count:
        if sent < count and len(line.unsent) < _AT_ONCE_BYTES:
            request = ConnectRequest(
                clientID=f"{sent:08}".ljust(size, "x"), heartbeatInbox=f"_HB.{sent}"
            )
            line.send(pub(subject, request.SerializeToString(), inbox))
            sent += 1
        waits = [line] if line.unsent else []
        idle_s = 0.0 if sent < count and len(line.unsent) < _AT_ONCE_BYTES else 1.0
        readable, _, _ = select.select([line], waits, [], idle_s)
        line.flush()
        if readable and line.receive():
            frames, line.frames = line.frames, []
            answered += len(frames)
            refused += sum(bool(ConnectResponse.FromString(each[2]).error) for each in frames)
        if time.monotonic() > end_s:
            raise TimeoutError(f"{count - answered} of {count} were not answered")
    return refused


def press_acks(url: str, cluster_id: str, count: int) -> int:
    """Acks for no inbox, of no message, and such that cannot be read."""
    client = RawClient(url, "acking", cluster_id)
    _, ack_inbox = client.subscribe("acked")
    foreign = Ack(subject="acked", sequence=4_000_000).SerializeToString()
    prefix = ack_inbox.rpartition(b".")[0]
    acks = b"".join(
        (
            pub(prefix + b".nobody", foreign),
            pub(ack_inbox, b"\xff\xff nothing"),
            pub(ack_inbox, foreign),
            pub(ack_inbox, Ack(subject="nowhere", sequence=1).SerializeToString()),
        )
    )
    for _ in range(count // 4 // 1000):
        client.line.send(acks * 1000)
        client.line.settle()
    client.close()  # answered behind the acks
    return 0


def press_deaf(url: str, cluster_id: str, seconds: float) -> int:
    """Subscribe five times to a backlog, with no bound on what is in flight, and do not read."""
    _fill(url, cluster_id)
    client = RawClient(url, "deaf", cluster_id)
    with closing(client.line), closing(Line(url)) as asking:
        _subscribe_deaf(client, asking)
        time.sleep(seconds)  # it is this long that the neighbor is watched
    return 0


def _fill(url: str, cluster_id: str) -> None:
    publisher = RawClient(url, "filling", cluster_id)
    filling = Publisher(publisher, "deaf", _BACKLOG_BYTES)
    acked = 0
    for first in range(0, _BACKLOG, 1000):
        filling.send(first, first + 1000)
        while acked < first + 1000:
            publisher.line.wait(time.monotonic() + _PATIENCE_S)
            acked += len(publisher.frames(filling.ack_subject))
    publisher.close()


def _subscribe_deaf(client: RawClient, asking: Line) -> None:
    inbox = new_inbox()
    asking.subscribe(inbox)
    for _ in range(_DEAF_SUBSCRIPTIONS):
        to = b"_INBOX.deaf." + os.urandom(8).hex().encode()
        client.line.subscribe(to)
        request = SubscriptionRequest(
            clientID="deaf",
            subject="deaf",
            inbox=to.decode(),
            maxInFlight=1_000_000,
            ackWaitInSecs=2,
            startPosition=StartPosition.First,
        )
        asking.send(pub(client.server.subRequests, request.SerializeToString(), inbox))
        while not asking.frames:
            asking.wait(time.monotonic() + _PATIENCE_S)
        answer, asking.frames = asking.frames[0][2], []
        if error := SubscriptionResponse.FromString(answer).error:
            raise ConnectionError(error)


def main(argv: list[str]) -> int:
    """Run a load. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pressing", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--cluster", default="test-cluster")
    parser.add_argument("load", choices=("connects", "acks", "deaf"))
    parser.add_argument("numbers", type=int, nargs="+")
    options = parser.parse_args(argv)
    press = {"connects": press_connects, "acks": press_acks, "deaf": press_deaf}[options.load]
    try:
        print(press(options.url, options.cluster, *options.numbers))  # type: ignore[operator]
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
