"""The original's SQL store, rule by rule of the protocol's section 6.5."""

import sqlite3
from contextlib import closing
from itertools import accumulate, count
from typing import Any

import pytest

from stan.engine.records import Batch, Result
from stan.errors import OriginError, StoreRefusedError
from stan.importing.origin import OriginChannel
from stan.importing.sql_origin import SqlOrigin
from stan.importing.transfer import Transfer
from stan.store.encryption import OVERHEAD_BYTES, Encryption
from stan.store.open import open_store
from stan.store.settings import StoreSettings
from stan.store.sql.store import SqlStore
from stan.wire.messages import encode_message, string_field
from stan.wire.stan_pb2 import MsgProto

from .conftest import Ground
from .reading import bounds_of, read_channel, subscriptions_of
from .tables import CLUSTER, durable, member, plain

# Rule 1: whose it is, and in which version.


async def test_another_version_is_refused(ground: Ground) -> None:
    await ground.tables.execute("UPDATE ServerInfo SET version=2")
    with pytest.raises(OriginError, match=r"^sql: unsupported version: 2 \(supports \[1\.\.1\]\)$"):
        await ground.run()


async def test_a_cluster_id_that_is_not_the_one_inside_is_refused(ground: Ground) -> None:
    await ground.tables.execute("UPDATE ServerInfo SET id='x'")
    expected = f'^sql: id "x" in column does not match cluster ID in data "{CLUSTER}"$'
    with pytest.raises(OriginError, match=expected):
        await ground.run()


async def test_the_store_belongs_to_the_cluster(ground: Ground) -> None:
    tally = await ground.run()
    server = (await (await ground.opened()).recover()).server
    assert tally.cluster_id == CLUSTER
    assert server is not None
    assert (server.cluster_id, server.inbox_prefix) == (CLUSTER, "_INBOX.new")


async def test_a_cluster_nobody_recorded_has_to_be_named(ground: Ground) -> None:
    await ground.tables.execute("DELETE FROM ServerInfo")
    with pytest.raises(OriginError, match="name it with --cluster_id"):
        await ground.run()
    assert (await ground.run("named")).cluster_id == "named"


# Rule 2: what was deleted.


async def test_deleted_channels_and_subscriptions_stay_behind(ground: Ground) -> None:
    tables = ground.tables
    await tables.channel(1, "gone", deleted=True)
    await tables.messages(1, "gone", 2)
    await tables.channel(2, "here")
    await tables.messages(2, "here", 2)
    await tables.subscription(2, durable(1, "me", "kept"), 1)
    await tables.subscription(2, durable(2, "me", "left"), 9, deleted=True)
    await ground.run()
    recovered = await (await ground.opened()).recover()
    assert [record.name for record, _ in recovered.channels] == ["here"]
    assert [one.durable_name for one in recovered.subscriptions] == ["kept"]
    assert bounds_of(recovered, "here").last_sequence == 2


# Rule 3: the last sequence.


