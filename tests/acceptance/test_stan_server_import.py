"""stan-server import, from the original's data to clients that go on where they were.

The recorded FILE store is what `play` left in the original (v0.25.6), without its index
files; where the original's binary is found (STAN_ORIGINAL_SERVER, or PATH), the tests at the end
play it anew.
"""

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import stan
from stan.cli.server import main
from stan.importing.transfer import Transfer
from tests.importing.tables import CLUSTER, OriginalTables, durable
from tests.tools.databases import PostgresServer
from tests.tools.processes import NatsServer
from tests.tools.streaming_server import Implementation, StreamingServer, find_original

WAIT_S = 15.0
RECORDED = Path(__file__).parents[1] / "importing" / "recorded"
RECORDED_CLUSTER = "recorded"


def run_import(*flags: str) -> int:
    return main(["import", *flags])


@pytest.fixture
async def original(tmp_path: Path) -> AsyncIterator[OriginalTables]:
    """An SQLite file with the original's tables: a channel, three messages, a durable."""
    tables = OriginalTables("", str(tmp_path / "original.db"))
    await tables.create()
    await tables.channel(1, "foo")
    await tables.messages(1, "foo", 3)
    await tables.subscription(1, durable(1, "me", "dur"), 2)
    await tables.pending(1, pending=b"[1,2]", acks=b"[1]")
    yield tables
    await tables.close()


async def in_thread(*flags: str) -> int:
    """The command has a loop of its own."""
    return await asyncio.to_thread(run_import, *flags)


