"""A program without conn_lost_cb outlives the loss of its server."""

import asyncio

from nats.aio.client import Client as NATS

from stan.aio.client import Client as STAN
from stan.aio.client import Msg
from tests.tools.servers import StartServer


async def test_a_program_that_knows_nothing_of_losses_goes_on(
    nc: NATS, start_server: StartServer
) -> None:
    server, sc = start_server(), STAN()
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def cb(msg: Msg) -> None:
        await got.put(msg.data)

    await sc.connect(server.cluster, "me", nats=nc, ping_interval=1)
    await sc.subscribe("foo", cb=cb)
    await sc.publish("foo", b"before")
    async with asyncio.timeout(20):
        assert await got.get() == b"before"
    server.kill()
    server.start()  # with an empty store: it does not know us
    await sc.publish("foo", b"after")
    async with asyncio.timeout(20):
        assert await got.get() == b"after"
    await sc.close()
