"""The lists of partitions as they are sent, and what overlaps."""

import pytest

from stan.server.partition import split_names, unpack_names
from stan.wire.subjects import patterns_overlap


def test_a_list_comes_back_whatever_the_size_of_its_pieces() -> None:
    names = ("foo", "bar.*", "ä.>", "x" * 300)
    for most_bytes in (1, 10, 400, 10_000):
        pieces = split_names(names, most_bytes)
        assert [name for piece in pieces for name in unpack_names(piece)] == list(names)
    assert split_names(names, 10_000)[0].startswith(b"\x03\x00foo\x05\x00bar.*")


def test_what_is_cut_short_ends_the_list() -> None:
    assert unpack_names(b"\x03\x00foo\x09\x00ba") == ["foo"]
    assert unpack_names(b"\x03\x00foo\x09") == ["foo"]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("foo", "foo", True),
        ("foo", "bar", False),
        ("foo.*", "foo.bar", True),
        ("foo.*", "foo.bar.baz", False),
        ("foo.>", "foo.bar.baz", True),
        ("foo.>", "foo", False),
        ("foo.*.a", "foo.b.*", True),
        ("*.a", "b.c", False),
        (">", "foo", True),
    ],
)
def test_patterns_overlap(one: str, other: str, overlap: bool) -> None:
    assert patterns_overlap(one, other) is overlap
    assert patterns_overlap(other, one) is overlap
