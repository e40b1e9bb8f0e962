"""Single messages, deleted or asked about, and the limits of a channel's own, on every store."""

import pytest

from stan.engine.limits import ChannelOverrides
from stan.engine.records import (
    Batch,
    Bounds,
    ChannelRecord,
    Trim,
)
from stan.errors import StoreRefusedError
from stan.store.contract import MOST_TIMES, Store

from .records import (
    Writer,
    a_client,
    bounds_of,
    range_load,
    read_all,
    time_load,
)


async def test_a_batch_about_an_unknown_channel_changes_nothing(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    good, bad = writer.run(1, [b"a"], 1000), writer.run(9, [b"b"], 1000)
    with pytest.raises(StoreRefusedError, match="9 does not exist"):
        await store.commit(Batch(99, runs=[good, bad], clients_put=[a_client()]))
    assert await store.outcome() == writer.number
    assert await bounds_of(store, 1) == Bounds()
    assert (await store.recover()).clients == []
    await writer.commit(runs=[good])
    assert list(await read_all(store, 1)) == [1]


async def test_times_of_single_messages_are_told(store: Store) -> None:
    writer = Writer(store)
    for channel_id in (1, 2):
        await writer.create(channel_id)
        for number in range(5):
            await writer.append(channel_id, [b"x"], 1_700_000_000_000_000_000 + number)
    await writer.commit(trims=[Trim(1, 3)])
    asked = [(1, 2), (1, 3), (2, 1), (2, 5), (2, 6), (3, 1)]
    stored_ns = 1_700_000_000_000_000_000
    assert await store.read_times(asked) == {
        (1, 3): stored_ns + 2,
        (2, 1): stored_ns,
        (2, 5): stored_ns + 4,
    }
    many = [(2, 1 + number % 5) for number in range(MOST_TIMES)]
    assert len(await store.read_times(many)) == 5
    assert await store.read_times([]) == {}


async def test_a_load_of_an_unknown_channel_finds_nothing(store: Store) -> None:
    assert (await store.load(range_load(77))).sequences == []
    assert (await store.load(time_load(77, 0))).sequences == []


class TestASingleMessage:
    """Of a channel with five, deleted by their sequences."""

    @pytest.fixture
    async def writer(self, store: Store) -> Writer:
        writer = Writer(store)
        await writer.create(1)
        self.runs = [await writer.append(1, [b"%d" % at], 1000 + at) for at in range(1, 6)]
        return writer

    async def delete(self, writer: Writer, *sequences: int) -> Bounds:
        result = await writer.commit(messages_deleted=[(1, one) for one in sequences])
        assert result.bounds[1] == await bounds_of(writer.store, 1)
        assert len(await read_all(writer.store, 1)) == result.bounds[1].kept
        return result.bounds[1]

    async def test_in_the_middle_leaves_a_hole(self, writer: Writer) -> None:
        before = await bounds_of(writer.store, 1)
        assert await self.delete(writer, 3) == before._replace(kept=4)
        assert list(await read_all(writer.store, 1)) == [1, 2, 4, 5]
        assert (await writer.store.load(time_load(1, 1003))).sequences == [4]

    async def test_at_the_head_moves_the_bounds(self, writer: Writer) -> None:
        position = self.runs[2].position
        found = await self.delete(writer, 2, 1)
        assert found == Bounds(3, 5, position, self.runs[-1].end_position, 1003, 1005, 3)

    async def test_at_the_end_keeps_its_sequence_used(self, writer: Writer) -> None:
        found = await self.delete(writer, 5)
        assert (found.last_sequence, found.last_timestamp_ns, found.kept) == (5, 1005, 4)
        await writer.append(1, [b"new"], 2000)
        assert list(await read_all(writer.store, 1)) == [1, 2, 3, 4, 6]

    async def test_the_last_of_all_leaves_an_empty_channel(self, writer: Writer) -> None:
        end = self.runs[-1].end_position
        assert await self.delete(writer, 1, 2, 3, 4, 5) == Bounds(6, 5, end, end, 0, 1005, 0)

    async def test_that_is_not_there_is_no_error(self, writer: Writer) -> None:
        await writer.commit(trims=[Trim(1, min_sequence=3)])
        before = await bounds_of(writer.store, 1)
        assert await self.delete(writer, 1, 6, 900) == before
        assert (await self.delete(writer, 4)).kept == 2
        assert (await self.delete(writer, 4)).kept == 2

    async def test_goes_behind_the_trims_of_its_batch(self, writer: Writer) -> None:
        trims = [Trim(1, min_sequence=3)]
        result = await writer.commit(messages_deleted=[(1, 2), (1, 3)], trims=trims)
        assert (result.bounds[1].first_sequence, result.bounds[1].kept) == (4, 2)

    @pytest.mark.parametrize(
        ("trim", "left"),
        [
            (Trim(1, min_sequence=5), [4]),  # the last one that is there is spared
            (Trim(1, min_sequence=5, may_empty=True), []),
            (Trim(1, min_position=1 << 40), [4]),
            (Trim(1, min_timestamp_ns=1004), [4]),
            (Trim(1, min_timestamp_ns=1005), []),
        ],
    )
    async def test_that_was_the_last_does_not_confuse_a_trim(
        self, writer: Writer, trim: Trim, left: list[int]
    ) -> None:
        await self.delete(writer, 5)
        result = await writer.commit(trims=[trim])
        assert result.bounds[1].kept == len(left)
        assert list(await read_all(writer.store, 1)) == left


async def test_a_channel_keeps_limits_of_its_own(store: Store) -> None:
    writer = Writer(store)
    some = ChannelOverrides(max_messages=10, max_age_ns=0)
    every = ChannelOverrides(1, 2, 3, 4, 5)
    records = [ChannelRecord(1, "one", some), ChannelRecord(2, "two")]
    await writer.commit(channels_created=records)
    assert [found for found, _ in (await store.recover()).channels] == records
    changed = [ChannelRecord(1, "one"), ChannelRecord(2, "two", every)]
    await writer.commit(channels_limited=changed)
    assert [found for found, _ in (await store.recover()).channels] == changed
