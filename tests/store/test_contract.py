"""What every store must do, whatever keeps its data."""

import pytest

from stan.engine.records import (
    Bounds,
    ChannelRecord,
    Recovered,
    Result,
    Run,
    ServerRecord,
    Trim,
)
from stan.errors import StoreRefusedError
from stan.store.contract import Store

from .records import (
    Writer,
    a_client,
    a_subscription,
    bounds_of,
    range_load,
    read_all,
    time_load,
)


async def test_an_empty_store_recovers_to_nothing(store: Store) -> None:
    assert await store.recover() == Recovered()
    assert await store.outcome() == 0


async def test_the_server_record_is_written_once(store: Store) -> None:
    record = ServerRecord("test-cluster", "_STAN.acks\\x\0")
    await store.initialize(record)
    assert (await store.recover()).server == record
    with pytest.raises(StoreRefusedError, match="already belongs"):
        await store.initialize(ServerRecord("other", "x"))
    assert (await store.recover()).server == record


async def test_messages_come_back_as_they_would_have_been_delivered(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    payloads = [b"", b"text", bytes(range(256)), b"x" * 200_000]
    replies = ["", "_INBOX.reply", "back\\slash\\0", "nul\0ü"]
    run = await writer.append(1, payloads, 1_700_000_000_123_456_789, replies=replies)
    history = await store.load(range_load(1))
    assert history.sequences == [1, 2, 3, 4]
    assert history.framed == run.framed


async def test_the_bounds_follow_what_is_stored(store: Store) -> None:
    writer = Writer(store)
    await writer.create(7)
    assert await bounds_of(store, 7) == Bounds()
    one = await writer.append(7, [b"a", b"bb"], 1000)
    two = await writer.append(7, [b"ccc"], 2000)
    total = sum(one.sizes) + sum(two.sizes)
    assert await bounds_of(store, 7) == Bounds(1, 3, 0, total, 1000, 2000, 3)
    assert await store.outcome() == writer.number


async def test_one_batch_does_everything_in_order(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1, "old")
    await writer.append(1, [b"a"], 1000)
    run = writer.run(2, [b"x", b"y", b"z"], 3000)
    result = await writer.commit(
        channels_deleted=[1],
        channels_created=[ChannelRecord(2, "new")],
        runs=[run],
        trims=[Trim(2, min_sequence=3)],
        clients_put=[a_client()],
        subscriptions_put=[a_subscription(5, 2, last_sent=3, in_flight=(3,))],
    )
    bounds = Bounds(3, 3, sum(run.sizes[:2]), sum(run.sizes), 3000, 3000, 1)
    assert result == Result({2: bounds})
    recovered = await store.recover()
    assert recovered.channels == [(ChannelRecord(2, "new"), bounds)]
    assert recovered.clients == [a_client()]
    assert recovered.subscriptions == [a_subscription(5, 2, last_sent=3, in_flight=(3,))]
    assert recovered.next_channel_id == 3
    assert recovered.next_subscription_id == 6


async def test_a_range_is_limited_by_messages_and_by_bytes(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    run = await writer.append(1, [b"x" * 1000] * 50, 1000)
    assert (await store.load(range_load(1, 11, 5))).sequences == [11, 12, 13, 14, 15]
    some = await store.load(range_load(1, 11, 1000, 10 * run.sizes[0]))
    assert some.sequences[0] == 11
    assert 9 <= len(some.sequences) <= 11
    assert (await store.load(range_load(1, 50, 1000, 1))).sequences == [50]
    assert (await store.load(range_load(1, 51))).sequences == []
    assert (await store.load(range_load(1, 0, 1))).sequences == [1]


async def test_a_range_passes_over_missing_sequences(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"a"], 1000)
    await writer.append(1, [b"b", b"c"], 2000, gap=10_000)
    assert list(await read_all(store, 1, messages=2)) == [1, 10_002, 10_003]
    assert (await store.load(range_load(1, 2, 1))).sequences == [10_002]
    assert (await bounds_of(store, 1)).kept == 3


@pytest.mark.parametrize(
    ("timestamp_ns", "sequences"),
    [(0, [1]), (100, [1]), (101, [3]), (200, [3]), (201, [4]), (300, [4]), (301, [])],
)
async def test_a_time_finds_the_first_message_not_older(
    store: Store, timestamp_ns: int, sequences: list[int]
) -> None:
    writer = Writer(store)
    await writer.create(1)
    for run_timestamp_ns, count in ((100, 2), (200, 1), (300, 4)):
        await writer.append(1, [b"m"] * count, run_timestamp_ns)
    assert (await store.load(time_load(1, timestamp_ns))).sequences == sequences


async def test_a_time_is_found_among_gaps_and_after_a_trim(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    for at in range(20):
        await writer.append(1, [b"m", b"n"], 1000 + at * 10, gap=at % 3 * 5)
    kept = list(await read_all(store, 1))
    for at in range(20):
        found = await store.load(time_load(1, 1000 + at * 10))
        assert found.sequences == [kept[at * 2]]
        assert (await store.load(time_load(1, 1001 + at * 10))).sequences == kept[
            at * 2 + 2 : at * 2 + 3
        ]
    await writer.commit(trims=[Trim(1, min_sequence=kept[9])])
    assert (await store.load(time_load(1, 0))).sequences == [kept[9]]


class TestTrims:
    """Ten messages of one size, in two runs."""

    @pytest.fixture
    async def writer(self, store: Store) -> Writer:
        writer = Writer(store)
        await writer.create(1)
        self.run = await writer.append(1, [b"x" * 100] * 5, 1000)
        await writer.append(1, [b"x" * 100] * 5, 2000)
        return writer

    run: Run

    def bounds(self, first: int) -> Bounds:
        size = self.run.sizes[0]
        empty = first > 10
        first_timestamp_ns = 0 if empty else 1000 if first <= 5 else 2000
        return Bounds(
            first, 10, (first - 1) * size, 10 * size, first_timestamp_ns, 2000, 11 - first
        )

    async def check(self, writer: Writer, trim: Trim, first: int) -> None:
        result = await writer.commit(trims=[trim])
        assert result == Result({1: self.bounds(first)})
        assert await bounds_of(writer.store, 1) == self.bounds(first)
        assert list(await read_all(writer.store, 1)) == list(range(first, 11))

    async def test_a_trim_by_sequence_leaves_that_first(self, writer: Writer) -> None:
        await self.check(writer, Trim(1, min_sequence=4), 4)

    async def test_a_trim_by_position_leaves_whole_messages(self, writer: Writer) -> None:
        size = self.run.sizes[0]
        await self.check(writer, Trim(1, min_position=3 * size), 4)
        await self.check(writer, Trim(1, min_position=3 * size + 1), 5)

    async def test_a_trim_by_time_leaves_the_younger_first(self, writer: Writer) -> None:
        await self.check(writer, Trim(1, min_timestamp_ns=1000), 1)
        await self.check(writer, Trim(1, min_timestamp_ns=1001), 6)

    async def test_a_trim_by_time_leaves_nothing_when_all_are_old(self, writer: Writer) -> None:
        await self.check(writer, Trim(1, min_timestamp_ns=2001), 11)

    async def test_a_trim_by_sequence_or_position_leaves_the_last(self, writer: Writer) -> None:
        await self.check(writer, Trim(1, min_sequence=50, min_position=1 << 40), 10)

    async def test_a_trim_that_may_empty_spares_nothing(self, writer: Writer) -> None:
        await self.check(writer, Trim(1, min_sequence=10, may_empty=True), 10)
        await self.check(writer, Trim(1, min_position=1 << 40, may_empty=True), 10)
        await self.check(writer, Trim(1, min_sequence=11, may_empty=True), 11)

    async def test_a_trim_leaves_what_the_highest_floor_says(self, writer: Writer) -> None:
        await self.check(writer, Trim(1, min_sequence=3, min_position=1, min_timestamp_ns=1001), 6)

    async def test_a_trim_below_the_first_leaves_all(self, writer: Writer) -> None:
        await self.check(writer, Trim(1, min_sequence=6), 6)
        await self.check(writer, Trim(1, min_sequence=2, min_position=1, min_timestamp_ns=5), 6)

    async def test_an_emptied_channel_goes_on_where_it_stopped(self, writer: Writer) -> None:
        await self.check(writer, Trim(1, min_timestamp_ns=9999), 11)
        await self.check(writer, Trim(1, min_sequence=3, min_timestamp_ns=9999), 11)
        run = await writer.append(1, [b"new"], 10_000)
        size = self.run.sizes[0]
        assert await bounds_of(writer.store, 1) == Bounds(
            11, 11, 10 * size, 10 * size + run.sizes[0], 10_000, 10_000, 1
        )
        assert await read_all(writer.store, 1) == {11: run.framed[0]}

    async def test_in_the_batch_that_stores(self, writer: Writer) -> None:
        run = writer.run(1, [b"y"] * 3, 3000)
        result = await writer.commit(runs=[run], trims=[Trim(1, min_sequence=12)])
        assert result.bounds[1].first_sequence == 12
        assert result.bounds[1].kept == 2
        assert list(await read_all(writer.store, 1)) == [12, 13]


async def test_a_trim_counts_the_messages_that_are_there(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"a", b"b"], 1000)
    await writer.append(1, [b"c", b"d"], 2000, gap=100)
    result = await writer.commit(trims=[Trim(1, min_sequence=50)])
    assert (result.bounds[1].first_sequence, result.bounds[1].kept) == (103, 2)
    result = await writer.commit(trims=[Trim(1, min_sequence=104)])
    assert (result.bounds[1].first_sequence, result.bounds[1].kept) == (104, 1)


async def test_an_unfinished_trim_is_finished_by_asking_again(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    for at in range(5):
        await writer.append(1, [b"m"], 1000 + at, gap=30_000)
    trim = Trim(1, min_position=writer.position[1] - 1)
    for _ in range(20):
        result = await writer.commit(trims=[trim])
        if not result.unfinished:
            break
    assert not result.unfinished
    assert (result.bounds[1].first_sequence, result.bounds[1].kept) == (writer.last[1], 1)


async def test_a_long_head_is_dropped_whole(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    for at in range(10):
        await writer.append(1, [b"m"] * 1000, 1000 + at)
    await writer.commit(trims=[Trim(1, min_sequence=9990)])
    assert list(await read_all(store, 1)) == list(range(9990, 10_001))
    assert (await store.load(time_load(1, 0))).sequences == [9990]
    assert (await bounds_of(store, 1)).kept == 11


async def test_clients_are_put_replaced_and_deleted(store: Store) -> None:
    writer = Writer(store)
    long_id = "long-" * 300
    strange = a_client("strange", heartbeat_inbox="nul\0 back\\slash ü" + "x" * 10_000)
    await writer.commit(clients_put=[a_client("a"), a_client("b"), a_client(long_id), strange])
    await writer.commit(clients_put=[a_client("b", ping_max_out=9)], clients_deleted=["a", "no"])
    found = {client.client_id: client for client in (await store.recover()).clients}
    assert found == {
        "b": a_client("b", ping_max_out=9),
        long_id: a_client(long_id),
        "strange": strange,
    }
    await writer.commit(clients_deleted=[long_id, "strange", "b"])
    assert (await store.recover()).clients == []


async def test_client_ids_that_differ_in_case_are_two(store: Store) -> None:
    await Writer(store).commit(clients_put=[a_client("Me"), a_client("me")])
    assert {client.client_id for client in (await store.recover()).clients} == {"Me", "me"}


async def test_subscriptions_are_put_replaced_and_deleted(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    first = a_subscription(
        1, 1, durable_name="dur", is_durable=True, last_sent=9, in_flight=(1, 2, 3, 7, 9)
    )
    group = a_subscription(
        2, 1, client_id="", queue_group="dur:group", is_durable=True, is_closed=True
    )
    many = a_subscription(3, 1, in_flight=tuple(range(1, 60_000, 2)))
    await writer.commit(subscriptions_put=[first, group, many])
    assert (await store.recover()).subscriptions == [first, group, many]
    changed = a_subscription(1, 1, last_sent=10)
    await writer.commit(subscriptions_put=[changed], subscriptions_deleted=[3, 44])
    recovered = await store.recover()
    assert recovered.subscriptions == [changed, group]


async def test_a_deleted_channel_takes_everything_with_it(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1, "gone")
    await writer.create(2, "stays")
    await writer.append(1, [b"x"] * 3000, 1000)
    await writer.append(2, [b"y"], 1000)
    await writer.commit(
        subscriptions_put=[a_subscription(1, 1), a_subscription(2, 2), a_subscription(3, 1)]
    )
    await writer.commit(channels_deleted=[1])
    recovered = await store.recover()
    assert [channel.name for channel, _ in recovered.channels] == ["stays"]
    assert recovered.subscriptions == [a_subscription(2, 2)]
    assert await read_all(store, 1) == {}
    await writer.create(3, "gone")
    await writer.append(3, [b"again"], 2000)
    assert list(await read_all(store, 3)) == [1]


async def test_many_channels_in_one_batch(store: Store) -> None:
    writer = Writer(store)
    names = [f"channel.{at}" for at in range(300)]
    await writer.commit(
        channels_created=[ChannelRecord(at + 1, name) for at, name in enumerate(names)]
    )
    await writer.commit(runs=[writer.run(at + 1, [b"m"], 1000) for at in range(300)])
    recovered = await store.recover()
    assert [channel.name for channel, _ in recovered.channels] == names
    assert all(bounds.kept == 1 for _, bounds in recovered.channels)


async def test_channel_names_keep_case_and_length(store: Store) -> None:
    writer = Writer(store)
    names = ["Foo", "foo", "x" * 10_000, "grün\\\0"]
    await writer.commit(
        channels_created=[ChannelRecord(at + 1, name) for at, name in enumerate(names)]
    )
    assert [channel.name for channel, _ in (await store.recover()).channels] == names


async def test_several_runs_of_one_channel_in_one_batch(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    runs = [writer.run(1, [b"m"] * count, 1000 + count) for count in (1, 3, 20)]
    await writer.commit(runs=runs)
    everything = [message for run in runs for message in run.framed]
    assert list((await read_all(store, 1)).values()) == everything
    bounds = await bounds_of(store, 1)
    assert (bounds.first_timestamp_ns, bounds.last_timestamp_ns) == (1001, 1020)


async def test_closing_twice_is_harmless(store: Store) -> None:
    await store.close()
    await store.close()
    assert store.kind in ("MEMORY", "SQL")
