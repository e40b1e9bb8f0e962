"""What presses on a server, and somebody beside it."""

import json

import pytest

from bench import neighbor, pressing
from bench.peers import Running


def test_a_neighbor_times_its_acks(
    ours: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = iter([False, False, False, True])
    monkeypatch.setattr(neighbor, "is_over", lambda: next(looks))
    assert neighbor.main(["--url", ours.url]) == 0
    ready, found = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    median, p99, worst = json.loads(found)["ack_us"]
    assert 0 < median <= p99 <= worst


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["connects", "5", "2000"], 5),
        (["connects", "5", "20"], 0),
        (["acks", "8000"], 0),
    ],
)
def test_a_load_ends_and_tells_what_was_refused(
    ours: Running, capsys: pytest.CaptureFixture[str], words: list[str], refused: int
) -> None:
    assert pressing.main(["--url", ours.url, *words]) == 0
    assert capsys.readouterr().out == f"{refused}\n"


def test_a_subscriber_that_does_not_read_is_let_be(
    ours: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressing, "_BACKLOG", 1000)
    assert pressing.main(["--url", ours.url, "deaf", "0"]) == 0
    assert capsys.readouterr().out == "0\n"
