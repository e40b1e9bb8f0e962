"""Somebody who publishes one message at a time beside a load, and times each ack.

A process of its own: NATS frames on one socket, as `bench.openloop`. It says "ready" when its
first messages were acked, goes on until its standard input ends, and prints what came of it as
JSON. Invariant: each message was acked, once, before the next one was sent.
"""

import argparse
import json
import select
import sys
import time
from contextlib import closing

from bench.openloop import LatencyError, Publisher, pick
from bench.raw import RawClient
from stan.wire.stan_pb2 import PubAck

CHANNEL = "neighbor"
_PAYLOAD_BYTES = 128
_WARM_UP = 20
_PATIENCE_S = 60.0


class Neighbor:
    """Raises LatencyError when it is refused or forgotten, and OSError when the line ends."""

    def __init__(self, url: str, cluster_id: str) -> None:
        self._client = RawClient(url, "neighbor", cluster_id)
        self._publisher = Publisher(self._client, CHANNEL, _PAYLOAD_BYTES)
        self._sent = 0

    def close(self) -> None:
        """Leave."""
        self._client.close()

    def publish(self) -> float:
        """Publish a message; how many seconds its ack took."""
        line = self._client.line
        began_s = time.perf_counter()
        self._publisher.send(self._sent, self._sent + 1)
        self._sent += 1
        end_s = time.monotonic() + _PATIENCE_S
        while not (acks := self._client.frames(self._publisher.ack_subject)):
            line.wait(end_s)
        took_s = time.perf_counter() - began_s
        for _, _, payload in acks:
            if error := PubAck.FromString(payload).error:
                raise LatencyError(f"refused: {error}")
        return took_s


def is_over() -> bool:
    """Whether standard input has ended."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def main(argv: list[str]) -> int:
    """Publish until nobody wants more. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.neighbor", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--cluster", default="test-cluster")
    options = parser.parse_args(argv)
    try:
        with closing(Neighbor(options.url, options.cluster)) as neighbor:
            for _ in range(_WARM_UP):
                neighbor.publish()
            print("ready", flush=True)
            took_s = []
            while not is_over():
                took_s.append(neighbor.publish())
    except (LatencyError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    ordered = sorted(int(each * 1e6) for each in took_s)
    print(json.dumps({"ack_us": [pick(ordered, 0.5), pick(ordered, 0.99), ordered[-1]]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
