"""The heap of deadlines against a plain dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from stan.engine.timers import Timer, Timers

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 4), st.integers(1, 50)),
        st.tuples(st.just("clear"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("due"), st.just(0), st.integers(0, 20)),
    ),
    max_size=40,
)


@given(STEPS)
def test_every_deadline_comes_once_and_in_time(steps: list[tuple[str, int, int]]) -> None:
    timers, own, expected, now = Timers(), [Timer() for _ in range(5)], dict[int, int](), 0
    for verb, index, number in steps:
        if verb == "set":
            timers.set(own[index], now + number)
            expected[index] = now + number
        elif verb == "clear":
            timers.clear(own[index])
            expected.pop(index, None)
        else:
            now += number
            due = {index for index, deadline in expected.items() if deadline <= now}
            came = timers.due(now)
            assert {own.index(timer) for timer in came} == due
            assert len(came) == len(due)
            for index in due:
                del expected[index]
        earliest = timers.next_deadline_ns()
        if expected:
            assert 0 < earliest <= min(expected.values())


def test_an_idle_heap_has_no_deadline() -> None:
    assert Timers().next_deadline_ns() == 0
    assert Timers().due(10) == []
