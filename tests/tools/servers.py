"""Fixtures for tests that need running servers: shared ones, and ones to kill.

The streaming server is ours, or the binary that STAN_TEST_SERVER names. Each has a cluster
ID of its own, so that several share one NATS server.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tools.processes import NatsServer
from tests.tools.streaming_server import StreamingServer, implementation_under_test

StartServer = Callable[..., StreamingServer]


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """The NATS server that all meet on."""
    server = NatsServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stan_server(
    nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StreamingServer]:
    """A streaming server for all tests that do not harm it."""
    directory = tmp_path_factory.mktemp("stan")
    server = StreamingServer(
        implementation_under_test(), nats_server.url, "MEMORY", directory, ("-mc", "0")
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_server(nats_server: NatsServer, tmp_path: Path) -> Iterator[StartServer]:
    """Start a streaming server for one test only: ``start_server(*flags, nats_url=...)``."""
    started: list[StreamingServer] = []

    def start(*flags: str, nats_url: str = "", store: str = "MEMORY") -> StreamingServer:
        server = StreamingServer(
            implementation_under_test(), nats_url or nats_server.url, store, tmp_path, flags
        )
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def restartable_nats() -> Iterator[NatsServer]:
    """A NATS server for one test only."""
    server = NatsServer().start()
    yield server
    server.stop()
