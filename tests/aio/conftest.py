"""Fixtures: a NATS connection as those programs open it, clients on it, names of one's own."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from nats.aio.client import Client as NATS

from stan.aio.client import Client as STAN
from stan.aio.client import Msg
from stan.aio.errors import StanError
from tests.integration.conftest import channel, fresh_name
from tests.tools.processes import NatsServer
from tests.tools.servers import nats_server, restartable_nats, stan_server, start_server
from tests.tools.streaming_server import StreamingServer

__all__ = ["channel", "nats_server", "restartable_nats", "stan_server", "start_server"]

Connect = Callable[..., Awaitable[STAN]]


@pytest.fixture
async def nc(nats_server: NatsServer) -> AsyncIterator[NATS]:
    """A NATS connection."""
    connection = NATS()
    await connection.connect(servers=[nats_server.url])
    yield connection
    await connection.close()


@pytest.fixture
async def connect(nc: NATS, stan_server: StreamingServer) -> AsyncIterator[Connect]:
    """Connect another client over the same NATS connection; it is closed after the test."""
    opened: list[STAN] = []

    async def connect_fresh(client_id: str = "") -> STAN:
        sc = STAN()
        await sc.connect(stan_server.cluster, client_id or fresh_name("client"), nats=nc)
        opened.append(sc)
        return sc

    yield connect_fresh
    for sc in opened:
        try:
            await sc.close()
        except StanError:
            continue


@pytest.fixture
async def sc(connect: Connect) -> STAN:
    """A connected client."""
    return await connect()


async def fill(sc: STAN, channel: str, count: int) -> None:
    """Publish "1", "2", ... and wait for all acks."""
    for n in range(1, count + 1):
        await sc.publish(channel, b"%d" % n)


def sequences(msgs: list[Msg]) -> list[int]:
    """The sequences of these messages."""
    return [msg.seq for msg in msgs]
