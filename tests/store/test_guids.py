"""The record of what was published lately: written with its batch, found, forgotten."""

import asyncio
from itertools import count

from stan.engine.bursts import Burst
from stan.engine.guids import pack_guids
from stan.engine.limits import ChannelLimits
from stan.engine.records import Batch, ChannelRecord, GuidLoad, Key
from stan.engine.state import Channel
from stan.store.contract import Store

from .conftest import Place
from .records import Writer, a_client

_load_ids = count(1)


def record(*guids: bytes, client_id: str = "me", channel_id: int = 1) -> bytes:
    burst = Burst(Channel(ChannelRecord(channel_id, "foo"), ChannelLimits()), "me", b"acks", 0)
    burst.publisher = client_id
    burst.guids = list(guids)
    return pack_guids([burst])


async def find(store: Store, *keys: Key, since_ns: int = 0, ids_since_ns: int = 0) -> set[Key]:
    load = GuidLoad(next(_load_ids), since_ns, ids_since_ns, frozenset(keys))
    return set((await store.load(load)).found)


async def test_a_guid_is_found_when_its_batch_is_true(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    run = writer.run(1, [b"a", b"b"], 1000)
    await writer.commit(runs=[run], guids=record(b"one", b"two"), sealed_ns=1000)
    keys: list[Key] = [(1, "me", b"one"), (1, "me", b"two"), (1, "me", b"three"), (1, "me", b"on")]
    assert await find(store, *keys) == set(keys[:2])
    assert await find(store, (2, "me", b"one"), (1, "you", b"one"), (1, "", b"one")) == set()


async def test_only_what_was_recorded_since_is_found(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    for moment in range(1, 200):
        await writer.commit(
            runs=[writer.run(1, [b"x"], moment)], guids=record(b"g%d" % moment), sealed_ns=moment
        )
    assert await find(store, (1, "me", b"g1"), (1, "me", b"g199")) == {
        (1, "me", b"g1"),
        (1, "me", b"g199"),
    }
    assert await find(store, (1, "me", b"g1"), (1, "me", b"g100"), since_ns=100) == {
        (1, "me", b"g100")
    }


async def test_a_message_id_is_found_and_may_be_recorded_again(store: Store) -> None:
    writer = Writer(store)
    await writer.create(1)
    ids = [b"order-17", b"a:b", b"x" * 500, b"end ", "ü\\0".encode(), b"nul\0"]
    await writer.commit(
        runs=[writer.run(1, [b"x"] * len(ids), 5)],
        message_ids=[(1, text) for text in ids],
        sealed_ns=5,
    )
    keys: list[Key] = [(1, "", text) for text in ids]
    assert await find(store, *keys) == set(keys)
    assert await find(store, *keys, ids_since_ns=6) == set()
    assert await find(store, (1, "", b"end"), (2, "", b"order-17"), (1, "", b"ORDER-17")) == set()
    await writer.commit(message_ids=[(1, b"order-17")], sealed_ns=9)
    assert await find(store, *keys, ids_since_ns=6) == {(1, "", b"order-17")}


async def test_a_client_that_resends_is_recovered_as_one(store: Store) -> None:
    writer = Writer(store)
    clients = [a_client("me", resends=True), a_client("you")]
    await writer.commit(clients_put=clients)
    assert sorted((await store.recover()).clients, key=lambda one: one.client_id) == clients


async def test_the_record_survives_and_is_forgotten_in_time(sql_place: Place) -> None:
    store = await sql_place.opened()
    writer = Writer(store)
    await writer.create(1)
    for moment in range(1, 50):
        await writer.store.commit(
            Batch(
                writer.number + moment,
                guids=record(b"g%d" % moment),
                message_ids=[(1, b"m%d" % moment)],
                sealed_ns=moment,
            )
        )
    await store.close()
    store = await sql_place.opened()
    assert await find(store, (1, "me", b"g1"), (1, "", b"m1")) == {
        (1, "me", b"g1"),
        (1, "", b"m1"),
    }
    last = (await store.recover()).batch_number
    await store.commit(Batch(last + 1, guids=record(b"new"), sealed_ns=99, forget_ns=40))
    await asyncio.wait_for(store.swept.wait(), 10)
    assert await find(store, (1, "me", b"g39"), (1, "", b"m39")) == set()
    assert await find(store, (1, "me", b"g40"), (1, "", b"m40"), (1, "me", b"new")) == {
        (1, "me", b"g40"),
        (1, "", b"m40"),
        (1, "me", b"new"),
    }
