"""The open-loop load: what is due when, what a latency counts from, and a real run."""

import time

import pytest

from bench.openloop import LatencyError, Publisher, Run, pick, run_open_loop
from bench.peers import Running
from bench.raw import RawClient


def started(messages: int = 100, rate: int = 1000) -> Run:
    run = Run(rate, messages)
    run.start_ns = 5_000_000
    run.sent = messages
    return run


def test_messages_are_due_at_the_rate_whatever_was_answered() -> None:
    run = started()
    assert run.due(run.start_ns) == 1
    assert run.due(run.start_ns + 999_999) == 1
    assert run.due(run.start_ns + 1_000_000) == 2
    assert run.due(run.start_ns + 10**12) == 100


def test_at_a_high_rate_messages_are_due_in_bursts() -> None:
    run = started(100, 40_000)
    assert run.due(run.start_ns) == 10
    assert run.due(run.start_ns + 249_999) == 10
    assert run.due(run.start_ns + 250_000) == 20
    assert {run.due_ns(index) - run.start_ns for index in range(10, 20)} == {250_000}


def test_a_latency_counts_from_when_the_message_was_due() -> None:
    run = started()
    run.acked.add(3, run.due_ns(3) + 7_000)
    assert run.acked.latencies_ns[3] == 7_000


@pytest.mark.parametrize("index", [-1, 3, 100])
def test_an_answer_must_be_the_first_for_a_message_that_was_sent(index: int) -> None:
    run = started()
    run.acked.add(3, run.due_ns(4))
    with pytest.raises(LatencyError, match=f"message {index} was acked twice, or never sent"):
        run.acked.add(index, run.due_ns(5))


def test_percentiles_are_values_that_were_measured() -> None:
    ordered = list(range(1, 1001))
    assert [pick(ordered, part) for part in (0.5, 0.99, 0.999)] == [500, 990, 999]
    assert pick([7], 0.5) == pick([7], 0.999) == 7


def test_the_first_messages_do_not_count() -> None:
    run = started(4)
    for index, late_ns in enumerate((9_000_000, 1_000, 2_000, 3_000)):
        run.delivered.add(index, run.due_ns(index) + late_ns)
    assert run.delivered.percentiles_us(1) == [2.0, 3.0, 3.0]


def test_every_message_is_acked_and_delivered(ours: Running) -> None:
    run = Run(2000, 300)
    run_open_loop(ours.url, "openloop.complete", run, 64)
    assert run.is_complete
    assert min(run.acked.latencies_ns) > 0
    assert min(run.delivered.latencies_ns) > 0


def test_a_refusal_ends_the_run(ours: Running) -> None:
    client = RawClient(ours.url, "refused")
    publisher = Publisher(client, "not/valid", 64)
    run = started(1)
    publisher.send(0, 1)
    while not client.line.frames:
        client.line.wait(time.monotonic() + 10)
    with pytest.raises(LatencyError, match="stan: invalid publish request"):
        publisher.read(run.acked, run.start_ns)
    client.close()
