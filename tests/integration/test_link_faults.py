"""A NATS connection that died a moment ago, before anybody noticed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from stan.link import connecting
from stan.link.taps import Link
from stan.wire.frames import pub
from tests.tools.processes import NatsServer, free_port
from tests.tools.proxy import Proxy


def loop_factories() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own loop and, when it is installed, the server's."""
    try:
        import uvloop
    except ImportError:
        return [asyncio.new_event_loop]
    return [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("factory", loop_factories(), ids=lambda factory: factory.__module__)
def test_a_write_to_a_dead_connection_is_dropped(
    nats_server: NatsServer, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def run() -> None:
        back = asyncio.Event()

        async def reconnected() -> None:
            back.set()

        link = Link(lambda frames: None)
        await link.connect(
            nats_server.url, reconnected_cb=reconnected, error_cb=ignore, reconnect_time_wait=0.01
        )
        writer = link._stream_writer()
        assert writer is not None
        writer.transport.abort()
        assert link.is_connected  # nats-py reads of it later
        assert link.write(b"PUB foo 0\r\n\r\n") is False
        assert link.unsent_bytes == 0
        await link.drained()
        async with asyncio.timeout(10):
            await back.wait()
        assert link.write(b"PUB foo 0\r\n\r\n") is True
        await link.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


async def ignore(_: Exception) -> None:
    """The loss is what the test is about."""


async def test_a_silent_connection_with_unsent_bytes_is_given_up(nats_server: NatsServer) -> None:
    proxy = Proxy(int(nats_server.url.rpartition(":")[2]))
    await proxy.open()
    down, back = asyncio.Event(), asyncio.Event()

    async def disconnected() -> None:
        down.set()

    async def reconnected() -> None:
        back.set()

    link = Link(lambda frames: None)
    await link.connect(
        f"nats://127.0.0.1:{proxy.port}",
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        error_cb=ignore,
        reconnect_time_wait=0.01,
        ping_interval=0.2,  # type: ignore[arg-type]
        max_outstanding_pings=2,
    )
    proxy.stall()
    message = b"PUB foo 1000000\r\n" + bytes(1_000_000) + b"\r\n"
    while link.unsent_bytes < 1_000_000:  # more than the kernel takes
        link.write(message)
    async with asyncio.timeout(10):
        await down.wait()
    proxy.restore()
    async with asyncio.timeout(10):
        await back.wait()
    assert link.is_connected
    assert link.unsent_bytes == 0
    await link.close()
    await proxy.close()


# nats-py tells aiohttp its timeout in a way that aiohttp wants no more.
quiet = pytest.mark.filterwarnings("ignore:parameter 'timeout' of type 'float':DeprecationWarning")


async def websocket_proxy(nats: NatsServer, directory: Path) -> Proxy:
    """The NATS server again, with a WebSocket port that is reached through a proxy."""
    port = free_port()
    configuration = directory / "nats.conf"
    configuration.write_text(f"websocket {{ listen: 127.0.0.1:{port}, no_tls: true }}")
    nats.stop()
    nats.start("-c", str(configuration))
    proxy = Proxy(port)
    await proxy.open()
    return proxy


@quiet
async def test_over_websocket_congestion_is_seen_and_waited_for(
    restartable_nats: NatsServer, tmp_path: Path
) -> None:
    proxy = await websocket_proxy(restartable_nats, tmp_path)
    arrived = asyncio.Event()
    link = Link(lambda frames: arrived.set())
    await link.connect(f"ws://127.0.0.1:{proxy.port}", error_cb=ignore)
    subject = link.new_inbox()
    await link.tap(subject)
    await link.flush()
    proxy.stall()
    message = b"PUB foo 1000000\r\n" + bytes(1_000_000) + b"\r\n"
    for _ in range(20):  # more than the kernel takes
        link.write(message)
        await asyncio.sleep(0)
    link.write(pub(subject, b""))
    assert link.unsent_bytes > 5_000_000
    waiting = asyncio.create_task(link.drained())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiting.done()
    proxy.restore()
    async with asyncio.timeout(10):
        await waiting
        await arrived.wait()
    assert link.unsent_bytes < 1_000_000
    await link.close()
    await link.drained()
    await proxy.close()


@quiet
async def test_waiting_for_a_websocket_ends_with_its_connection(
    restartable_nats: NatsServer, tmp_path: Path
) -> None:
    proxy = await websocket_proxy(restartable_nats, tmp_path)
    link = Link(lambda frames: None)
    await link.connect(f"ws://127.0.0.1:{proxy.port}", error_cb=ignore, reconnect_time_wait=0.01)
    proxy.stall()
    message = b"PUB foo 1000000\r\n" + bytes(1_000_000) + b"\r\n"
    for _ in range(20):
        link.write(message)
        await asyncio.sleep(0)
    waiting = asyncio.create_task(link.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    proxy.cut()
    proxy.restore()
    async with asyncio.timeout(10):
        await waiting
    await link.close()
    await proxy.close()


async def test_closing_a_silent_connection_does_not_wait_for_what_cannot_leave(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_LAST_WORDS_S", 0.05)
    proxy = Proxy(int(nats_server.url.rpartition(":")[2]))
    await proxy.open()
    closed = asyncio.Event()

    async def tell() -> None:
        closed.set()

    link = Link(lambda frames: None)
    await link.connect(f"nats://127.0.0.1:{proxy.port}", closed_cb=tell, error_cb=ignore)
    proxy.stall()
    message = b"PUB foo 1000000\r\n" + bytes(1_000_000) + b"\r\n"
    while link.unsent_bytes < 1_000_000:
        link.write(message)
    async with asyncio.timeout(10):
        await link.close()
    assert link.is_closed
    assert closed.is_set()
    await proxy.close()


async def test_closing_a_connection_that_died_unnoticed_closes_it(nats_server: NatsServer) -> None:
    link = Link(lambda frames: None)
    await link.connect(nats_server.url, error_cb=ignore)
    await link.subscribe(link.new_inbox())
    writer = link._stream_writer()
    assert writer is not None
    writer.transport.abort()
    await link.publish("foo", b"what nats-py still has to flush")
    await link.close()
    assert link.is_closed
