"""The command stan-server with encryption at rest: keys, restarts, what the log says."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import stan
from tests.acceptance.test_stan_server import READY, WAIT_S, Process, Start, descendants, start

__all__ = ["start"]

KEY = "NATS_STREAMING_ENCRYPTION_KEY"
SECRET = b"nobody may read this on the disk"


@asynccontextmanager
async def connected(server: Process, client_id: str = "me") -> AsyncIterator[stan.Connection]:
    await server.read_until(READY)
    async with stan.connect(
        "test-cluster", client_id, servers=[f"nats://127.0.0.1:{server.port}"]
    ) as connection:
        yield connection


async def read(subscription: stan.Subscription, count: int) -> list[bytes]:
    async with asyncio.timeout(WAIT_S):
        return [(await anext(subscription)).data for _ in range(count)]


def environments(pid: int) -> bytes:
    """What the processes below one were started with."""
    return b"".join(Path(f"/proc/{each}/environ").read_bytes() for each in descendants(pid))


def content(folder: Path) -> bytes:
    """The bytes of every file."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> list[str]:
    return ["-st", "SQL", "--sql_source", str(tmp_path / "stan.db")]


async def test_the_environments_key_encrypts_and_shows_nowhere_104(
    start: Start, store: list[str], tmp_path: Path
) -> None:
    key = "correct horse"
    server = await start(*store, "-encrypt", "-SDV", **{KEY: key})
    async with connected(server) as sc:
        await sc.publish("foo", SECRET)
        assert key.encode() not in environments(server.process.pid)
    server.process.kill()
    await server.end()
    assert key not in "\n".join(server.lines)
    assert "Payloads are encrypted at rest" in "\n".join(server.lines)
    assert SECRET not in content(tmp_path)

    # The environment's key comes before the flag's; the cipher may change.
    flags = ["-encryption_key", "another", "-encryption_cipher", "chacha"]
    server = await start(*store, *flags, **{KEY: key})
    async with connected(server) as sc:
        await sc.publish("foo", b"second")
        assert await read(await sc.subscribe("foo", start_at="first"), 2) == [SECRET, b"second"]


async def test_a_wrong_key_concerns_only_what_it_cannot_read_104(
    start: Start, store: list[str]
) -> None:
    server = await start(*store, "-encryption_key", "right")
    async with connected(server) as sc:
        await sc.publish("foo", b"first")
        await sc.publish("foo", b"second")
    server.process.terminate()
    await server.end()

    server = await start(*store, "-encryption_key", "mistaken")
    async with connected(server) as sc:
        blocked = await sc.subscribe("foo", start_at="first")
        await server.read_until('[ERR] STREAM: Store: message 1 of channel "foo" cannot be decryp')
        live = await sc.subscribe("foo")
        other = await sc.subscribe("bar", start_at="first")
        for number in range(5):  # commits do not bring the line back
            await sc.publish("foo", b"live %d" % number)
            await sc.publish("bar", b"other %d" % number)
        assert await read(live, 5) == [b"live %d" % number for number in range(5)]
        assert await read(other, 5) == [b"other %d" % number for number in range(5)]
        await sc.subscribe("foo", start_at="first")
        await blocked.close()
    server.process.terminate()
    await server.end()
    told = [line for line in server.lines if "cannot be decrypted" in line]
    levels = ["[ERR]" if "[ERR]" in line else "[WRN]" for line in told]
    assert levels == ["[WRN]", "[ERR]"]  # at the start, and when it was wanted
    assert "mistaken" not in "\n".join(server.lines)


async def test_without_the_key_an_encrypted_store_is_one_clear_line(
    start: Start, store: list[str], tmp_path: Path
) -> None:
    server = await start(*store, "-encryption_key", "right")
    async with connected(server) as sc:
        await sc.publish("foo", SECRET)
    server.process.terminate()
    await server.end()

    server = await start(*store)
    assert await server.end() == 1
    assert [line for line in server.texts if line.startswith("Failed")] == [
        'Failed to start: message 1 of channel "foo" is encrypted, and encryption is not turned'
        " on: give the key, or -encrypt=false to deliver messages as they are stored"
    ]
    server = await start(*store, "-encrypt=false")
    async with connected(server) as sc:
        (data,) = await read(await sc.subscribe("foo", start_at="first"), 1)
    with sqlite3.connect(tmp_path / "stan.db") as raw:
        assert raw.execute("SELECT data FROM stan_messages").fetchall() == [(data,)]
    raw.close()
    assert len(data) == len(SECRET) + 29


async def test_limits_count_what_is_stored(start: Start, store: list[str]) -> None:
    # A message takes 50 bytes encrypted, 21 plain: 100 fit, of plain ones all would.
    server = await start(*store, "-encryption_key", "k", "-mb", "5000")
    async with connected(server) as sc:
        for number in range(101):
            await sc.publish("foo", b"%02d" % (number % 100))
        subscription = await sc.subscribe("foo", start_at="first")
        async with asyncio.timeout(WAIT_S):
            assert (await anext(subscription)).sequence == 2
