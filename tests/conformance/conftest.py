"""Fixtures of the conformance suite: one NATS server for all, streaming servers beside it.

Most tests share a server per store and keep apart by the names of their channels and clients;
those that need other limits, heartbeats or a crash start one of their own with `start_server`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.tools.processes import NatsServer
from tests.tools.servers import nats_server
from tests.tools.streaming_client import Client, Clients, new_id
from tests.tools.streaming_server import Implementation, StreamingServer, implementation_under_test

__all__ = ["nats_server"]

StartServer = Callable[..., Awaitable[StreamingServer]]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "statement(*numbers): the statements of the protocol that the test proves"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on the stores of the server under test that it asks for."""
    implementation = implementation_under_test()
    if "persistent_store" in metafunc.fixturenames:
        metafunc.parametrize("persistent_store", [implementation.persistent_store])
    if "store" in metafunc.fixturenames:
        metafunc.parametrize("store", implementation.stores, scope="session")


@pytest.fixture(scope="session")
def implementation() -> Implementation:
    """The implementation under test."""
    return implementation_under_test()


def share(
    implementation: Implementation,
    nats_url: str,
    store: str,
    directory: Path,
    *,
    quick_timers: bool,
) -> Iterator[StreamingServer]:
    """A server without a limit of channels that many tests share."""
    shared = StreamingServer(
        implementation, nats_url, store, directory, ("-mc", "0"), quick_timers=quick_timers
    )
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def server(
    implementation: Implementation,
    nats_server: NatsServer,
    store: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StreamingServer]:
    """The shared server with the protocol's own timers."""
    directory = tmp_path_factory.mktemp("shared")
    yield from share(implementation, nats_server.url, store, directory, quick_timers=False)


@pytest.fixture(scope="session")
def quick_server(
    implementation: Implementation,
    nats_server: NatsServer,
    store: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StreamingServer]:
    """The shared server with the shortest ack waits it can take."""
    directory = tmp_path_factory.mktemp("quick")
    yield from share(implementation, nats_server.url, store, directory, quick_timers=True)


@pytest.fixture
async def start_server(
    implementation: Implementation, nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[StartServer]:
    """Start servers of the test's own: `await start_server(store, "-mc", "1")`."""
    started: list[StreamingServer] = []

    async def start(
        store: str, *flags: str, config: str = "", run: bool = True, cluster: str = ""
    ) -> StreamingServer:
        directory = tmp_path / f"server-{len(started)}"
        directory.mkdir()
        if config:
            (directory / "stan.conf").write_text(config)
            flags = (*flags, "-sc", str(directory / "stan.conf"))
        one = StreamingServer(implementation, nats_server.url, store, directory, flags, True)
        one.cluster = cluster or one.cluster
        started.append(one)
        if run:
            await asyncio.to_thread(one.start)
        return one

    yield start
    for one in started:
        await asyncio.to_thread(one.stop)


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Makes clients that end with the test."""
    async with Clients() as made:
        yield made


@pytest.fixture
async def client(clients: Clients, server: StreamingServer) -> Client:
    """A registered client of the shared server."""
    return await clients.connect(server)


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return new_id("ch")
