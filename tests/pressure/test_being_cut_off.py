"""A NATS server that keeps less for a connection than one message: its cutting us off is
counted, and named with the option to raise."""

import asyncio
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pressure.processes import PressedServer, make_server
from tests.tools.streaming_client import Clients

PENDING_BYTES = 300_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PressedServer]:
    if "STAN_TEST_SERVER" in os.environ:
        pytest.skip("the original has no metrics")
    file = tmp_path / "nats.conf"
    file.write_text(f"max_pending: {PENDING_BYTES}, max_payload: {PENDING_BYTES}")
    pressed = make_server(tmp_path, "-c", str(file))
    pressed.start()
    yield pressed
    pressed.stop()


async def test_being_cut_off_is_counted_and_named(server: PressedServer, clients: Clients) -> None:
    assert server.process is not None
    client = await clients.connect(server)
    # With its head it is more than may be pending.
    await client.nc.publish(f"_STAN.pub.{server.cluster}.foo", bytes(PENDING_BYTES))
    line = await asyncio.to_thread(server.process.wait_for, "NATS cut us off, since we read .*")
    assert f"(more than {PENDING_BYTES} bytes were pending): raise max_pending" in line

    await asyncio.to_thread(server.process.wait_for, "reconnected to NATS Server")
    metrics = await asyncio.to_thread(_read, f"http://127.0.0.1:{server.monitor_port}/metrics")
    counted = [line for line in metrics.splitlines() if line.startswith("nss_server_nats_")]
    assert [line.split()[-1] for line in counted] == ["1", "1"]


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
