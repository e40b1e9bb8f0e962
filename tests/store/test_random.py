"""Random batches: whatever happens to a database, the memory store agrees.

Each example uses channels of its own in one store, because opening one takes longer than
the example; the model is a new memory store.
"""

from collections.abc import Iterator
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stan.engine.records import ChannelRecord, Trim
from stan.store.contract import Store
from stan.store.memory import MemoryStore

from .conftest import Place
from .records import Writer, a_subscription, read_all, time_load

_CHANNELS = 3
_channel_ids = count(1, _CHANNELS)

channel = st.integers(0, _CHANNELS - 1)
append = st.tuples(
    st.just("append"),
    channel,
    st.lists(st.binary(max_size=40), min_size=1, max_size=30),
    st.sampled_from([0, 0, 0, 1, 7, 25_000]),
    st.integers(0, 50),
)
trim = st.tuples(
    st.just("trim"),
    channel,
    st.sampled_from(["sequence", "position", "time", "all", "purge"]),
    st.floats(0, 1.1),
)
delete = st.tuples(st.just("delete"), channel, st.floats(0, 1))
acks = st.tuples(st.just("acks"), channel, st.sets(st.integers(1, 99), max_size=20))
steps = st.lists(
    st.lists(append | trim | delete | acks, min_size=1, max_size=6), min_size=1, max_size=8
)


class Pair:
    """A store and its model, given the same batches."""

    def __init__(self, store: Store, first_channel_id: int) -> None:
        self.store = store
        self.model = MemoryStore()
        self.writer = Writer(self.model)
        self.first = first_channel_id
        self.now_ns = 1000

    async def start(self, number: int) -> None:
        self.writer.number = number
        ids = range(self.first, self.first + _CHANNELS)
        await self.commit(channels_created=[ChannelRecord(at, "foo") for at in ids])

    async def commit(self, **parts: object) -> None:
        batch = self.writer.batch(**parts)
        expected = await self.model.commit(batch)
        found = await self.store.commit(batch)
        bounds = dict(found.bounds)
        while found.unfinished:
            left = [trim for trim in batch.trims if trim.channel_id in found.unfinished]
            batch = self.writer.batch(trims=left)
            await self.model.commit(batch)
            found = await self.store.commit(batch)
            bounds |= found.bounds
        assert bounds == expected.bounds

    def parts(self, step: list[tuple[object, ...]]) -> dict[str, object]:
        runs, deleted, trims, subscriptions = [], [], {}, {}
        for kind, at, *rest in step:
            channel_id = self.first + int(at)  # type: ignore[call-overload]
            if kind == "append":
                payloads, gap, later_ns = rest
                self.now_ns += later_ns  # type: ignore[operator]
                runs.append(self.writer.run(channel_id, payloads, self.now_ns, gap=gap))  # type: ignore[arg-type]
            elif kind == "acks":
                in_flight = tuple(sorted(rest[0]))  # type: ignore[call-overload]
                subscriptions[channel_id] = a_subscription(
                    channel_id, channel_id, in_flight=in_flight
                )
            elif kind == "delete":
                last = self.writer.last.get(channel_id, 0)
                deleted.append((channel_id, int(last * rest[0])))  # type: ignore[operator]
            else:
                trims[channel_id] = self.trim(channel_id, *rest)  # type: ignore[arg-type]
        return {
            "runs": runs,
            "messages_deleted": deleted,
            "trims": list(trims.values()),
            "subscriptions_put": list(subscriptions.values()),
        }

    def trim(self, channel_id: int, what: str, share: float) -> Trim:
        sequence = int(self.writer.last.get(channel_id, 0) * share)
        position = int(self.writer.position.get(channel_id, 0) * share)
        time_ns = 1000 + int((self.now_ns - 1000) * share)
        return Trim(
            channel_id,
            min_sequence=sequence if what in ("sequence", "all", "purge") else 0,
            min_position=position if what in ("position", "all") else 0,
            min_timestamp_ns=time_ns if what in ("time", "all") else 0,
            may_empty=what == "purge",
        )

    async def compare(self) -> None:
        mine = range(self.first, self.first + _CHANNELS)
        found, expected = await self.store.recover(), await self.model.recover()
        assert [c for c in found.channels if c[0].channel_id in mine] == expected.channels
        assert [s for s in found.subscriptions if s.channel_id in mine] == sorted(
            expected.subscriptions, key=lambda s: s.subscription_id
        )
        for channel_id in mine:
            everything = await read_all(self.model, channel_id)
            assert await read_all(self.store, channel_id, messages=17) == everything
            for time_ns in self.times():
                load = time_load(channel_id, time_ns)
                assert await self.store.load(load) == await self.model.load(load)

    def times(self) -> Iterator[int]:
        yield from {1000, self.now_ns, self.now_ns + 1, (1000 + self.now_ns) // 2}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=steps)
async def test_random_batches_leave_what_the_memory_store_has(
    sql_place: Place, steps: list[list[tuple[object, ...]]]
) -> None:
    store = await sql_place.opened()
    try:
        pair = Pair(store, next(_channel_ids))
        await pair.start((await store.recover()).batch_number)
        for step in steps:
            await pair.commit(**pair.parts(step))
        await pair.compare()
    finally:
        await store.close()
    await reopen_and_compare(sql_place, pair)


async def reopen_and_compare(place: Place, pair: Pair) -> None:
    pair.store = await place.opened()
    try:
        await pair.compare()
        assert await pair.store.outcome() == pair.writer.number
    finally:
        await pair.store.close()
