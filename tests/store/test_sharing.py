"""What a standby needs of a store: ready without the lease, and one that is taken from who
holds it, by one of several, and never from one that did something meanwhile."""

import asyncio

import pytest

from stan.engine.records import Batch, ServerRecord
from stan.errors import LeaseLostError, StoreRefusedError, StoreUnavailableError
from stan.store.contract import Holder, Store
from stan.store.memory import MemoryStore

from .conftest import Place


async def test_a_standby_makes_the_schema_and_takes_nothing(sql_place: Place) -> None:
    store = sql_place.store()
    await store.prepare()
    holder = await store.read_holder()
    assert (holder.owner, holder.free) == ("", True)
    assert await store.read_server() is None
    with pytest.raises(LeaseLostError):
        await store.commit(Batch(1))


async def test_the_lease_that_nobody_holds_is_taken(sql_place: Place) -> None:
    store = sql_place.store(lease_s=60)
    await store.prepare()
    assert await store.take(await store.read_holder())
    assert (await store.recover()).server is None
    await store.initialize(ServerRecord("c", "_INBOX.x"))
    await store.commit(Batch(1))
    other = sql_place.store()
    await other.prepare()
    holder = await other.read_holder()
    assert " pid " in holder.owner
    assert (holder.free, holder.is_gone) == (False, False)
    assert await other.read_server() == ServerRecord("c", "_INBOX.x")


async def test_one_of_two_standbys_takes_it(sql_place: Place) -> None:
    stores = [sql_place.store(), sql_place.store()]
    await asyncio.gather(*(each.prepare() for each in stores))
    seen = [await each.read_holder() for each in stores]
    taken = await asyncio.gather(*map(_take, stores, seen))
    assert sorted(taken) == [False, True]


async def _take(store: Store, seen: Holder) -> bool:
    return await store.take(seen)


async def test_a_living_holder_is_deposed(sql_place: Place) -> None:
    active = await sql_place.opened(lease_s=60)
    standby = sql_place.store(lease_s=60)
    await standby.prepare()
    assert await standby.take(await standby.read_holder())
    with pytest.raises(LeaseLostError):
        await active.commit(Batch(1))
    await standby.commit(Batch(1))


async def test_nobody_takes_from_a_holder_that_did_something_meanwhile(sql_place: Place) -> None:
    active = await sql_place.opened(lease_s=60)
    standby = sql_place.store(lease_s=60)
    await standby.prepare()
    seen = await standby.read_holder()
    await asyncio.sleep(0.002)  # the database counts milliseconds
    await active.commit(Batch(1))
    assert not await standby.take(seen)
    await active.commit(Batch(2))


async def test_what_is_released_is_free(sql_place: Place) -> None:
    active = await sql_place.opened(lease_s=60)
    standby = sql_place.store(lease_s=60)
    await standby.prepare()
    await active.close()
    holder = await standby.read_holder()
    assert (holder.owner, holder.free) == ("", True)


async def test_a_closed_store_answers_nobody(sql_place: Place) -> None:
    store = sql_place.store()
    await store.prepare()
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await store.read_holder()


async def test_memory_is_not_shared() -> None:
    store = MemoryStore()
    with pytest.raises(StoreRefusedError, match="memory is not shared"):
        await store.prepare()
