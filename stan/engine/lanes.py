"""Publishes that wait for a batch: bursts, in a lane for each publisher.

What fits into one batch leaves in the order in which it came. Of what does not, those leave first
who have little; the others leave a burst a lane, in turn, and few of them when somebody with
little waits for the batch. So a flood waits for itself, and not somebody else for it. Invariant:
the bursts of one publisher never change their order.
"""

from collections import OrderedDict
from collections.abc import Iterator

from stan.engine.bursts import Burst

# One burst of so many bytes as they came is little.
LITTLE_BYTES = 16 * 1024
# A batch that somebody with little waits for has this part of what others are usually let.
_HASTE = 8


class Lanes:
    def __init__(self) -> None:
        self.last_number: int = 0  # that was ever given
        # The first burst of each lane, which knows the rest: most have no other.
        self._lanes: OrderedDict[str, Burst] = OrderedDict()

    def append(self, burst: Burst) -> None:
        """Queue a burst behind all others of its publisher."""
        self.last_number += 1
        burst.number = self.last_number
        first = self._lanes.get(burst.client_id)
        if first is None:
            self._lanes[burst.client_id] = burst
            return
        if first.last is None:
            first.behind = burst
        else:
            first.last.behind = burst
        first.last = burst

    def drop_last(self, burst: Burst) -> None:
        """Forget the burst that its publisher queued last."""
        first = self._lanes[burst.client_id]
        if first is burst:
            del self._lanes[burst.client_id]
            return
        before = first
        while before.behind is not None and before.behind is not burst:
            before = before.behind
        before.behind = None
        first.last = before if before is not first else None

    def drop(self, client_id: str) -> list[Burst]:
        """Take all bursts of this publisher away."""
        first = self._lanes.pop(client_id, None)
        return [] if first is None else _take_lane(first)

    def put_back(self, bursts: list[Burst]) -> None:
        """Queue what was taken again, each before all others of its publisher."""
        for burst in reversed(bursts):
            first = self._lanes.get(burst.client_id)
            if first is not None:
                burst.behind = first
                burst.last = first if first.last is None else first.last
                first.last = None
            self._lanes[burst.client_id] = burst

    def has_several(self, client_id: str) -> bool:
        """Whether more than one burst of this publisher waits."""
        first = self._lanes.get(client_id)
        return first is not None and first.last is not None

    def first_number(self) -> int:
        """The number of the burst that has waited longest; 0 when none waits."""
        return min([first.number for first in self._lanes.values()], default=0)

    def take_all(self) -> list[Burst]:
        """Everything, in the order in which it came."""
        taken: list[Burst] = []
        lanes = self._lanes
        for first in lanes.values():
            if first.last is None:
                taken.append(first)
            else:
                taken += _take_lane(first)
        if len(lanes) > 1:
            taken.sort(key=_number)
        lanes.clear()
        return taken

    def take(self, most_messages: int, most_bytes: int) -> list[Burst]:
        """Bursts until one of these is reached: first of those who have little, then one of each
        other publisher in turn, who get less when somebody with little waits."""
        lanes = self._lanes
        taken = self._take_little(most_messages, most_bytes)
        if taken:
            most_messages = max(1, most_messages // _HASTE)  # the others have something, too
            most_bytes //= _HASTE
        messages = payload_bytes = 0
        while lanes and messages < most_messages and payload_bytes < most_bytes:
            client_id, burst = lanes.popitem(last=False)
            second = burst.behind
            if second is not None:
                second.last = burst.last if burst.last is not second else None
                burst.behind = burst.last = None
                lanes[client_id] = second
            taken.append(burst)
            messages += len(burst.guids)
            payload_bytes += burst.payload_bytes
        taken.sort(key=_number)
        return taken

    def _take_little(self, most_messages: int, most_bytes: int) -> list[Burst]:
        """The bursts of publishers who have a small one and no other."""
        taken: list[Burst] = []
        for burst in self._lanes.values():
            if burst.last is not None or burst.queued_bytes > LITTLE_BYTES:
                continue
            most_messages -= len(burst.guids)
            most_bytes -= burst.payload_bytes
            if most_messages < 0 or most_bytes < 0:
                break
            taken.append(burst)
        for burst in taken:
            del self._lanes[burst.client_id]
        return taken

    def __iter__(self) -> Iterator[Burst]:
        waiting: list[Burst] = []
        for first in self._lanes.values():
            burst: Burst | None = first
            while burst is not None:
                waiting.append(burst)
                burst = burst.behind
        return iter(waiting)


def _take_lane(first: Burst) -> list[Burst]:
    """All of a lane that is nobody's any more."""
    taken: list[Burst] = []
    first.last = None
    burst: Burst | None = first
    while burst is not None:
        taken.append(burst)
        behind = burst.behind
        burst.behind = None
        burst = behind
    return taken


def _number(burst: Burst) -> int:
    return burst.number
