"""The backends: every behaviour test runs on memory, SQLite (with payloads encrypted, too),
PostgreSQL and MariaDB."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from stan.store.contract import Store
from stan.store.encryption import Encryption
from stan.store.open import open_store
from stan.store.settings import StoreSettings
from tests.tools.databases import DatabaseServer, MysqlServer, PostgresServer

DATABASES = ("sqlite", "postgres", "mysql")


class Place:
    """Where data lives, and the stores opened on it. Memory has one store, never reopened."""

    def __init__(self, kind: str, source: str, server: DatabaseServer | None, database: str):
        self.kind = kind
        self.source = source
        self.server = server
        self.database = database
        self.encryption: Encryption | None = None
        self._opened: list[Store] = []
        self._memory: Store | None = None

    def settings(self, **options: Any) -> StoreSettings:
        """What opens this data, with these changes."""
        options.setdefault("sql_source", self.source)
        return StoreSettings(sql_driver=self.kind, **options)

    def store(self, **options: Any) -> Store:
        """A store on this data, not opened; closed when the test ends."""
        if self.kind == "memory":
            self._memory = self._memory or open_store("MEMORY")
            return self._memory
        options.setdefault("encryption", self.encryption)
        store = open_store("SQL", self.settings(**options))
        self._opened.append(store)
        return store

    async def opened(self, **options: Any) -> Store:
        store = self.store(**options)
        await store.open()
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


def _server(kind: type[PostgresServer] | type[MysqlServer]) -> Iterator[DatabaseServer]:
    reason = kind.missing()
    if reason and os.environ.get("STAN_REQUIRE_DATABASES") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    server = kind()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[DatabaseServer]:
    yield from _server(PostgresServer)


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[DatabaseServer]:
    yield from _server(MysqlServer)


async def _place(kind: str, request: pytest.FixtureRequest, folder: Path) -> Place:
    if kind == "memory":
        return Place(kind, "", None, "")
    if kind in ("sqlite", "encrypted"):
        place = Place("sqlite", str(folder / "stan.db"), None, "")
        place.encryption = Encryption("correct horse") if kind == "encrypted" else None
        return place
    server: DatabaseServer = request.getfixturevalue(f"{kind}_server")
    database = await server.create_database()
    return Place(kind, server.source(database), server, database)


@pytest.fixture(params=("memory", "encrypted", *DATABASES))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Every backend, empty."""
    place = await _place(request.param, request, tmp_path)
    yield place
    await place.close()


@pytest.fixture(params=DATABASES)
async def sql_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Every database, empty."""
    place = await _place(request.param, request, tmp_path)
    yield place
    await place.close()


@pytest.fixture(params=DATABASES[1:])
async def networked_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Every database that is reached by a network, empty."""
    place = await _place(request.param, request, tmp_path)
    yield place
    await place.close()


@pytest.fixture
async def sqlite_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    place = await _place("sqlite", request, tmp_path)
    yield place
    await place.close()


@pytest.fixture
async def store(place: Place) -> Store:
    """An open, empty store of every kind."""
    return await place.opened()
