"""Ours and the original, given the same traffic now: the documents agree field by field.

The recorded documents say the same wherever the tests run; this says that the recording is
still what the original does. Its binary is that of STAN_ORIGINAL_SERVER, or on PATH.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.monitor.conftest import Monitored
from tests.server.monitor.recording import PATHS, Answer, record
from tests.server.monitor.test_monitor_documents import OURS, types
from tests.server.monitor.traffic import LIMITS_CONFIG
from tests.tools.processes import LoggedProcess, free_port
from tests.tools.streaming_server import find_original


@pytest.fixture
async def original(tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """A running original with the same limits: the URLs of its NATS server and monitor."""
    binary = find_original()
    if binary is None:
        pytest.skip("the original is not here (STAN_ORIGINAL_SERVER, or on PATH)")
    conf, port, monitor = tmp_path / "stan.conf", free_port(), free_port()
    conf.write_text(LIMITS_CONFIG)
    flags = ("-a", "127.0.0.1", "-p", str(port), "-m", str(monitor), "-sc", str(conf))
    process = LoggedProcess([binary, *flags])
    try:
        await asyncio.to_thread(process.wait_for, "Streaming Server is ready")
        yield f"nats://127.0.0.1:{port}", f"http://127.0.0.1:{monitor}"
    finally:
        await asyncio.to_thread(process.stop)


async def test_the_same_traffic_gives_the_same_documents(
    original: tuple[str, str], monitored: Monitored
) -> None:
    theirs, ours = await asyncio.gather(
        record(*original), record(monitored.nats_url, monitored.url)
    )
    for path in PATHS:
        if path not in OURS:
            assert ours[path].masked() == theirs[path].masked(), path
            assert shape(ours[path]) == shape(theirs[path]), path


def shape(answer: Answer) -> object:
    """The fields of a document in their order, with their types; nothing for other answers."""
    return types(json.loads(answer.body)) if answer.content_type == "application/json" else None
