"""Acks that are not for the channel of the inbox they came to: told of, and nothing else.

Anybody may send as many as NATS carries, so they are neither decoded nor logged one by one:
ten in a second are looked at, and the next line counts the others. Invariant: a stray ack
changes nothing but these counts.
"""

from stan.engine.outbox import Outbox
from stan.engine.state import Channel
from stan.units import SECOND_NS
from stan.wire.messages import parse
from stan.wire.stan_pb2 import Ack

# How many are looked at in a second.
MOST_LOOKS = 10


class Strays:
    def __init__(self, by_name: dict[str, Channel], outbox: Outbox) -> None:
        self.count: int = 0
        self._by_name: dict[str, Channel] = by_name
        self._outbox: Outbox = outbox
        self._looks: int = 0
        self._until_ns: int = 0  # the end of the second
        self._untold: int = 0

    def take(self, payload: bytes, now_ns: int) -> None:
        """Count one; look at it, and say what it is, if there were few of late."""
        self.count += 1
        if now_ns >= self._until_ns:
            self._until_ns = now_ns + SECOND_NS
            self._looks = 0
        if self._looks == MOST_LOOKS:
            self._untold += 1
            return
        self._looks += 1
        try:
            ack = parse(Ack, payload)
        except ValueError:
            return
        if ack.subject in self._by_name:
            return
        text = f"Unable to process ack seq={ack.sequence}, channel {ack.subject} not found"
        untold, self._untold = self._untold, 0
        self._outbox.log("error", f"{text} (and {untold} like it)" if untold else text)
