"""Twenty thousand hostile inputs, and what hypothesis thinks of.

`python -m tests.fuzz --inputs 1000000` is the long run.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stan.engine import invariants
from stan.wire.frames import Frame
from tests.fuzz.inputs import INJECTION, SUBJECTS, Inputs
from tests.fuzz.runs import run
from tests.fuzz.target import Target
from tests.simulation.operations import MalformedError, read_operations

FRAMES = st.tuples(
    st.one_of(st.sampled_from(list(SUBJECTS.values())), st.just(b"_INBOX.fuzz.f1a1")),
    st.sampled_from([b"", b"reply"]),
    st.one_of(st.none(), st.binary(max_size=80)),
)


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_thousand_inputs_break_nothing(seed: int) -> None:
    report = run(seed, 10_000)
    assert report.refused > 1000
    assert report.accepted > 1000


@given(st.lists(FRAMES, max_size=10))
@settings(max_examples=200, deadline=None)
def test_any_frames_break_nothing(frames: list[Frame]) -> None:
    target = Target()
    target.furnish()
    for frame in frames:
        target.feed(frame)
    invariants.check(target.engine)


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_damaged_requests_in_one_read_break_nothing(seed: int) -> None:
    target = Target()
    inputs = Inputs(Random(seed))
    inputs.ack_inboxes = target.furnish()
    target.engine.receive([inputs.frame() for _ in range(30)], target.now_ns)
    assert list(read_operations(b"".join(target.engine.take_sends()))) is not None
    invariants.check(target.engine)


@pytest.mark.parametrize(
    "data",
    [
        b"PUB " + INJECTION.encode() + b" 0\r\n\r\n",
        b"PUB a 1\r\n\r\n",
        b"PUB a  0\r\n\r\n",
        b"PUB > 0\r\n\r\n",
        b"PUB a..b 0\r\n\r\n",
        b"PUB a -1\r\n\r\n",
        b"SUB a 1\r\n",
        b"PUB " + b"a" * 5000 + b" 0\r\n\r\n",
        b"PUB a 0\r\n",
    ],
)
def test_the_reader_of_operations_is_strict(data: bytes) -> None:
    with pytest.raises(MalformedError):
        list(read_operations(data))
