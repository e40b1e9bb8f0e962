"""Fixtures: a group of servers on each kind of database."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.failover.group import Group
from tests.store.conftest import postgres_server
from tests.tools.databases import DatabaseServer
from tests.tools.processes import NatsServer
from tests.tools.streaming_client import Clients

__all__ = ["postgres_server"]


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    server = NatsServer().start()
    yield server
    server.stop()


@pytest.fixture
async def sqlite_group(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Group]:
    group = Group(str(tmp_path / "stan.db"), tmp_path, nats_server)
    yield group
    await group.close()


@pytest.fixture
async def postgres_group(
    nats_server: NatsServer, tmp_path: Path, postgres_server: DatabaseServer
) -> AsyncIterator[Group]:
    source = postgres_server.source(await postgres_server.create_database())
    group = Group(source, tmp_path, nats_server)
    yield group
    await group.close()


@pytest.fixture(params=["sqlite", "postgres"])
def group(request: pytest.FixtureRequest) -> Group:
    """A group on each."""
    made: Group = request.getfixturevalue(f"{request.param}_group")
    return made


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    async with Clients() as made:
        yield made
