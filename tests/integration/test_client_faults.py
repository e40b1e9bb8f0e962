"""Nothing but StanErrors leaves the client, whatever NATS does and whenever it does it.

A program that connects, subscribes, publishes, acks, flushes and closes runs behind a proxy,
which does something to it after so many turns of the event loop: from before the first byte
until after the last.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import nats
import nats.errors
import pytest

import stan
from tests.integration.conftest import fresh_name
from tests.tools.processes import NatsServer
from tests.tools.proxy import Proxy
from tests.tools.streaming_server import StreamingServer

LONG_S = 30
QUICK: dict[str, Any] = {"connect_wait": 0.15, "pub_ack_wait": 0.3}
RUNS = 25


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    """What stands between the client and NATS."""
    proxy = Proxy(int(nats_server.url.rpartition(":")[2]))
    await proxy.open()
    yield proxy
    proxy.restore()
    await proxy.close()


def cut(proxy: Proxy) -> None:
    proxy.cut()


def kill(proxy: Proxy) -> None:
    proxy.refusing = True
    proxy.cut()


def freeze(proxy: Proxy) -> None:
    proxy.stall()


def turns(seed: int) -> int:
    """When it happens: often early, where the most is going on."""
    return int(2 ** random.Random(seed).uniform(0, 9))


async def disturb(proxy: Proxy, fault: Callable[[Proxy], None], seed: int, restores: bool) -> None:
    for _ in range(turns(seed)):
        await asyncio.sleep(0)
    fault(proxy)
    if restores:
        await asyncio.sleep(random.Random(seed).uniform(0, 0.2))
        proxy.restore()


async def live(connecting: Any, channel: str) -> str:
    """The program; returns what ended it."""
    try:
        async with connecting as sc:
            sub = await sc.subscribe(channel, start_at="first", manual_acks=True, durable="d")
            other = await sc.subscribe(channel, lambda message: None, queue="q")
            await sc.publish(channel, b"x")
            receipts = [await sc.publish_async(channel, bytes(50_000)) for _ in range(20)]
            message = await sub.next_msg(0.2)
            message.ack()
            await sc.flush(0.3)
            for receipt in receipts:
                await receipt
            await other.close()
            await sub.unsubscribe()
    except stan.StanError as error:
        return type(error).__name__
    return "done"


@pytest.mark.parametrize("restores", [True, False], ids=["for a moment", "for good"])
@pytest.mark.parametrize("fault", [cut, kill, freeze])
async def test_nothing_but_our_own_errors_leaves_an_own_connection(
    stan_server: StreamingServer, proxy: Proxy, fault: Callable[[Proxy], None], restores: bool
) -> None:
    strange: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: strange.append(context))
    outcomes = []
    for seed in range(RUNS):
        connecting = stan.connect(
            stan_server.cluster,
            fresh_name("own"),
            servers=f"nats://127.0.0.1:{proxy.port}",
            nats_options={"connect_timeout": 0.3},
            connection_lost_cb=lambda connection, error: None,
            **QUICK,
        )
        disturbing = asyncio.create_task(disturb(proxy, fault, seed, restores))
        async with asyncio.timeout(LONG_S):
            outcomes.append(await live(connecting, fresh_name("channel")))
            await disturbing
        proxy.restore()
    assert len(outcomes) == RUNS
    assert [one for one in strange if "stan" in str(one)] == []


@pytest.mark.usefixtures("tidied_nats")
@pytest.mark.parametrize("fault", [cut, kill, freeze, "close"])
async def test_nothing_but_our_own_errors_leaves_a_lent_connection(
    stan_server: StreamingServer, proxy: Proxy, fault: Any
) -> None:
    strange: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: strange.append(context))
    outcomes = []
    for seed in range(RUNS):
        lent = await nats.connect(
            f"nats://127.0.0.1:{proxy.port}",
            error_cb=_ignore,
            connect_timeout=1,
            reconnect_time_wait=0.05,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
        )
        connecting = stan.connect(
            stan_server.cluster,
            fresh_name("lent"),
            nats=lent,
            connection_lost_cb=lambda connection, error: None,
            **QUICK,
        )
        disturbing = asyncio.create_task(
            _close(lent, seed) if fault == "close" else disturb(proxy, fault, seed, True)
        )
        async with asyncio.timeout(LONG_S):
            outcomes.append(await live(connecting, fresh_name("channel")))
            await disturbing
        proxy.restore()
        if not lent.is_closed:
            await lent.close()
    assert len(outcomes) == RUNS
    assert [one for one in strange if "stan" in str(one)] == []


async def _close(lent: Any, seed: int) -> None:
    for _ in range(turns(seed)):
        await asyncio.sleep(0)
    await lent.close()


async def _ignore(_: Exception) -> None:
    return
