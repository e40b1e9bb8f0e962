"""Publishes that wait for a batch: bursts, in a lane for each publisher.

What fits into one batch leaves in the order in which it came. What does not leaves a burst a
lane, in turn, so that a flood waits for itself and not somebody else for it. Invariant: the
bursts of one publisher never change their order.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator

from stan.engine.bursts import Burst


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
        """Bursts until one of these is reached, one of each publisher in turn."""
        lanes = self._lanes
        taken: list[Burst] = []
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

    def __iter__(self) -> Iterator[Burst]:
        return iter([burst for lane in self._lanes.values() for burst in lane])


def _number(burst: Burst) -> int:
    return burst.number
