"""The load over many channels: all of it arrives, and what is refused ends it."""

import io
import json

import pytest

from bench import spread_load
from bench.peers import Running


@pytest.mark.parametrize("more", [[], ["--subscribed"]])
def test_every_message_is_acked_and_arrives(
    ours: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
) -> None:
    crowds: list[spread_load.Crowd] = []
    run = spread_load.run

    def follow(crowd: spread_load.Crowd, operations: list[bytes], is_delivered: bool) -> float:
        crowds.append(crowd)
        return run(crowd, operations, is_delivered)

    monkeypatch.setattr(spread_load, "run", follow)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    words = ["--url", ours.url, "--channels", "20", "--messages", "500", *more]
    assert spread_load.main(words) == 0
    ready, found = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert json.loads(found)["messages_per_s"] > 0
    assert (crowds[-1].acked, crowds[-1].delivered) == (500, 500 if more else 0)


def test_a_refusal_ends_the_load(ours: Running, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--url", ours.url, "--channels", "200", "--messages", "500"]
    assert spread_load.main(words) == 1
    assert "too many channels" in capsys.readouterr().err
