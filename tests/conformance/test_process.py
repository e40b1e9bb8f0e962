"""Statements on the server as a process: signals, exit status, and serving without `-ns`."""

import asyncio
import signal

import nats
import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.processes import LoggedProcess, free_port
from tests.tools.streaming_client import Clients, decode
from tests.tools.streaming_server import READY, Implementation

from .conftest import StartServer


@pytest.mark.statement(115)
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)], ids=["TERM", "INT"]
)
async def test_exit_status_names_the_signal(
    start_server: StartServer, clients: Clients, store: str, number: int, status: int
) -> None:
    server = await start_server(store)
    client = await clients.connect(server)
    await client.publish("foo")
    assert server.process is not None
    server.process.process.send_signal(number)
    assert await asyncio.to_thread(server.process.wait) == status
    assert "Shutting down." in server.process.output
    assert "Traceback" not in server.process.output


@pytest.mark.statement(115)
async def test_server_brings_its_own_nats_server(implementation: Implementation) -> None:
    port = free_port()
    argv = [*implementation.argv, "-a", "127.0.0.1", "-p", str(port)]
    process = await asyncio.to_thread(LoggedProcess, argv)
    try:
        await asyncio.to_thread(process.wait_for, READY)
        nc = await nats.connect(f"nats://127.0.0.1:{port}")
        answer = await nc.request("_STAN.discover.test-cluster", b"dummy", timeout=5)
        await nc.close()
    finally:
        await asyncio.to_thread(process.stop)
    assert decode(pb.ConnectResponse, answer.data).error == "stan: invalid connection request"
