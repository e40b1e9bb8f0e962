"""The clock of the engine: never backwards, and back to the time of day in the end."""

from stan.server.clock import SteadyClock

SECOND_NS = 1_000_000_000


class Times:
    def __init__(self) -> None:
        self.wall_ns = 1_700_000_000 * SECOND_NS
        self.ticks_ns = 5

    def advance(self, seconds: float, step_s: float = 0) -> None:
        self.ticks_ns += int(seconds * SECOND_NS)
        self.wall_ns += int((seconds + step_s) * SECOND_NS)

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall_ns, lambda: self.ticks_ns)


def test_it_is_the_time_of_day() -> None:
    times = Times()
    clock = times.clock()
    times.advance(3)
    assert clock() == times.wall_ns


def test_a_step_forward_is_followed() -> None:
    times = Times()
    clock = times.clock()
    times.advance(1, step_s=3600)
    assert clock() == times.wall_ns


def test_a_step_back_slows_it_down_until_the_time_of_day_caught_up() -> None:
    times = Times()
    clock = times.clock()
    before = clock()
    times.advance(0, step_s=-10)
    assert clock() == before
    times.advance(10)
    assert clock() == before + 5 * SECOND_NS
    for _ in range(20):
        times.advance(1)
        clock()
    assert clock() == times.wall_ns
