"""A real server under load while others stand in its database's way: deadlocks, slow disks.

The load and the audit are those of the other faults: nothing acknowledged is lost, no
sequence repeats, and the server goes on by itself.
"""

import asyncio
import os
import signal

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from stan.store.sql.sources import parse_source
from tests.crash.test_faults_database import place
from tests.crash.trial import Plan, endure
from tests.tools.databases import DatabaseServer, PostgresServer


async def test_deadlocks_with_a_stranger(database_server: DatabaseServer) -> None:
    site = await place(database_server)
    source = parse_source("", site.source)
    engine = create_async_engine(source.url, connect_args=source.connect_args, poolclass=NullPool)
    met: list[str] = []

    async def entangle() -> None:
        """Lock rows in the opposite order of a commit; the database must end one of the two."""
        async with engine.connect() as stranger:
            try:
                await stranger.execute(text("UPDATE stan_channels SET deleted = deleted"))
                await asyncio.sleep(0.2)  # a commit holds the server's row by now, and waits
                await stranger.execute(text("UPDATE stan_server SET epoch = epoch"))
                met.append("the server")
            except DBAPIError:
                met.append("the stranger")
            await stranger.rollback()

    try:
        await endure(site, Plan(kills=4, seed=36, fault=entangle))
    finally:
        await engine.dispose()
    assert len(met) >= 4
    if "the server" in met:
        assert "eadlock" in site.output


async def test_a_disk_that_takes_a_second(postgres_server: PostgresServer) -> None:
    site = await place(postgres_server)
    database = site.source.rsplit("/", 1)[-1].split("?")[0]

    async def freeze() -> None:
        """Stop the processes that serve this server, as a write that hangs would."""
        found = await postgres_server.execute(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'"
        )
        assert found
        for (process,) in found:
            os.kill(int(process), signal.SIGSTOP)
        await asyncio.sleep(1.0)  # how long the disk hangs
        for (process,) in found:
            os.kill(int(process), signal.SIGCONT)

    await endure(site, Plan(kills=4, seed=37, fault=freeze))
