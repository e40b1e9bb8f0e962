"""One heap of deadlines for the whole engine.

A Timer belongs to one thing and has at most one deadline. Moving a deadline later costs
nothing: the heap's entry is found stale when it comes up and is pushed again. No clock
lives here; `due` is told what time it is.
"""

from heapq import heappop, heappush


class Timer:
    """A deadline that something owns. `deadline_ns` is 0 while it is idle."""

    def __init__(self) -> None:
        self.deadline_ns: int = 0
        # The earliest entry for this timer in the heap; 0 when there is none.
        self.entry_ns: int = 0


class Timers:
    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._pushes: int = 0

    def set(self, timer: Timer, deadline_ns: int) -> None:
        """Give the timer this deadline instead of the one it had."""
        timer.deadline_ns = deadline_ns
        if timer.entry_ns == 0 or deadline_ns < timer.entry_ns:
            self._push(timer, deadline_ns)

    def clear(self, timer: Timer) -> None:
        """Make the timer idle."""
        timer.deadline_ns = 0

    def next_deadline_ns(self) -> int:
        """The earliest moment at which `due` may have something; 0 when there is none.

        It may be earlier than any deadline, never later.
        """
        return self._heap[0][0] if self._heap else 0

    def entries(self) -> list[tuple[int, int, Timer]]:
        """The heap as it is, stale entries included."""
        return self._heap

    def due(self, now_ns: int) -> list[Timer]:
        """The timers whose deadline has passed, earliest first. They are idle afterwards."""
        heap = self._heap
        out: list[Timer] = []
        while heap and heap[0][0] <= now_ns:
            entry_ns, _, timer = heappop(heap)
            if timer.entry_ns != entry_ns:
                continue  # an earlier entry took its place
            timer.entry_ns = 0
            if timer.deadline_ns == 0:
                continue
            if timer.deadline_ns > now_ns:
                self._push(timer, timer.deadline_ns)
                continue
            timer.deadline_ns = 0
            out.append(timer)
        return out

    def _push(self, timer: Timer, deadline_ns: int) -> None:
        timer.entry_ns = deadline_ns
        self._pushes += 1
        heappush(self._heap, (deadline_ns, self._pushes, timer))
