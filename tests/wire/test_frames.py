"""The splitter of chunks: every cut gives the same frames, and nonsense is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stan.wire.frames import MEMORABLE_BYTES, Frame, Said, pub, split

TAPPED = frozenset({b"7"})

OPERATIONS = st.lists(
    st.one_of(
        st.binary(max_size=30).map(lambda p: b"MSG foo 7 %d\r\n%b\r\n" % (len(p), p)),
        st.binary(max_size=30).map(lambda p: b"MSG foo 7 re.ply %d\r\n%b\r\n" % (len(p), p)),
        st.binary(max_size=30).map(lambda p: b"MSG foo 8 %d\r\n%b\r\n" % (len(p), p)),
        st.binary(max_size=9).map(
            lambda p: b"HMSG foo 7 12 %d\r\nNATS/1.0\r\n\r\n%b\r\n" % (12 + len(p), p)
        ),
        st.sampled_from(
            [
                b"PING\r\n",
                b"+OK\r\n",
                b"-ERR 'x'\r\n",
                b"HMSG in 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
            ]
        ),
    ),
    max_size=8,
)


def split_in_pieces(
    stream: bytes, cuts: list[int], known: dict[bytes, Said] | None = None
) -> tuple[list[Frame], list[bytes], bytes]:
    frames: list[Frame] = []
    others: list[bytes] = []
    held = b""
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    for begin, end in itertools.pairwise(edges):
        held += stream[begin:end]
        got, rest, consumed, needed = split(held, TAPPED, known)
        frames += got
        others += rest
        held = held[consumed:]
        assert needed == 0 or needed > len(held)
    return frames, others, held


@given(OPERATIONS, st.lists(st.integers(0, 300), max_size=6))
def test_cuts_change_nothing(operations: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(operations)
    whole = split_in_pieces(stream, [])
    assert split_in_pieces(stream, cuts) == whole
    assert whole[2] == b""
    assert len(whole[0]) + len(whole[1]) == len(operations)


@given(OPERATIONS, OPERATIONS, st.lists(st.integers(0, 300), max_size=6))
def test_lines_that_are_remembered_change_nothing(
    before: list[bytes], operations: list[bytes], cuts: list[int]
) -> None:
    known: dict[bytes, Said] = {}
    split_in_pieces(b"".join(before), [], known)
    stream = b"".join(operations)
    assert split_in_pieces(stream, cuts, known) == split_in_pieces(stream, [])


def test_only_whole_lines_of_what_is_tapped_are_remembered() -> None:
    known: dict[bytes, Said] = {}
    long = b"a" * MEMORABLE_BYTES
    split(b"MSG foo 7 1\r\nx\r\nMSG foo 8 1\r\nx\r\nMSG %b 7 1\r\nx\r\n" % long, TAPPED, known)
    assert known == {b"MSG foo 7 1\r\n": (b"foo", b"", 1, b"MSG foo 7 ")}


def test_a_message_is_subject_reply_and_payload() -> None:
    frames, others, consumed, needed = split(b"MSG a.b 7 r 5\r\nhe\r\no\r\nPING\r\n", TAPPED)
    assert frames == [(b"a.b", b"r", b"he\r\no")]
    assert others == [b"PING\r\n"]
    assert (consumed, needed) == (28, 0)


def test_headers_are_left_out() -> None:
    chunk = b"HMSG a 7 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n"
    assert split(chunk, TAPPED)[0] == [(b"a", b"", b"hi")]


def test_nobody_listening_is_a_payload_of_none() -> None:
    chunk = b"HMSG a 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    assert split(chunk, TAPPED)[0] == [(b"a", b"", None)]


def test_an_unfinished_message_tells_what_it_needs() -> None:
    assert split(b"PING\r\nMSG a 7 5\r\nhe", TAPPED) == ([], [b"PING\r\n"], 6, 18)
    assert split(b"MSG a 7", TAPPED) == ([], [], 0, 0)


@pytest.mark.parametrize(
    "chunk",
    [
        b"MSG a 7 x\r\n\r\n",
        b"MSG a 7 -20\r\n\r\n",
        b"MSG a 8 -3\r\n\r\n",
        b"HMSG a 7 x 4\r\n1234\r\n",
        b"HMSG a 7 9 4\r\n1234\r\n",
        b"HMSG a 7 -1 4\r\n1234\r\n",
        b"HMSG a 7 0 -40\r\n1234\r\n",
    ],
)
def test_impossible_sizes_are_value_errors(chunk: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        split(chunk, TAPPED)


@given(
    st.lists(st.sampled_from([b"MSG ", b"HMSG", b" 7 ", b"-1", b"9", b"\r\n", b"a"]), max_size=14)
)
def test_any_pieces_are_consumed_or_refused(pieces: list[bytes]) -> None:
    chunk = b"".join(pieces)
    try:
        _, _, consumed, needed = split(chunk, TAPPED)
    except ValueError:
        return
    assert 0 <= consumed <= len(chunk)
    assert needed == 0 or needed > len(chunk) - consumed


@given(st.binary(max_size=40))
def test_what_is_published_is_what_is_split(payload: bytes) -> None:
    assert pub("a.b", payload) == b"PUB a.b %d\r\n%b\r\n" % (len(payload), payload)
    assert pub(b"a", payload, b"r") == b"PUB a r %d\r\n%b\r\n" % (len(payload), payload)
    received = b"MSG a 7 " + pub("x", payload)[len(b"PUB x ") :]
    assert split(received, TAPPED)[0] == [(b"a", b"", payload)]


def test_white_space_behind_a_size_does_not_shorten_the_next() -> None:
    chunk = b"MSG a 1 1 \r\nx\r\nMSG a 1 12\r\n" + b"y" * 12 + b"\r\n"
    frames, others, consumed, _ = split(chunk, frozenset([b"1"]))
    assert [payload for _, _, payload in frames] == [b"x", b"y" * 12]
    assert (others, consumed) == ([], len(chunk))
