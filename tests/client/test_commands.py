"""The flags, durations, numbers and reports of the commands."""

from typing import Any

import pytest

import stan
from stan.cli import bench, pub, sub
from stan.cli.load import share
from stan.cli.report import Sample, format_csv, format_report
from stan.cli.text import group_digits, human_bytes
from stan.flags import FlagError, HelpWanted, parse_flags
from stan.units import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h", 3_600_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("1.5s", 1_500_000_000),
        ("-2ms", -2_000_000),
        (".5us", 500),
        ("3\u00b5s", 3000),
        ("0", 0),
        ("+7ns", 7),
        ("1h0m0.000000001s", 3_600_000_000_001),
    ],
)
def test_durations(text: str, expected: int) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "1", "h", "1 h", "1x", "-", ".s", "1h-2m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "argv",
    [
        ["-c", "x", "-a", "foo", "-b"],
        ["--c", "x", "--a", "foo", "-b"],
        ["-cluster=x", "--async=true", "foo", "-b"],
        ["--cluster=x", "-a", "--", "foo", "-b"],
    ],
)
def test_flags_have_one_or_two_dashes_and_end_at_the_first_argument(argv: list[str]) -> None:
    parsed = parse_flags(pub.FLAGS, argv)
    assert (parsed["c"], parsed["a"], parsed["id"]) == ("x", True, "stan-pub")
    assert parsed.arguments == ["foo", "-b"]
    assert parsed.given == {"c", "a"}


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["-nope"], "flag provided but not defined: -nope"),
        (["-sinc", "1h"], "flag provided but not defined: -sinc (did you mean -since?)"),
        (["-c"], "flag needs an argument: -c"),
        (["--seq", "x"], "invalid value for -seq: 'x' is not a whole number"),
        (["--seq=-1"], "invalid value for -seq: '-1' is negative"),
        (["--all=maybe"], "invalid value for -all: 'maybe' is neither true nor false"),
        (
            ["--since", "1"],
            "invalid value for -since: invalid duration '1': write it like 30s, 1h15m or 500ms",
        ),
    ],
)
def test_flags_that_cannot_be_understood(argv: list[str], text: str) -> None:
    with pytest.raises(FlagError) as raised:
        parse_flags(sub.FLAGS, argv)
    assert str(raised.value) == text


def test_help() -> None:
    with pytest.raises(HelpWanted):
        parse_flags(sub.FLAGS, ["-h"])
    for command in (pub, sub, bench):
        assert command.USAGE.startswith("Usage: stan-")
        assert "-cluster" in command.USAGE


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        ([], {"start_at": stan.StartPosition.FIRST}),
        (["--all"], {"start_at": stan.StartPosition.FIRST}),
        (["--last"], {"start_at": stan.StartPosition.LAST}),
        (["--seq", "5"], {"sequence": 5}),
        (["--since", "1h"], {"delta": 3600.0}),
        (["--since", "1h", "--new_only"], {"delta": 3600.0}),
        (["--new_only"], {"start_at": stan.StartPosition.NEW}),
        (["--all=false"], {"start_at": stan.StartPosition.NEW}),
        (["--all", "--seq", "5"], {"sequence": 5}),
    ],
)
def test_an_explicit_start_wins_over_the_default(argv: list[str], start: dict[str, Any]) -> None:
    assert sub.choose_start(parse_flags(sub.FLAGS, argv)) == start


def test_messages_are_shared_with_the_remainder_first() -> None:
    assert share(10, 3) == [4, 3, 3]
    assert share(2, 3) == [1, 1, 0]


def test_numbers() -> None:
    assert group_digits(1234567.9) == "1,234,567"
    sizes = [human_bytes(n) for n in (1, 2048, 5 * 1024**2, 3 * 1024**4)]
    assert sizes == ["1.00 B", "2.00 KB", "5.00 MB", "3072.00 GB"]


def test_the_report_of_publishers_and_subscribers() -> None:
    publishers = [Sample(1000, 1024, 0.0, 1.0), Sample(1000, 1024, 1.0, 2.0)]
    subscribers = [Sample(2000, 1024, 0.0, 2.0)]
    assert format_report(publishers, subscribers).splitlines() == [
        "NATS Streaming Pub/Sub stats: 2,000 msgs/sec ~ 1.95 MB/sec",
        " Pub stats: 1,000 msgs/sec ~ 1000.00 KB/sec",
        "  [1] 1,000 msgs/sec ~ 1000.00 KB/sec (1000 msgs)",
        "  [2] 1,000 msgs/sec ~ 1000.00 KB/sec (1000 msgs)",
        "  min 1,000 | avg 1,000 | max 1,000 | stddev 0 msgs",
        " Sub stats: 1,000 msgs/sec ~ 1000.00 KB/sec",
    ]


def test_the_report_of_one_kind() -> None:
    assert format_report([Sample(10, 10, 0.0, 1.0)], []) == "Pub stats: 10 msgs/sec ~ 100.00 B/sec"
    assert format_report([], [Sample(10, 10, 0.0, 1.0)]) == "Sub stats: 10 msgs/sec ~ 100.00 B/sec"


def test_the_csv() -> None:
    csv = format_csv("R", [Sample(10, 10, 0.0, 1.0, 20)], [Sample(10, 10, 0.0, 2.0, 21)])
    assert csv.splitlines() == [
        "#RunID,ClientID,MsgCount,MsgBytes,MsgsPerSec,BytesPerSec,DurationSecs",
        "R,S0,21,100,5,50.000000,2.000000",
        "R,P0,20,100,10,100.000000,1.000000",
    ]
