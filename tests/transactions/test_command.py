"""stan outbox relay as a user runs it."""

import asyncio
import json
import signal
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

import stan
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer, start_server

from .test_outbox import receive

__all__ = ["start_server"]
STAN = (sys.executable, "-c", "from stan.cli.main import run; run()")
PROGRAM = (*STAN, "outbox")


async def run(*arguments: str) -> tuple[int | None, str, str]:
    return await run_program("outbox", *arguments)


async def run_program(*arguments: str) -> tuple[int | None, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*STAN, *arguments, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def write(path: Path, *rows: bytes) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    metadata = MetaData()
    stan.outbox_table(metadata)
    async with engine.begin() as db:
        await db.run_sync(metadata.create_all)
        for row in rows:
            await stan.outbox(db).publish("orders", row)
    await engine.dispose()


async def test_rows_are_published(
    tmp_path: Path, start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server("-mc", "0")
    path = tmp_path / "app.db"
    where = ("-s", nats_server.url, "-c", server.cluster, "--database", str(path))
    await write(path, b"1", b"2")
    assert await run("relay", *where, "--once") == (0, "published 2, parked 0\n", "")
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "relay", *where, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"relaying; stop with Ctrl-C\n"
    await write(path, b"3")
    async with await stan.connect(server.cluster, "reader", servers=nats_server.url) as reader:
        assert [one.data for one in await receive(reader, "orders", 3)] == [b"1", b"2", b"3"]
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_where_to_connect_may_be_said_as_with_any_command(
    tmp_path: Path,
    start_server: StartServer,
    nats_server: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start_server("-mc", "0")
    path = tmp_path / "app.db"
    await write(path, b"1")
    monkeypatch.setenv("NATS_URL", nats_server.url)
    monkeypatch.setenv("STAN_CLUSTER", server.cluster)
    told = await run("relay", "--database", str(path), "--once")
    assert told == (0, "published 1, parked 0\n", "")
    await write(path, b"2")
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    arguments = ("-s", nats_server.url, "outbox", "relay", "--database", str(path), "--once")
    assert await run_program(*arguments) == (0, "published 1, parked 0\n", "")


async def test_what_is_wrong_is_one_line(
    tmp_path: Path, start_server: StartServer, nats_server: NatsServer
) -> None:
    code, out, err = await run("relay")
    assert (code, out) == (1, "")
    assert err == "stan outbox: no database is named (--database, or STAN_SQL_SOURCE)\n"
    code, out, err = await run("parked", "--database", "nonsense://x")
    assert (code, out) == (1, "")
    assert err.startswith("stan outbox: this is no database URL: ")
    assert err.count("\n") == 1
    missing = tmp_path / "typo.db"
    code, out, err = await run("relay", "--once", "--database", str(missing))
    assert (code, out, err) == (1, "", f"stan outbox: there is no database {missing}\n")
    assert not missing.exists()
    with closing(sqlite3.connect(tmp_path / "empty.db")) as empty:
        empty.execute("CREATE TABLE something (id INTEGER)")
    server = start_server("-mc", "0")
    where = ("-s", nats_server.url, "-c", server.cluster, "--once")
    code, out, err = await run("relay", *where, "--database", str(tmp_path / "empty.db"))
    assert (code, out) == (1, "")
    assert "no such table: stan_outbox" in err
    assert err.count("\n") == 1


async def test_parked_rows_are_shown_and_moved_back(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    metadata = MetaData()
    table, parked = stan.outbox_table(metadata), stan.outbox_parked_table(metadata)
    async with engine.begin() as db:
        await db.run_sync(metadata.create_all)
        for number in (3, 5, 8):
            moment = datetime(2026, 1, number, tzinfo=UTC)
            row = {"id": number, "channel": "a..b", "data": b"x", "msg_id": f"m{number}"}
            row |= {"created_at": moment, "parked_at": moment, "reason": "bad name"}
            await db.execute(parked.insert(), row)
    where = ("--database", str(path))
    code, out, err = await run("parked", *where, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [(row["id"], row["parked_time"][:10]) for row in found] == [
        (3, "2026-01-03"),
        (5, "2026-01-05"),
        (8, "2026-01-08"),
    ]
    assert {(row["channel"], row["size_bytes"], row["reason"]) for row in found} == {
        ("a..b", 1, "bad name")
    }
    assert await run("retry", *where, "--id", "5") == (0, "1 row moved back.\n", "")
    code, out, err = await run("drop", *where, "--id", "8")
    assert (code, out) == (1, "")
    assert "-f" in err
    code, out, err = await run("drop", *where, "-f")
    assert (code, out) == (2, "")
    assert "give --id, or --all" in err
    assert await run("drop", *where, "--id", "8", "-f") == (0, "1 row dropped.\n", "")
    assert await run("retry", *where, "--all") == (0, "1 row moved back.\n", "")
    assert await run("retry", *where) == (0, "0 rows moved back.\n", "")
    async with engine.connect() as db:
        rows = list(await db.execute(table.select().order_by(table.c.id)))
        assert list(await db.execute(parked.select())) == []
    assert [(row.msg_id, row.created_at.day) for row in rows] == [("m5", 5), ("m3", 3)]
    await engine.dispose()
