"""The server's clock: the time of day for the engine, which must never run backwards.

Deadlines and timestamps share one clock. When somebody sets the system's clock back, this
one goes on at half speed until the time of day has caught up, so no heartbeat, redelivery
or retry waits for an hour that never was. A step forward is followed at once.
"""

import time
from collections.abc import Callable

# Below this the two clocks merely drift.
_JITTER_NS = 1_000_000


class SteadyClock:
    """Unix nanoseconds, never less than the time before."""

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._now_ns = wall()
        self._ticks_ns = monotonic()

    def __call__(self) -> int:
        wall_ns, ticks_ns = self._wall(), self._monotonic()
        elapsed_ns = ticks_ns - self._ticks_ns
        self._ticks_ns = ticks_ns
        if self._now_ns + elapsed_ns > wall_ns + _JITTER_NS:
            self._now_ns += elapsed_ns // 2
        elif wall_ns > self._now_ns:
            self._now_ns = wall_ns
        return self._now_ns
