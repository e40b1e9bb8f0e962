"""History that the store refuses to read: said once, tried again, nobody else is held up.
And a server that slept: silent until it knows that nobody replaced it."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

import stan
from stan.engine.engine import Engine
from stan.engine.records import Batch, History, Load, Recovered, Result, ServerRecord
from stan.engine.settings import Settings
from stan.errors import LeaseLostError, StoreRefusedError
from stan.server import pump as pumps
from stan.server.pump import Pump
from stan.server.transport import Transport
from stan.store.memory import MemoryStore
from stan.wire.stan_pb2 import ConnectRequest
from tests.tools.servers import nats_server

__all__ = ["nats_server"]

REFUSALS = 5
TIMEOUT_S = 20
HOUR_S = 3600.0


class WaitingStore:
    """Memory behind coroutines, as a database is."""

    kind = "SQL"
    location = "nowhere"
    persistent = True

    def __init__(self) -> None:
        self._memory = MemoryStore()

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
        return await self._memory.load(load)

    async def close(self) -> None:
        """Nothing to release."""


class RefusingStore(WaitingStore):
    """Refuses the first reads of history."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0

    async def load(self, load: Load) -> History:
        self.loads += 1
        if self.loads <= REFUSALS:
            raise StoreRefusedError("message 1 cannot be decrypted")
        return await super().load(load)


class AskedStore(WaitingStore):
    """May belong to another server by now; the test knows."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def outcome(self) -> int:
        self.asked.set()
        return await self.answer


class Wire(Transport):
    """Keeps what is written instead of sending it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: asyncio.Queue[bytes] = asyncio.Queue()

    def write(self, operations: bytes) -> bool:
        self.written.put_nowait(operations)
        return True


class Sleeper:
    """An engine whose process is stopped for an hour when its first answers are made."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.uptime_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def take_sends(self) -> list[bytes]:
        operations: list[bytes] = self._engine.take_sends()
        if operations and not self.uptime_s:
            self.uptime_s = HOUR_S
        return operations


@asynccontextmanager
async def sleeping(
    store: AskedStore, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pump]:
    """A pump that has a connect request to answer, and fell asleep over it."""
    server = ServerRecord("silent", "_INBOX.server")
    await store.initialize(server)
    engine = Engine(
        Settings(cluster_id="silent"), await store.recover(), server, lambda: "id", time.time_ns()
    )
    sleeper = Sleeper(engine)
    monkeypatch.setattr(pumps, "_read_uptime_s", lambda: sleeper.uptime_s)
    pump = Pump(cast(Engine, sleeper), store, wire)
    pump.start()
    request = ConnectRequest(clientID="me", heartbeatInbox="_INBOX.me").SerializeToString()
    pump.receive([(engine.subjects.connect.encode(), b"_INBOX.answer", request)])
    async with asyncio.timeout(TIMEOUT_S):
        await store.asked.wait()
    yield pump
    await pump.stop()


async def test_what_was_ready_before_a_sleep_waits_for_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, wire = AskedStore(), Wire()
    async with sleeping(store, wire, monkeypatch):
        assert wire.written.empty()
        store.answer.set_result(1)
        async with asyncio.timeout(TIMEOUT_S):
            assert (await wire.written.get()).startswith(b"PUB _INBOX.answer ")


async def test_who_was_replaced_in_its_sleep_never_speaks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, wire = AskedStore(), Wire()
    async with sleeping(store, wire, monkeypatch) as pump:
        store.answer.set_exception(LeaseLostError("another server took the store over"))
        with pytest.raises(LeaseLostError):
            async with asyncio.timeout(TIMEOUT_S):
                await pump.failed()
    assert wire.written.empty()


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
