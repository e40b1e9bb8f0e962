"""The notebook shows what its cells give."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.processes import NatsServer
from tests.tools.streaming_server import StreamingServer, implementation_under_test
from tests.tutorial.notebook import code_cells, read, run, shown
from tests.tutorial.transcript import mask


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamingServer]:
    nats = NatsServer().start()
    server = StreamingServer(implementation_under_test(), nats.url, "MEMORY", tmp_path, ())
    server.start()
    yield server
    server.stop()
    nats.stop()


async def test_each_cell_shows_what_stands_below_it(server: StreamingServer) -> None:
    cells = code_cells(read())
    outputs = await run(cells, server.nats_url, server.cluster)
    assert [mask(shown({"outputs": each})) for each in outputs] == [
        mask(shown(cell)) for cell in cells
    ]