async def test_an_import_is_tried_done_and_not_done_twice(
    original: OriginalTables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--from_source", str(tmp_path / "original.db"), "--sql_source", f"{tmp_path}/stan.db")
    assert await in_thread(*flags, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "messages: 3 (6 bytes), durables: 1 (unacknowledged messages: 1), not imp" in shown
    assert not (tmp_path / "stan.db").exists()
    assert await in_thread(*flags) == 0
    assert f"imported into {tmp_path}/stan.db." in capsys.readouterr().out
    assert await in_thread(*flags) == 1
    assert f'already belongs to cluster "{CLUSTER}"' in capsys.readouterr().err


def test_a_source_with_a_password_need_not_be_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "postgres://me:secret@127.0.0.1:1/old?sslmode=disable"
    monkeypatch.setenv("STAN_FROM_SOURCE", source)
    assert run_import("--sql_source", str(tmp_path / "stan.db")) == 1
    shown = capsys.readouterr().err
    assert "127.0.0.1:1/old" in shown
    assert "secret" not in shown


async def test_a_payload_is_decrypted_and_encrypted(
    original: OriginalTables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from stan.store.encryption import Encryption

    monkeypatch.setenv("NATS_STREAMING_ENCRYPTION_KEY", "old key")
    (payload,) = Encryption("old key", "CHACHA").encrypt("foo", 3, [b"secret"])
    await original.message(1, "foo", 4, payload)
    flags = ("--from_source", str(tmp_path / "original.db"), "--sql_source")
    assert await in_thread(*flags, str(tmp_path / "plain.db")) == 0
    assert await in_thread(*flags, str(tmp_path / "sealed.db"), "--encrypt") == 0
    plain, sealed = (stored_payload(tmp_path / name) for name in ("plain.db", "sealed.db"))
    assert plain == b"secret"
    assert sealed != payload
    assert Encryption("old key").decrypt("foo", sealed) == b"secret"
    monkeypatch.setenv("NATS_STREAMING_ENCRYPTION_KEY", "new key")
    assert await in_thread(*flags, str(tmp_path / "none.db")) == 1
    assert 'message 4 of channel "foo" cannot be decrypted' in capsys.readouterr().err


def stored_payload(path: Path) -> bytes:
    with sqlite3.connect(path) as database:
        (row,) = database.execute("SELECT data FROM stan_messages WHERE sequence=4").fetchall()
    database.close()
    return bytes(row[0])


@pytest.mark.parametrize("flags", [(), ("--from_source=a", "--from_dir=b"), ("-nonsense",)])
def test_a_wrong_command_line_shows_the_usage(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_import(*flags) == 2
    assert "Usage: stan-server import [options]" in capsys.readouterr().err


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = ("--sql_source", str(tmp_path / "stan.db"))
    assert run_import("--from_dir", str(tmp_path / "nowhere"), *target) == 1
    assert run_import("--from_dir", str(tmp_path), *target) == 1
    assert run_import("--from_dir", str(RECORDED)) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == f"stan-server import: there is no folder {tmp_path}/nowhere"
    assert "does not hold a FILE store of nats-streaming-server" in errors[1]
    assert "the SQL store needs a source" in errors[2]


def test_an_interruption_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupt(transfer: Transfer, *arguments: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Transfer, "run", interrupt)
    target = ("--sql_source", str(tmp_path / "stan.db"))
    assert run_import("--from_dir", str(RECORDED), *target) == 1
    assert capsys.readouterr().err.startswith("stan-server import: interrupted")


def serve(source: Path, *flags: str) -> int:
    """Start a server that is expected not to start."""
    return main(["-p", "-1", "-a", "127.0.0.1", "-st", "SQL", "--sql_source", str(source), *flags])


def test_no_server_starts_on_half_an_import(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "original.db", tmp_path / "stan.db"
    asyncio.run(make_original(source, damaged=True))
    flags = ("--from_source", str(source), "--sql_source", str(target))
    assert run_import(*flags) == 1
    assert 'message 1 of channel "foo" cannot be read' in capfd.readouterr().err
    assert serve(target) == 1
    assert "did not end: run `stan-server import` again" in capfd.readouterr().err
    with sqlite3.connect(source) as database:
        database.execute("DELETE FROM Messages")
    database.close()
    assert run_import(*flags) == 0
    assert "starting over" in capfd.readouterr().out


def test_no_server_starts_as_if_the_old_channels_were_not_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "original.db"
    asyncio.run(make_original(source))
    assert serve(source) == 1
    shown = capfd.readouterr().err
    assert "run `stan-server import` to bring them over" in shown
    assert "Traceback" not in shown
    assert run_import("--from_source", str(source), "--sql_source", str(source)) == 0


async def make_original(source: Path, *, damaged: bool = False) -> None:
    tables = OriginalTables("", str(source))
    await tables.create()
    await tables.channel(1, "foo")
    if damaged:
        await tables.insert("Messages", id=1, seq=1, timestamp=1, size=2, data=b"\x0a\x09")
    await tables.close()


# The whole way: what the original's clients had not acked comes again, then what is new.


async def play(server: StreamingServer, nats_url: str) -> None:
    """On the original, which stops at the end with its client connected: a durable that owes
    2, 4 and 5, and a member of a durable group that owes all but 2."""
    sc = await stan.connect(server.cluster, "me", servers=nats_url, connect_wait=1)
    for number in range(1, 5):
        await sc.publish("foo", b"m%d" % number)
    await sc.publish("other.channel", b"alone")
    single = await sc.subscribe("foo", durable="dur", start_at="first", manual_acks=True)
    group = await sc.subscribe(
        "foo", durable="dur", queue="group", start_at="first", manual_acks=True
    )
    await sc.subscribe("foo")
    for subscription, acked in ((group, {2}), (single, {1, 3})):
        for message in await take(subscription, 4):
            if message.sequence in acked:
                await message.ack()
    await sc.publish("foo", b"m5")
    await take(group, 1)
    await take(single, 1)
    await single.close()  # the server has taken all acks when it answers
    await asyncio.to_thread(server.stop)
    with contextlib.suppress(stan.RequestTimeoutError):
        await sc.close()


async def take(subscription: stan.Subscription, count: int) -> list[stan.Message]:
    found: list[stan.Message] = []
    async with asyncio.timeout(WAIT_S):
        while len(found) < count:
            found.append(await anext(subscription))
    return found


async def resume(server: StreamingServer, nats_url: str) -> None:
    """On ours: exactly what was not acked, redelivered and in order, then the new."""
    async with stan.connect(server.cluster, "me", servers=nats_url) as sc:
        await sc.publish("foo", b"m6")
        single = await sc.subscribe("foo", durable="dur", manual_acks=True)
        assert brief(await take(single, 4)) == [(2, True), (4, True), (5, True), (6, False)]
        group = await sc.subscribe("foo", durable="dur", queue="group", manual_acks=True)
        expected = [(1, True), (3, True), (4, True), (5, True), (6, False)]
        assert brief(await take(group, 5)) == expected
        everything = await sc.subscribe("foo", start_at="first")
        found = await take(everything, 6)
        assert [message.data for message in found] == [b"m%d" % n for n in range(1, 7)]
        assert [message.timestamp for message in found] == sorted(m.timestamp for m in found)


def brief(messages: list[stan.Message]) -> list[tuple[int, bool]]:
    return [(message.sequence, message.redelivered) for message in messages]


def ours(nats_url: str, cluster: str, directory: Path) -> StreamingServer:
    """A server of ours on the store that was imported into."""
    command = (sys.executable, "-m", "stan.cli.server")
    implementation = Implementation(command, ("SQL",), "SQL", ())
    return StreamingServer(implementation, nats_url, "SQL", directory, cluster=cluster)


async def import_and_resume(nats_url: str, cluster: str, directory: Path, *flags: str) -> None:
    """Import into a file in `directory`, serve it, be the clients again."""
    assert await in_thread(*flags, "--sql_source", str(directory / "stan.db")) == 0
    server = ours(nats_url, cluster, directory)
    try:
        await asyncio.to_thread(server.start)
        await resume(server, nats_url)
    finally:
        await asyncio.to_thread(server.stop)


async def test_clients_of_a_recorded_store_go_on_where_they_were(
    tmp_path: Path, nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_and_resume(
        nats_server.url, RECORDED_CLUSTER, tmp_path, "--from_dir", str(RECORDED)
    )
    shown = capsys.readouterr()
    assert shown.err == ""
    expected = (
        f'{RECORDED}: cluster "{RECORDED_CLUSTER}", channels: 2, messages: 6 (15 bytes), '
        f"durables: 2 (unacknowledged messages: 7), imported into {tmp_path}/stan.db. "
        "Left behind: connected clients: 1, other subscriptions: 1.\n"
    )
    assert shown.out == expected


def original_server() -> str:
    """The original's binary; skips without one."""
    binary = find_original()
    if not binary:
        pytest.skip(
            "the original is not here (STAN_ORIGINAL_SERVER, or nats-streaming-server on PATH)"
        )
    return binary


async def live_original(nats_url: str, tmp_path: Path, *flags: str, cluster: str = "live") -> None:
    """Start the original, be its clients, stop it."""
    implementation = Implementation((original_server(),), ("FILE",), "FILE", ())
    server = StreamingServer(implementation, nats_url, "FILE", tmp_path, flags, cluster=cluster)
    try:
        await asyncio.to_thread(server.start)
        await play(server, nats_url)
    finally:
        await asyncio.to_thread(server.stop)


@pytest.mark.parametrize("flags", [(), ("-encrypt", "-encryption_key", "key")])
async def test_clients_of_a_live_file_store_resume_and_receive_the_rest(
    tmp_path: Path, nats_server: NatsServer, flags: tuple[str, ...]
) -> None:
    await live_original(nats_server.url, tmp_path, *flags)
    key = ("--encryption_key", "key") if flags else ()
    await import_and_resume(
        nats_server.url, "live", tmp_path, "--from_dir", str(tmp_path / "store"), *key
    )


@pytest.mark.parametrize("caching", ["false", "true"])
async def test_clients_of_a_live_database_resume_and_receive_the_rest(
    tmp_path: Path, nats_server: NatsServer, caching: str
) -> None:
    original_server()
    if reason := PostgresServer.missing():
        pytest.skip(reason)
    postgres = PostgresServer()
    try:
        source = postgres.source(await postgres.create_database())
        tables = OriginalTables("", source)
        await tables.create(with_server=False)
        await tables.execute("CREATE TABLE StoreLock (id VARCHAR(30), tick BIGINT DEFAULT 0)")
        await tables.close()
        await live_original(
            nats_server.url,
            tmp_path,
            *("-st", "SQL", "-sql_driver", "postgres", "-sql_source", source),
            f"-sql_no_caching={caching}",
        )
        await import_and_resume(nats_server.url, "live", tmp_path, "--from_source", source)
    finally:
        postgres.remove()
