"""Stores with encrypted payloads: what stands in the database, and who can read it."""

import logging
import sqlite3
from pathlib import Path

import pytest

from stan.engine.records import ServerRecord
from stan.errors import StoreRefusedError
from stan.store.contract import Store
from stan.store.encryption import OVERHEAD_BYTES, Encryption
from stan.wire.messages import unframe_message
from stan.wire.stan_pb2 import MsgProto

from .conftest import Place
from .records import Writer, range_load, read_all

AES = Encryption("correct horse", "AES")
CHACHA = Encryption("correct horse", "CHACHA")
WRONG = Encryption("another horse")
SECRET = b"nobody may read this on the disk"


async def payloads_of(store: Store, channel_id: int = 1) -> list[bytes]:
    messages = await read_all(store, channel_id)
    return [MsgProto.FromString(unframe_message(framed)).data for framed in messages.values()]


def content(folder: Path) -> bytes:
    """The bytes of every file."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def written(place: Place, *payloads: bytes, encryption: Encryption | None) -> Writer:
    """A store with these payloads on channel 1, closed again."""
    store = await place.opened(encryption=encryption)
    await store.initialize(ServerRecord("test-cluster", "_INBOX.acks"))
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, payloads, 1000)
    await store.close()
    return writer


async def reopened(
    place: Place, writer: Writer, encryption: Encryption | None, **options: bool
) -> Store:
    """The store again, with another key or cipher; the writer goes on writing to it."""
    store = await place.opened(encryption=encryption, **options)
    await store.recover()
    writer.store = store
    return store


async def test_every_database_keeps_ciphertext_104(sql_place: Place) -> None:
    writer = await written(sql_place, SECRET, b"", b"\x01x", encryption=AES)
    assert await payloads_of(await reopened(sql_place, writer, CHACHA)) == [SECRET, b"", b"\x01x"]
    await writer.store.close()

    raw = await reopened(sql_place, writer, None, deliver_encrypted=True)
    stored = await payloads_of(raw)
    assert [len(data) for data in stored] == [
        len(SECRET) + OVERHEAD_BYTES,
        0,
        2 + OVERHEAD_BYTES,
    ]
    assert AES.decrypt("foo", stored[0]) == SECRET


async def test_the_payload_is_nowhere_in_the_files(sqlite_place: Place, tmp_path: Path) -> None:
    store = await sqlite_place.opened(encryption=AES)
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [SECRET] * 50, 1000, replies=["reply.in.clear"] * 50)

    kept = content(tmp_path)  # the WAL, too
    await store.close()
    kept += content(tmp_path)
    assert b"reply.in.clear" in kept
    assert SECRET not in kept
    assert SECRET[:12] not in kept


async def test_ciphers_may_be_switched_any_time_104(sqlite_place: Place) -> None:
    writer = await written(sqlite_place, b"plain", b"of before", encryption=None)
    for number, encryption in enumerate((AES, CHACHA, AES)):
        store = await reopened(sqlite_place, writer, encryption)
        await writer.append(1, [b"generation %d" % number], 2000 + number)
        await store.close()

    with sqlite3.connect(sqlite_place.source) as raw:
        rows = raw.execute("SELECT data FROM stan_messages ORDER BY sequence").fetchall()
    raw.close()
    assert [data[:1] for (data,) in rows] == [b"p", b"o", b"\x01", b"\x02", b"\x01"]
    assert await payloads_of(await reopened(sqlite_place, writer, CHACHA)) == [
        b"plain",
        b"of before",
        b"generation 0",
        b"generation 1",
        b"generation 2",
    ]


async def test_a_wrong_key_is_an_error_that_names_the_message_104(
    sqlite_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    writer = await written(sqlite_place, b"first", b"second", encryption=AES)
    with caplog.at_level(logging.WARNING, "stan.store"):
        store = await reopened(sqlite_place, writer, WRONG)

    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        'message 2 of channel "foo" cannot be decrypted: wrong encryption key, or damaged data'
    ]
    with pytest.raises(StoreRefusedError, match=r'^message 1 of channel "foo" cannot be decrypted'):
        await store.load(range_load(1))


async def test_what_comes_before_an_unreadable_message_is_read(sqlite_place: Place) -> None:
    writer = await written(sqlite_place, b"first", b"second", encryption=AES)
    store = await reopened(sqlite_place, writer, WRONG)
    await writer.append(1, [b"third"], 2000)
    await store.close()

    store = await reopened(sqlite_place, writer, AES)
    history = await store.load(range_load(1))
    assert history.sequences == [1, 2]
    with pytest.raises(StoreRefusedError, match="message 3"):
        await store.load(range_load(1, 3))


async def test_without_the_key_an_encrypted_store_is_refused(sql_place: Place) -> None:
    await written(sql_place, SECRET, encryption=AES)
    store = await sql_place.opened()

    with pytest.raises(StoreRefusedError, match=r'^message 1 of channel "foo" is encrypted.*-enc'):
        await store.recover()


async def test_payloads_that_begin_like_encrypted_ones_are_no_reason_to_refuse(
    sqlite_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    payloads = [b"\x01" + bytes(3), b"\x02" * 60, b"\x01" + b"long enough for a nonce and a tag"]
    writer = await written(sqlite_place, *payloads, encryption=None)

    store = await reopened(sqlite_place, writer, None)
    assert await payloads_of(store) == payloads
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_refused_commit_uses_up_its_nonces(sqlite_place: Place) -> None:
    encryption = Encryption("correct horse")
    store = await sqlite_place.opened(encryption=encryption)
    writer = Writer(store)
    await writer.create(1)
    failed = writer.batch(runs=[writer.run(1, [b"lost"], 1000), writer.run(9, [b"nowhere"], 1000)])
    with pytest.raises(StoreRefusedError):
        await store.commit(failed)
    writer.last[1] = writer.position[1] = 0
    await writer.append(1, [b"kept"], 1000)
    await store.close()

    with sqlite3.connect(sqlite_place.source) as raw:
        ((data,),) = raw.execute("SELECT data FROM stan_messages").fetchall()
    raw.close()
    assert int.from_bytes(data[5:13], "big") == 2
