"""History that the store refuses to read: said once, tried again, nobody else is held up.
A server that slept: silent until it knows that nobody replaced it. And the life of a pump:
one timer, an end that a defect does not hold up, and another pump on the same connection."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
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
from stan.store.contract import Store
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
    instant = None

    def __init__(self) -> None:
        self._memory = MemoryStore()

    async def open(self) -> None:
        """Nothing to do."""

    async def lost(self) -> None:
        await self._memory.lost()

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
    pump = Pump(cast(Engine, sleeper), store, wire, uptime_s=lambda: sleeper.uptime_s)
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


class Timers:
    """A loop, and the timers that were set on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.handles: list[asyncio.TimerHandle] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay_s: float, callback: Any) -> asyncio.TimerHandle:
        self.handles.append(self._loop.call_later(delay_s, callback))
        return self.handles[-1]

    @property
    def pending(self) -> int:
        return sum(not handle.cancelled() for handle in self.handles)


class Defective:
    """An engine with a defect that stays."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def seal(self, now_ns: int, everything: bool = False) -> Batch | None:
        raise RuntimeError("a defect")


async def make_engine(store: Store, cluster: str) -> Engine:
    recovered = await store.recover()
    server = recovered.server
    if server is None:
        server = ServerRecord(cluster, f"_INBOX.{secrets.token_hex(11)}")
        await store.initialize(server)
    settings = Settings(cluster_id=cluster)
    return Engine(settings, recovered, server, lambda: secrets.token_hex(4), time.time_ns())


class Connected(Wire):
    """A connection that stands."""

    is_connected = True


async def test_a_reconnect_leaves_one_timer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Connected()
    pump = Pump(await make_engine(MemoryStore(), "one"), MemoryStore(), wire)
    timers = Timers(asyncio.get_running_loop())
    monkeypatch.setattr(pump, "_loop", timers)
    pump.start()
    subjects = pump.engine.subjects
    request = ConnectRequest(clientID="me", heartbeatInbox="_INBOX.me").SerializeToString()
    pump.receive([(subjects.connect.encode(), b"_INBOX.answer", request)])
    for _ in range(10):
        wire.on_up()
    assert len(timers.handles) > 10
    assert timers.pending == 1
    await pump.stop()
    assert timers.pending == 0


@pytest.mark.parametrize("make", [MemoryStore, WaitingStore])
async def test_a_defect_that_stays_does_not_keep_the_pump_from_ending(
    make: Callable[[], Store],
) -> None:
    store, wire = make(), Wire()
    engine = Defective(await make_engine(store, "defective"))
    pump = Pump(cast(Engine, engine), store, wire)
    with suppress(RuntimeError):
        pump.start()
    pump.receive([])
    with pytest.raises(RuntimeError, match="a defect"):
        async with asyncio.timeout(TIMEOUT_S):
            await pump.failed()
    others = asyncio.all_tasks() - pump._tasks
    await pump.stop()
    assert asyncio.all_tasks() <= others
    assert pump._timer is None


@pytest.mark.parametrize("make", [MemoryStore, WaitingStore])
async def test_one_connection_serves_pump_after_pump(
    nats_server: Any, make: Callable[[], Store]
) -> None:
    cluster = secrets.token_hex(4)
    store, transport = make(), Transport()
    await transport.connect([nats_server.url])
    try:
        for number in (1, 2):
            engine = await make_engine(store, cluster)
            pump = Pump(engine, store, transport)
            server = (await store.recover()).server
            assert server is not None
            await transport.listen(engine.subjects, server.inbox_prefix, pump.receive)
            pump.start()
            async with stan.connect(cluster, "me", servers=nats_server.url) as sc:
                await sc.publish("foo", b"%d" % number)
                subscription = await sc.subscribe("foo", start_at="first")
                async with asyncio.timeout(TIMEOUT_S):
                    received = [(await anext(subscription)).data for _ in range(number)]
            assert received == [b"1", b"2"][:number]
            await pump.stop()
            assert transport.is_connected
    finally:
        await transport.close()


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
