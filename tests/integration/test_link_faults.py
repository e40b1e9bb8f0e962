"""A NATS connection that died a moment ago, before anybody noticed."""

import asyncio
from collections.abc import Callable

import pytest

from stan.link.taps import Link
from tests.tools.processes import NatsServer
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
