"""History that the store refuses to read: said once, tried again, nobody else is held up."""

import asyncio
import logging
import secrets
import time
from typing import Any

import pytest

import stan
from stan.engine.engine import Engine
from stan.engine.records import Batch, History, Load, Recovered, Result, ServerRecord
from stan.engine.settings import Settings
from stan.errors import StoreRefusedError
from stan.server import pump as pumps
from stan.server.pump import Pump
from stan.server.transport import Transport
from stan.store.memory import MemoryStore
from tests.servers import nats_server

__all__ = ["nats_server"]

REFUSALS = 5


class RefusingStore:
    """Memory that refuses the first reads of history."""

    kind = "SQL"
    location = "nowhere"
    persistent = True

    def __init__(self) -> None:
        self._memory = MemoryStore()
        self.loads = 0

    async def open(self) -> None:
        """Nothing to do."""

    async def recover(self) -> Recovered:
        return await self._memory.recover()

    async def initialize(self, server: ServerRecord) -> None:
        await self._memory.initialize(server)

    async def commit(self, batch: Batch) -> Result:
        return await self._memory.commit(batch)

    async def outcome(self) -> int:
        return await self._memory.outcome()

    async def load(self, load: Load) -> History:
        self.loads += 1
        if self.loads <= REFUSALS:
            raise StoreRefusedError("message 1 cannot be decrypted")
        return await self._memory.load(load)

    async def close(self) -> None:
        """Nothing to release."""


async def test_a_refused_read_is_said_once_and_tried_again(
    nats_server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pumps, "REFUSED_RETRY_S", 0)
    cluster = secrets.token_hex(4)
    store, transport = RefusingStore(), Transport()
    server = ServerRecord(cluster, f"_INBOX.{secrets.token_hex(11)}")
    await store.initialize(server)
    await transport.connect([nats_server.url])
    engine = Engine(
        Settings(cluster_id=cluster, cache_bytes=1),
        await store.recover(),
        server,
        lambda: secrets.token_hex(4),
        time.time_ns(),
    )
    pump = Pump(engine, store, transport)
    await transport.listen(engine.subjects, server.inbox_prefix, pump.receive)
    pump.start()
    try:
        async with stan.connect(cluster, "me", servers=nats_server.url) as sc:
            for number in range(3):
                await sc.publish("foo", b"%d" % number)
            subscription = await sc.subscribe("foo", start_at="first")
            async with asyncio.timeout(20):
                assert [(await anext(subscription)).data for _ in range(3)] == [b"0", b"1", b"2"]
    finally:
        await pump.stop()
        await transport.close()

    assert store.loads > REFUSALS
    errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == ["Store: message 1 cannot be decrypted"]
