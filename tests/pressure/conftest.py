"""Fixtures: a server of one's own with its nats-server, and clients for it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.pressure.processes import DOCUMENTED_BYTES, Cell, PressedServer, make_server
from tests.tools.servers import nats_server, start_server
from tests.tools.streaming_client import Clients

__all__ = ["nats_server", "start_server"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PressedServer]:
    """A server for one test only."""
    pressed = make_server(tmp_path)
    pressed.start()
    yield pressed
    pressed.stop()


@pytest.fixture
def confined_server(tmp_path: Path) -> Iterator[PressedServer]:
    """The same in as much memory as the documentation says is good."""
    cell = Cell(DOCUMENTED_BYTES)
    pressed = make_server(tmp_path, cell=cell)
    try:
        pressed.start()
        yield pressed
    finally:
        pressed.stop()
        cell.remove()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Makes clients; they are closed after the test."""
    async with Clients() as made:
        yield made
