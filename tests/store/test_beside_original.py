"""The original's tables in our database: refused silently never, imported on every database."""

from collections.abc import AsyncIterator

import pytest

from stan.errors import SchemaError
from stan.importing.sql_origin import SqlOrigin
from stan.importing.transfer import Transfer
from stan.store.sql.migrating import upgrade_schema
from tests.importing.reading import bounds_of, read_channel, subscriptions_of
from tests.importing.tables import CLUSTER, OriginalTables, durable, member

from .conftest import Place

ADVICE = "run `stan-server import` to bring them over, or `stan-server migrate` to begin"


@pytest.fixture
async def original(sql_place: Place) -> AsyncIterator[OriginalTables]:
    tables = OriginalTables(sql_place.kind, sql_place.source)
    await tables.create()
    yield tables
    await tables.close()


async def test_channels_of_the_original_are_not_passed_over(
    sql_place: Place, original: OriginalTables
) -> None:
    await original.channel(1, "foo")
    for _ in range(2):  # the refusal leaves nothing behind
        with pytest.raises(SchemaError, match=ADVICE):
            await sql_place.opened()
    await upgrade_schema(sql_place.settings())
    assert (await (await sql_place.opened()).recover()).channels == []


async def test_tables_without_channels_are_left_alone(
    sql_place: Place, original: OriginalTables
) -> None:
    assert (await (await sql_place.opened()).recover()).channels == []


async def test_an_import_into_the_same_database(sql_place: Place, original: OriginalTables) -> None:
    await original.channel(1, "gone", deleted=True)
    await original.channel(2, "foo")
    await original.messages(2, "foo", 5)
    await original.channel(3, "expired", maxseq=9)
    await original.subscription(2, durable(1, "me", "dur"), 4)
    await original.subscription(2, member(2, "me", "dur:group"), 5)
    await original.subscription(2, durable(3, "me", "left"), 5, deleted=True)
    await original.pending(1, pending=b"[2,3,4]", last_sent=4)
    await original.pending(1, acks=b"[3]")
    await original.pending(2, seq=5)
    origin = SqlOrigin(sql_place.kind, sql_place.source)
    store = sql_place.store(beside_original=True)
    tally = await Transfer(origin, store).run("", "_INBOX.new")
    await origin.close()
    recovered = await store.recover()
    assert recovered.server is not None
    assert recovered.server.cluster_id == CLUSTER
    assert (tally.channels, tally.messages, tally.durables, tally.pending) == (2, 5, 2, 3)
    found = await read_channel(store, recovered, "foo")
    assert [message.data for message in found] == [b"m1", b"m2", b"m3", b"m4", b"m5"]
    single, group = subscriptions_of(recovered, "foo")
    assert (single.in_flight, single.last_sent) == ((2, 4), 4)
    assert (group.in_flight, group.last_sent, group.client_id) == ((5,), 5, "")
    assert bounds_of(recovered, "expired").first_sequence == 10
