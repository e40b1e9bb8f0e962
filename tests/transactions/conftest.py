"""Databases that an application and a server share, and the servers on them."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from stan.store.sql.sources import parse_source
from tests.store.conftest import DATABASES, mysql_server, postgres_server
from tests.tools.databases import DatabaseServer
from tests.tools.processes import NatsServer
from tests.tools.servers import nats_server
from tests.tools.streaming_server import StreamingServer, implementation_under_test

__all__ = ["mysql_server", "nats_server", "postgres_server"]


class Home:
    """A database of one kind, and whoever works on it."""

    def __init__(self, kind: str, source: str) -> None:
        self.kind = kind
        self.source = source

    def engine(self, **options: object) -> AsyncEngine:
        """An application's own connections."""
        parsed = parse_source(self.kind, self.source)
        url, arguments = parsed.url, dict(parsed.connect_args)
        if self.kind == "sqlite":
            url = url.set(drivername="sqlite+aiosqlite")
            arguments["timeout"] = 60
        return create_async_engine(url, connect_args=arguments, **options)  # type: ignore[arg-type]

    @property
    def flags(self) -> tuple[str, ...]:
        """What makes a server use the database."""
        return ("-st", "SQL", "--sql_driver", self.kind, "--sql_source", self.source, "-mc", "0")


async def make_home(kind: str, request: pytest.FixtureRequest, folder: Path) -> Home:
    if kind == "sqlite":
        return Home(kind, str(folder / "shared.db"))
    server: DatabaseServer = request.getfixturevalue(f"{kind}_server")
    return Home(kind, server.source(await server.create_database()))


@pytest.fixture(params=DATABASES)
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Every database, empty."""
    return await make_home(request.param, request, tmp_path)


@pytest.fixture
async def engine(home: Home) -> AsyncIterator[AsyncEngine]:
    engine = home.engine()
    yield engine
    await engine.dispose()


Serve = Callable[..., StreamingServer]


@pytest.fixture
def serve(nats_server: NatsServer, tmp_path: Path) -> Iterator[Serve]:
    """Start a streaming server on a home."""
    started: list[StreamingServer] = []

    def start(home: Home, *flags: str, wait: bool = True) -> StreamingServer:
        server = StreamingServer(
            implementation_under_test(), nats_server.url, "", tmp_path, (*home.flags, *flags)
        )
        if started:
            server.cluster = started[0].cluster
        started.append(server)
        if wait:
            server.start()
        return server

    yield start
    for server in started:
        server.stop()
