"""Our server with its monitor, in this process, after the fixed traffic."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from stan.engine.engine import Engine
from stan.engine.limits import ChannelOverrides, StoreLimits
from stan.engine.records import ServerRecord
from stan.engine.settings import Settings
from stan.server.monitor.identity import Identity
from stan.server.monitor.monitor import Monitor
from stan.server.pump import Pump
from stan.server.transport import Transport
from stan.store.memory import MemoryStore
from stan.units import SECOND_NS
from tests.server.monitor.recording import Answer, read
from tests.server.monitor.traffic import CLUSTER, Traffic
from tests.tools.servers import nats_server

__all__ = ["nats_server"]

# What traffic.LIMITS_CONFIG says, parsed.
LIMITS = StoreLimits(
    max_channels=50,
    channels={
        "foo": ChannelOverrides(max_messages=5, max_age_ns=3600 * SECOND_NS),
        "foo.>": ChannelOverrides(max_bytes=10485760),
        "bar.*": ChannelOverrides(max_subscriptions=2, max_inactivity_ns=48 * 3600 * SECOND_NS),
    },
)


class Monitored(NamedTuple):
    """A server's parts and its monitoring port."""

    engine: Engine
    store: MemoryStore
    transport: Transport
    monitor: Monitor
    nats_url: str

    @property
    def url(self) -> str:
        """Where the documents are."""
        return f"http://127.0.0.1:{self.monitor.port}"

    async def get(self, path: str) -> Answer:
        """One answer, as it came."""
        return await asyncio.to_thread(read, f"{self.url}/{path}")


async def serve(nats_url: str, limits: StoreLimits) -> tuple[Monitored, Pump]:
    """Start everything that a monitored server is made of."""
    store, transport = MemoryStore(), Transport()
    server = ServerRecord(CLUSTER, f"_INBOX.{secrets.token_hex(11)}")
    await store.initialize(server)
    await transport.connect([nats_url])
    settings = Settings(cluster_id=CLUSTER, limits=limits, persistent=False)
    engine = Engine(
        settings, await store.recover(), server, lambda: secrets.token_hex(4), time.time_ns()
    )
    pump = Pump(engine, store, transport)
    await transport.listen(engine.subjects, server.inbox_prefix, pump.receive)
    pump.start()
    identity = Identity(CLUSTER, secrets.token_hex(11), "0.1.0", time.time_ns())
    monitor = Monitor(identity, pump, store, lambda: transport.is_connected)
    await monitor.start("127.0.0.1", 0)
    return Monitored(engine, store, transport, monitor, nats_url), pump


@pytest.fixture
async def monitored(nats_server: Any) -> AsyncIterator[Monitored]:
    """A monitored server that nothing has happened to."""
    parts, pump = await serve(nats_server.url, LIMITS)
    yield parts
    await parts.monitor.stop()
    await pump.stop()
    await parts.transport.close()


@pytest.fixture
async def played(monitored: Monitored) -> AsyncIterator[Monitored]:
    """A monitored server after the fixed traffic, its clients still there."""
    async with Traffic(monitored.nats_url) as traffic:
        await traffic.play()
        yield monitored