async def test_messages_come_over_as_they_are(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stan.importing.sql_origin.PIECE_BYTES", 100)
    tables = ground.tables
    await tables.channel(7, "foo.bar")
    await tables.message(7, "foo.bar", 3, b"three", timestamp=50)
    await tables.message(7, "foo.bar", 4, b"", timestamp=50, reply="answer.here")
    await tables.message(7, "foo.bar", 5, b"\x00\xff" * 200, timestamp=60)
    await tables.message(7, "foo.bar", 9, b"nine", timestamp=70)
    tally = await ground.run()
    store = await ground.opened()
    recovered = await store.recover()
    found = await read_channel(store, recovered, "foo.bar")
    assert [(m.sequence, m.timestamp, m.reply, m.data, m.subject) for m in found] == [
        (3, 50, "", b"three", "foo.bar"),
        (4, 50, "answer.here", b"", "foo.bar"),
        (5, 60, "", b"\x00\xff" * 200, "foo.bar"),
        (9, 70, "", b"nine", "foo.bar"),
    ]
    bounds = bounds_of(recovered, "foo.bar")
    assert (bounds.first_sequence, bounds.last_sequence, bounds.kept) == (3, 9, 4)
    assert bounds.end_position == sum(len(m.SerializeToString()) for m in found)
    assert (tally.messages, tally.payload_bytes) == (4, 409)


async def test_a_channel_whose_messages_all_expired_goes_on_where_it_was(ground: Ground) -> None:
    await ground.tables.channel(1, "foo", maxseq=15)
    await ground.run()
    store = await ground.opened()
    recovered = await store.recover()
    bounds = bounds_of(recovered, "foo")
    assert (bounds.first_sequence, bounds.last_sequence, bounds.kept) == (16, 15, 0)
    assert await read_channel(store, recovered, "foo") == []


@pytest.mark.parametrize("where", ["column", "state", "row", "sequence", "tombstone"])
async def test_a_position_beyond_the_messages_counts(ground: Ground, where: str) -> None:
    tables = ground.tables
    await tables.channel(1, "foo", maxseq=3)
    await tables.messages(1, "foo", 2)
    if where == "tombstone":
        columns = {"id": 1, "subid": 1, "lastsent": 8, "proto": None}
        await tables.insert("Subscriptions", **columns)
    else:
        state = durable(1, "me", "dur", lastSent=8 if where == "state" else 0)
        await tables.subscription(1, state, 8 if where == "column" else 1)
    if where in ("row", "sequence"):
        await tables.pending(1, last_sent=8 if where == "row" else 0, seq=8 * (where != "row"))
    await ground.run()
    recovered = await (await ground.opened()).recover()
    bounds = bounds_of(recovered, "foo")
    assert (bounds.first_sequence, bounds.last_sequence, bounds.kept) == (9, 8, 0)
    assert ["up to 2 any more" in warning for warning in ground.warnings] == [True]


async def test_times_that_go_back_are_moved(ground: Ground) -> None:
    await ground.tables.channel(1, "foo")
    for sequence, timestamp in ((1, 500), (2, 400), (3, 450), (4, 501)):
        await ground.tables.message(1, "foo", sequence, timestamp=timestamp)
    await ground.run()
    store = await ground.opened()
    found = await read_channel(store, await store.recover(), "foo")
    assert [m.timestamp for m in found] == [500, 500, 500, 501]
    assert ground.warnings == [
        'channel "foo": 2 messages were stored with an earlier time than the one before them, '
        "and got that one's"
    ]


# Rules 4 and 5: positions and pending sets.


async def test_statement_103_pending_lists_and_acks_add_up(ground: Ground) -> None:
    tables = ground.tables
    await tables.channel(1, "foo")
    await tables.messages(1, "foo", 4)
    await tables.subscription(1, durable(1, "me", "dur"), 2)
    await tables.pending(1, pending=b"[1,2,3]", last_sent=3)
    await tables.pending(1, acks=b"[2]")
    tally = await ground.run()
    (subscription,) = subscriptions_of(await (await ground.opened()).recover(), "foo")
    assert subscription.in_flight == (1, 3)
    assert subscription.last_sent == 3
    assert (tally.durables, tally.pending) == (1, 2)


async def test_rows_without_cache_are_one_sequence_each(ground: Ground) -> None:
    tables = ground.tables
    await tables.channel(1, "foo")
    await tables.messages(1, "foo", 5)
    await tables.subscription(1, durable(1, "me", "dur"), 2)
    for sequence in (2, 4):
        await tables.pending(1, seq=sequence)
    await tables.pending(2, seq=5)  # somebody else's
    await ground.run()
    (subscription,) = subscriptions_of(await (await ground.opened()).recover(), "foo")
    assert (subscription.in_flight, subscription.last_sent) == ((2, 4), 4)


async def test_pending_sequences_without_a_message_are_ignored(ground: Ground) -> None:
    tables = ground.tables
    await tables.channel(1, "foo")
    for sequence in (3, 4):
        await tables.message(1, "foo", sequence)
    await tables.subscription(1, durable(1, "me", "dur"), 4)
    await tables.pending(1, pending=b"[1,2,3,4]")
    await ground.run()
    (subscription,) = subscriptions_of(await (await ground.opened()).recover(), "foo")
    assert subscription.in_flight == (3, 4)


@pytest.mark.parametrize(
    "text", [b"[1,", b"{}", b"[1.5]", b"[" * 100_000], ids=["cut", "object", "float", "deep"]
)
async def test_a_list_that_is_none_names_the_subscription(ground: Ground, text: bytes) -> None:
    await ground.tables.channel(1, "foo")
    await ground.tables.subscription(1, durable(4, "me", "dur"))
    await ground.tables.pending(4, pending=text)
    with pytest.raises(OriginError, match=r'^subscription 4 of channel "foo" cannot be read'):
        await ground.run()


# Rule 6: what a state means.


async def test_durables_and_groups_come_over_offline(ground: Ground) -> None:
    tables = ground.tables
    await tables.insert("Clients", id="me", hbinbox="_INBOX.hb")
    await tables.channel(1, "foo")
    await tables.messages(1, "foo", 9)
    await tables.subscription(1, durable(1, "me", "dur"), 5)
    await tables.subscription(1, member(2, "me", "dur:group", maxInFlight=3), 6)
    await tables.subscription(1, member(3, "you", "dur:group", maxInFlight=9), 8)
    await tables.subscription(1, member(4, "", "dur:group"), 2)
    await tables.subscription(1, member(5, "", "dur:group"), 1)
    await tables.subscription(1, plain(6, "me"), 9)
    await tables.subscription(1, plain(7, "me", qGroup="group"), 9)
    await tables.pending(2, pending=b"[2,6]")
    await tables.pending(3, pending=b"[8]")
    await tables.pending(4, pending=b"[1]")
    await tables.pending(5, pending=b"[3]")
    tally = await ground.run()
    single, group = subscriptions_of(await (await ground.opened()).recover(), "foo")
    assert (single.client_id, single.durable_name, single.queue_group) == ("me", "dur", "")
    assert (single.is_durable, single.is_closed, single.last_sent) == (True, True, 5)
    assert (single.max_in_flight, single.ack_wait_s) == (5, 7)
    assert (group.client_id, group.durable_name, group.queue_group) == ("", "", "dur:group")
    assert (group.is_durable, group.is_closed, group.last_sent) == (True, True, 8)
    assert group.in_flight == (1, 2, 6, 8)  # of the two records without members the further one
    assert group.max_in_flight == 9
    assert (tally.durables, tally.subscriptions_left, tally.clients_left) == (2, 2, 1)


# Damage, and tables that are not the original's.


async def test_a_message_that_cannot_be_read_is_named(ground: Ground) -> None:
    await ground.tables.channel(1, "foo")
    await ground.tables.insert("Messages", id=1, seq=5, timestamp=1, size=2, data=b"\x0a\x09")
    with pytest.raises(OriginError, match=r'^message 5 of channel "foo" cannot be read'):
        await ground.run()
    await ground.tables.execute("DELETE FROM Messages")
    await ground.tables.message(1, "foo", 6)
    await ground.tables.execute("UPDATE Messages SET seq=5")
    with pytest.raises(OriginError, match=r'^message 5 of channel "foo" says that it is message 6'):
        await ground.run()


async def test_a_database_without_the_tables_is_named(ground: Ground) -> None:
    await ground.tables.execute("DROP TABLE SubsPending")
    with pytest.raises(OriginError, match=r"missing: SubsPending\)$"):
        await ground.run()
    ground.source += ".nowhere"
    with pytest.raises(OriginError, match="there is no file"):
        await ground.run()


async def test_what_looks_encrypted_is_pointed_out(ground: Ground) -> None:
    await ground.tables.channel(1, "foo")
    await ground.tables.message(1, "foo", 1, b"\x01" + bytes(40))
    await ground.run()
    assert ["every payload looks encrypted" in line for line in ground.warnings] == [True]


async def test_an_original_that_is_running_is_noticed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ground.tables.channel(1, "foo")
    await ground.tables.messages(1, "foo", 2)
    read = SqlOrigin.messages
    more = count(1)

    async def messages(origin: SqlOrigin, channel: OriginChannel) -> Any:
        async for piece in read(origin, channel):
            yield piece
        await ground.tables.message(1, "foo", 2 + next(more))

    monkeypatch.setattr(SqlOrigin, "messages", messages)
    with pytest.raises(OriginError, match=r'^channel "foo" grew while it was read: stop the'):
        await ground.run()
    assert (await (await ground.opened()).recover()).server is None
    assert (await ground.run(rehearse=True)).messages == 3  # trying may be done beforehand


# The target.


async def test_a_store_that_is_in_use_is_refused(ground: Ground) -> None:
    await ground.run()
    with pytest.raises(StoreRefusedError, match=f'already belongs to cluster "{CLUSTER}"'):
        await ground.run()


async def test_a_rehearsal_writes_nothing(ground: Ground) -> None:
    await ground.tables.channel(1, "foo")
    await ground.tables.messages(1, "foo", 3)
    tally = await ground.run(rehearse=True)
    assert (tally.channels, tally.messages) == (1, 3)
    recovered = await (await ground.opened()).recover()
    assert (recovered.server, recovered.channels) == (None, [])


async def test_an_import_that_broke_starts_over(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stan.importing.transfer.REPORT_MESSAGES", 3)
    tables = ground.tables
    await tables.channel(1, "foo")
    await tables.messages(1, "foo", 3)
    await tables.subscription(1, durable(1, "me", "dur"), 3)
    await tables.channel(2, "bar")
    await tables.insert("Messages", id=2, seq=1, timestamp=1, size=1, data=b"\x0a\x09")
    with pytest.raises(OriginError):
        await ground.run()
    recovered = await (store := await ground.opened()).recover()
    assert recovered.server is None
    assert len(recovered.channels) == 2
    await store.close()
    await tables.execute("DELETE FROM Messages WHERE id=2")
    commit = SqlStore.commit

    async def watched(store: SqlStore, batch: Batch) -> Result:
        # A server that finds no channels at all takes the store for an empty one.
        assert batch.channels_created or not batch.channels_deleted
        return await commit(store, batch)

    monkeypatch.setattr(SqlStore, "commit", watched)
    await ground.run()
    assert ground.said == [
        "3 messages",
        "an earlier import did not end: starting over",
        "3 messages",
    ]
    recovered = await (store := await ground.opened()).recover()
    assert recovered.server is not None
    assert [record.name for record, _ in recovered.channels] == ["foo", "bar"]
    assert len(recovered.subscriptions) == 1
    assert len(await read_channel(store, recovered, "foo")) == 3


@pytest.mark.parametrize("name", [None, "", b"\xff", "other"])
async def test_a_channel_without_a_name_of_its_own_is_refused(ground: Ground, name: object) -> None:
    await ground.tables.channel(1, "other")
    await ground.tables.insert("Channels", id=2, name=name)
    with pytest.raises(OriginError, match=r"^channel 2 in .* has no name of its own: "):
        await ground.run()


@pytest.mark.parametrize("where", ["maxseq", "position", "message"])
async def test_a_sequence_that_no_channel_reaches_is_refused(ground: Ground, where: str) -> None:
    most = (1 << 63) - 1
    await ground.tables.channel(1, "foo", maxseq=most if where == "maxseq" else 0)
    if where == "message":
        await ground.tables.message(1, "foo", most, timestamp=1)
    if where == "position":
        await ground.tables.subscription(1, durable(1, "me", "dur", lastSent=1 << 63))
    with pytest.raises(OriginError, match=r'channel "foo".* \d{19}, which no channel reaches$'):
        await ground.run()


async def test_blobs_that_an_sqlite_file_holds_as_text_are_read(ground: Ground) -> None:
    await ground.tables.channel(1, "foo")
    data = MsgProto(sequence=1, subject="foo", data=b"text").SerializeToString().decode()
    await ground.tables.insert("Messages", id=1, seq=1, timestamp=1, size=9, data=data)
    assert (await ground.run()).payload_bytes == 4


async def test_sizes_are_those_of_what_is_stored_encrypted(ground: Ground) -> None:
    """The field of the payload's length grows, too, where a payload of 99 to 127 or 16,355 to
    16,383 bytes is stored as one longer than that."""
    await ground.tables.channel(1, "foo")
    sizes = [0, 1, 98, 99, 127, 128, 16_354, 16_355, 16_383, 16_384]
    for sequence, size in enumerate(sizes, 1):
        await ground.tables.message(1, "foo", sequence, b"x" * size)
    origin = SqlOrigin("", ground.source)
    store = open_store("SQL", StoreSettings(sql_source=ground.target, encryption=Encryption("k")))
    await Transfer(origin, store, payload_overhead_bytes=OVERHEAD_BYTES).run("", "_INBOX.new")
    await origin.close()
    await store.close()
    with closing(sqlite3.connect(ground.target)) as database:
        rows = database.execute(
            "SELECT sequence, timestamp_ns, position, data FROM stan_messages ORDER BY sequence"
        ).fetchall()
        (end,) = database.execute("SELECT end_position FROM stan_channels").fetchone()
    stored = [
        len(encode_message(sequence, string_field(0x12, b"foo"), "", data, timestamp_ns))
        for sequence, timestamp_ns, _, data in rows
    ]
    assert len(stored) == len(sizes)
    assert [position for _, _, position, _ in rows] == list(accumulate(stored, initial=0))[:-1]
    assert end == sum(stored)
