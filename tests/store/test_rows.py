"""Records to rows and back, for any text and any set of sequences."""

from hypothesis import given
from hypothesis import strategies as st

from stan.store.sql.rows import digest_key, pack_ranges, pack_text, unpack_ranges, unpack_text


@given(st.text(st.sampled_from("\0\\0ab")) | st.text())
def test_any_text_survives_and_holds_no_nul(text: str) -> None:
    packed = pack_text(text)
    assert "\0" not in packed
    assert unpack_text(packed) == text


@given(st.text(st.sampled_from("\0\\0a")), st.text(st.sampled_from("\0\\0a")))
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert (pack_text(one) == pack_text(other)) is (one == other)


@given(st.sets(st.integers(0, 300)))
def test_any_ranges_survive(sequences: set[int]) -> None:
    ordered = tuple(sorted(sequences))
    assert unpack_ranges(pack_ranges(ordered)) == ordered


def test_ranges_are_readable() -> None:
    assert pack_ranges((12, 13, 14, 42)) == "12-14,42"
    assert pack_ranges(()) == ""
    assert pack_ranges((7,)) == "7"


def test_a_key_fits_an_index_whatever_the_client_id() -> None:
    assert digest_key("me") == "me"
    assert digest_key("x" * 64) == "x" * 64
    long_keys = {digest_key("x" * size) for size in range(65, 1000)}
    assert len(long_keys) == 935
    assert max(map(len, long_keys)) <= 80
    assert digest_key(digest_key("x" * 65)) != digest_key("x" * 65)
