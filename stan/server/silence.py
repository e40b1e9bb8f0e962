"""When the silence of an active proves that it is gone.

NATS says at once when nobody listens to a subject. It may be wrong for a moment: a server that
lost its connection connects again, and a NATS server that has just found the others does not
know yet who listens there. So it must be said several times in a row, over a while, about one
and the same holder of the lease.
"""

TIMES = 5
SPREAD_S = 0.35


class Silence:
    def __init__(self) -> None:
        self._epoch = 0
        self._times = 0
        self._since_s = 0.0
        self._last_s = 0.0

    def observe(self, epoch: int, now_s: float) -> None:
        """Nobody listened while this epoch was the store's."""
        if epoch != self._epoch or not self._times:
            self._epoch, self._times, self._since_s = epoch, 0, now_s
        self._times += 1
        self._last_s = now_s

    def forget(self) -> None:
        """Somebody may be there, or nothing can be known."""
        self._times = 0

    def is_proof(self, epoch: int) -> bool:
        """Whether the holder with this epoch is gone."""
        is_long = self._last_s - self._since_s >= SPREAD_S
        return epoch == self._epoch and self._times >= TIMES and is_long
