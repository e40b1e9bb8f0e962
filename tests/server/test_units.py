"""Durations and sizes as operators write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stan.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30_000_000_000),
        ("1h30m5.5s", 5_405_500_000_000),
        ("-1.5s", -1_500_000_000),
        (".5ms", 500_000),
        ("250us", 250_000),
        ("250µs", 250_000),
        ("7ns", 7),
    ],
)
def test_durations_are_read(text: str, duration_ns: int) -> None:
    assert parse_duration(text) == duration_ns


@pytest.mark.parametrize("text", ["", "5", "s", "1d", "1 s", "1s 2m", "--1s", "999999999h"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (250_000_000, "250ms"),
        (5_000_000_000, "5s"),
        (60_000_000_000, "1m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (5_405_500_000_000, "1h30m5.5s"),
        (-1_000_000_000, "-1s"),
    ],
)
def test_durations_are_written_as_go_does(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_a_written_duration_reads_back(duration_ns: int) -> None:
    assert parse_duration(format_duration(duration_ns)) == duration_ns


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1000", 1000),
        ("1k", 1000),
        ("1Ki", 1024),
        ("64KB", 65536),
        ("2 MiB", 2 << 20),
        ("-1", -1),
        ("1T", 10**12),
        ("1TB", 1 << 40),
    ],
)
def test_sizes_are_read(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "KB", "1.5GB", "1PB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(1000, "1000 B"), (1024, "1.00 KB"), (1_024_000_000, "976.56 MB"), (5 << 40, "5.00 TB")],
)
def test_sizes_are_written_as_the_banner_does(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text
