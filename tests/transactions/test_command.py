"""stan outbox relay as a user runs it."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

import stan
from stan.cli.outbox import USAGE, main
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer, start_server

from .test_outbox import receive

__all__ = ["start_server"]
PROGRAM = (sys.executable, "-c", "from stan.cli.outbox import run; run()", "relay")


async def run(*arguments: str) -> tuple[int | None, str, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*PROGRAM, *arguments, stdout=pipe, stderr=pipe)
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
    assert await run(*where, "--once") == (0, "published 2, parked 0\n", "")
    process = await asyncio.create_subprocess_exec(*PROGRAM, *where, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"relaying; stop with Ctrl-C\n"
    await write(path, b"3")
    async with await stan.connect(server.cluster, "reader", servers=nats_server.url) as reader:
        assert [one.data for one in await receive(reader, "orders", 3)] == [b"1", b"2", b"3"]
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_what_is_wrong_is_one_line(
    tmp_path: Path, start_server: StartServer, nats_server: NatsServer
) -> None:
    code, out, err = await run()
    assert (code, out) == (1, "")
    assert err == "stan outbox relay: no database is named (--database, or STAN_SQL_SOURCE)\n"
    code, out, err = await run("--database", "nonsense://x")
    assert (code, out) == (1, "")
    assert err.startswith("stan outbox relay: this is no database URL: ")
    assert err.count("\n") == 1
    server = start_server("-mc", "0")
    where = ("-s", nats_server.url, "-c", server.cluster, "--once")
    code, out, err = await run(*where, "--database", str(tmp_path / "empty.db"))
    assert (code, out) == (1, "")
    assert "no such table: stan_outbox" in err
    assert err.count("\n") == 1


def test_it_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert main(["--help"]) == 0
    assert main(["fly"]) == 2
    assert capsys.readouterr().err == (USAGE + "\n") * 3
    assert main(["relay", "-h"]) == 0
