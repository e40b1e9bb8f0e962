"""Our server with nothing in it: every publish is acked as it comes, and nothing is stored.

For measuring what the way of a message costs without the server's own work: the processes, the
sockets and the event loop are those of the real one. `python -m bench.bare` takes its flags.
"""

import sys

from stan.cli.server import main
from stan.server.pump import Pump
from stan.wire.frames import Frame, pub

_PUBLISHES = b"_STAN.pub."
_receive = Pump.receive


def make_ack(payload: bytes) -> bytes:
    """The ack of a PubMsg: its guid, which stands behind the client ID."""
    start = 2 + payload[1]
    return b"\x0a" + payload[start + 1 : start + 2 + payload[start + 1]]


def receive(pump: Pump, frames: list[Frame]) -> None:
    """Ack publishes; all else goes its usual way."""
    others: list[Frame] = []
    acks: list[bytes] = []
    for frame in frames:
        subject, reply, payload = frame
        if payload is not None and subject.startswith(_PUBLISHES):
            acks.append(pub(reply, make_ack(payload)))
        else:
            others.append(frame)
    if acks:
        pump._transport.write(b"".join(acks))
    if others:
        _receive(pump, others)


if __name__ == "__main__":
    Pump.receive = receive  # type: ignore[method-assign, assignment]
    raise SystemExit(main(sys.argv[1:]))
