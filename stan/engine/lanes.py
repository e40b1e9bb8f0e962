"""Publishes that wait for a batch: bursts, in a lane for each publisher.

What fits into one batch leaves in the order in which it came. Of what does not, those leave first
who have little; the others leave a burst a lane, in turn, and few of them when somebody with
little waits for the batch. So a flood waits for itself, and not somebody else for it. Invariant:
the bursts of one publisher never change their order.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator

from stan.engine.bursts import Burst

# One burst of so many bytes as they came is little.
LITTLE_BYTES = 16 * 1024
# A batch that somebody with little waits for has this part of what others are usually let.
_HASTE = 8


class Lanes:
    def __init__(self) -> None:
        self.last_number: int = 0  # that was ever given
        self._lanes: OrderedDict[str, deque[Burst]] = OrderedDict()

    def append(self, burst: Burst) -> None:
        """Queue a burst behind all others of its publisher."""
        self.last_number += 1
        burst.number = self.last_number
        lane = self._lanes.get(burst.client_id)
        if lane is None:
            self._lanes[burst.client_id] = deque((burst,))
        else:
            lane.append(burst)

    def drop_last(self, burst: Burst) -> None:
        """Forget the burst that its publisher queued last."""
        lane = self._lanes[burst.client_id]
        lane.pop()
        if not lane:
            del self._lanes[burst.client_id]

    def drop(self, client_id: str) -> list[Burst]:
        """Take all bursts of this publisher away."""
        return list(self._lanes.pop(client_id, ()))

    def put_back(self, bursts: list[Burst]) -> None:
        """Queue what was taken again, each before all others of its publisher."""
        for burst in reversed(bursts):
            lane = self._lanes.setdefault(burst.client_id, deque())
            lane.appendleft(burst)

    def count(self, client_id: str) -> int:
        """How many bursts of this publisher wait."""
        lane = self._lanes.get(client_id)
        return 0 if lane is None else len(lane)

    def first_number(self) -> int:
        """The number of the burst that has waited longest; 0 when none waits."""
        return min([lane[0].number for lane in self._lanes.values()], default=0)

    def take_all(self) -> list[Burst]:
        """Everything, in the order in which it came."""
        lanes = self._lanes
        if len(lanes) == 1:
            return list(lanes.popitem()[1])
        taken = list(self)
        taken.sort(key=_number)
        lanes.clear()
        return taken

    def take(self, most_messages: int, most_bytes: int) -> list[Burst]:
        """Bursts until one of these is reached: of those who have little, up to a half of it, and
        one of each other publisher in turn, who get less when somebody with little waits."""
        lanes = self._lanes
        taken = self._take_little(most_messages // 2, most_bytes // 2)
        if taken:
            most_messages = max(1, most_messages // _HASTE)  # the others have something, too
            most_bytes //= _HASTE
        messages = payload_bytes = 0
        while lanes and messages < most_messages and payload_bytes < most_bytes:
            client_id, lane = lanes.popitem(last=False)
            burst = lane.popleft()
            if lane:
                lanes[client_id] = lane
            taken.append(burst)
            messages += len(burst.guids)
            payload_bytes += burst.payload_bytes
        taken.sort(key=_number)
        return taken

    def _take_little(self, most_messages: int, most_bytes: int) -> list[Burst]:
        """The bursts of publishers who have a small one and no other."""
        taken: list[Burst] = []
        for lane in self._lanes.values():
            burst = lane[0]
            if len(lane) > 1 or burst.queued_bytes > LITTLE_BYTES:
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
        return iter([burst for lane in self._lanes.values() for burst in lane])


def _number(burst: Burst) -> int:
    return burst.number
