"""What a standby holds: the frames that clients sent lately, in the order of their arrival.

It knows no NATS, no store and no engine. What the active has settled is let go, and beyond
`most_bytes` the oldest goes whatever it is. Invariant: what may be missing in between is
known: everything that arrived after `gap_ns` is held, or was settled.
"""

from collections import deque
from collections.abc import Callable

from stan.wire.frames import Frame

# What a frame costs besides its bytes: a tuple and three objects.
FRAME_BYTES = 200


class Standby:
    """A buffer of frames. It is deaf, and takes nothing, until it begins to listen. All times
    are those of `clock`."""

    def __init__(self, most_bytes: int, clock: Callable[[], int]) -> None:
        self.held_frames = 0
        self.held_bytes = 0
        self.dropped_frames = 0  # in all its life, for want of room
        # Of what arrived until then nothing is known; 0 when nothing can be missing.
        self.gap_ns = 0
        self._most_bytes = most_bytes
        self._clock = clock
        self._chunks: deque[tuple[int, int, list[Frame]]] = deque()  # arrival and bytes

    def listen(self) -> None:
        """Begin anew: what was sent before now was not heard."""
        self._chunks.clear()
        self.held_frames = self.held_bytes = 0
        self.miss()

    def miss(self) -> None:
        """Something sent until now may not have been heard."""
        self.gap_ns = self._clock()

    def receive(self, frames: list[Frame]) -> None:
        """Keep what arrived just now. The callback of the transport; it never raises."""
        size = sum([len(to) + len(reply) + len(data or b"") for to, reply, data in frames])
        size += len(frames) * FRAME_BYTES
        self._chunks.append((self._clock(), size, frames))
        self.held_frames += len(frames)
        self.held_bytes += size
        while self.held_bytes > self._most_bytes:
            arrived_ns, dropped = self._drop()
            self.dropped_frames += dropped
            self.gap_ns = max(self.gap_ns, arrived_ns)

    def settle(self, before_ns: int) -> None:
        """What arrived before this moment has been dealt with."""
        while self._chunks and self._chunks[0][0] < before_ns:
            self._drop()
        if self.gap_ns < before_ns:
            self.gap_ns = 0

    def take(self) -> list[tuple[int, list[Frame]]]:
        """All that is held, with the moment of its arrival; afterwards nothing is."""
        taken = [(arrived_ns, frames) for arrived_ns, _, frames in self._chunks]
        self._chunks.clear()
        self.held_frames = self.held_bytes = 0
        return taken

    def _drop(self) -> tuple[int, int]:
        """Let the oldest go; when it arrived and how many frames it was."""
        arrived_ns, size, frames = self._chunks.popleft()
        self.held_bytes -= size
        self.held_frames -= len(frames)
        return arrived_ns, len(frames)
