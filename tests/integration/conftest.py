"""Fixtures: servers from tests.tools.servers, and names that no other test uses."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from nats.aio.transport import TcpTransport

import stan
from tests.tools.processes import NatsServer
from tests.tools.servers import nats_server, restartable_nats, stan_server, start_server
from tests.tools.streaming_server import StreamingServer

__all__ = ["nats_server", "restartable_nats", "stan_server", "start_server"]

Connect = Callable[..., Awaitable[stan.Connection]]


def fresh_name(stem: str) -> str:
    """A client ID or channel of one's own."""
    return f"{stem}-{secrets.token_hex(6)}"


@pytest.fixture
def channel() -> str:
    """A channel of one's own."""
    return fresh_name("channel")


@pytest.fixture
async def connect(stan_server: StreamingServer, nats_server: NatsServer):  # type: ignore[no-untyped-def]
    """Connect to the shared server; what a test leaves open is closed after it."""
    opened: list[stan.Connection] = []

    async def connect_fresh(client_id: str = "", **options: object) -> stan.Connection:
        if "nats" not in options:
            options.setdefault("servers", nats_server.url)
        connection = await stan.connect(
            stan_server.cluster,
            client_id or fresh_name("client"),
            **options,  # type: ignore[arg-type]
        )
        opened.append(connection)
        return connection

    yield connect_fresh
    for connection in opened:
        try:
            await connection.close()
        except stan.ClientError:
            continue


@pytest.fixture
async def tidied_nats(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """For tests whose own nats-py client has to reconnect: nats-py leaves open what it dials
    and does not get through with, and this closes it."""
    dialled: list[Any] = []
    connect = TcpTransport.connect

    async def connect_and_note(transport: Any, *arguments: Any, **options: Any) -> None:
        await connect(transport, *arguments, **options)
        dialled.append(transport._io_writer)  # the next dial puts another in its place

    monkeypatch.setattr(TcpTransport, "connect", connect_and_note)
    yield
    for writer in dialled:
        writer.transport.abort()
    await asyncio.sleep(0)  # an aborted transport closes its socket in the next turn
