"""The cache against a dictionary: whatever comes in, what it covers is right."""

from hypothesis import given
from hypothesis import strategies as st

from stan.engine.cache import Cache, Shelf

# A channel of 40 sequences; those divisible by 7 are missing.
KEPT = [n for n in range(1, 41) if n % 7]


def framed(sequence: int) -> bytes:
    return b"%d" % sequence * 5


def check(cache: Cache, shelf: Shelf) -> None:
    assert shelf.firsts == [block.first for block in shelf.blocks] == sorted(shelf.firsts)
    for block, following in zip(shelf.blocks, shelf.blocks[1:], strict=False):
        assert block.next <= following.first
    held = sum(len(message) for block in shelf.blocks for message in block.framed)
    assert cache.bytes_held == held
    assert cache.block_count() == len(shelf.blocks)
    for sequence in range(1, 41):
        if shelf.find(sequence) is not None:
            expected = framed(sequence) if sequence in KEPT else None
            assert shelf.message(sequence) == expected


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), max_size=12),
    st.sampled_from([0, 50, 200, 10_000]),
)
def test_loads_in_any_order(loads: list[tuple[int, int]], limit_bytes: int) -> None:
    cache, shelf = Cache(limit_bytes), Shelf()
    for first, count in loads:
        end = min(first + count, 41)
        found = [n for n in KEPT if first <= n < end]
        cache.insert(shelf, first, end, found, [framed(n) for n in found])
        check(cache, shelf)
        cache.evict()
        assert cache.bytes_held <= limit_bytes
        check(cache, shelf)


@given(st.lists(st.integers(1, 5), max_size=10))
def test_commits_follow_each_other(counts: list[int]) -> None:
    cache, shelf = Cache(10_000), Shelf()
    first = 1
    for count in counts:
        cache.append(shelf, first, [b"x%d" % n for n in range(first, first + count)])
        first += count
    for sequence in range(1, first):
        assert shelf.message(sequence) == b"x%d" % sequence
    assert shelf.find(first) is None
    assert len(shelf.blocks) <= 1


def test_a_dropped_channel_leaves_nothing() -> None:
    cache, shelf = Cache(10_000), Shelf()
    cache.append(shelf, 1, [b"a", b"b"])
    cache.insert(shelf, 5, 9, [6], [b"c"])
    cache.drop(shelf)
    assert (cache.bytes_held, cache.block_count(), shelf.blocks) == (0, 0, [])


def test_the_batchs_own_list_is_not_touched() -> None:
    cache, shelf, mine = Cache(10_000), Shelf(), [b"a"]
    cache.append(shelf, 1, mine)
    cache.append(shelf, 2, [b"b"])
    assert mine == [b"a"]
