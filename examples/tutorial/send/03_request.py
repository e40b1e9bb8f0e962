"""Ask, and wait for the answer."""

import asyncio

from nats.aio.msg import Msg
from nats.errors import NoRespondersError

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        nc = sc.nats

        async def tell(msg: Msg) -> None:
            await msg.respond(b"noon")

        await nc.subscribe("send.clock", cb=tell)
        print((await nc.request("send.clock", timeout=5)).data.decode())
        try:
            await nc.request("send.nobody", timeout=5)
        except NoRespondersError as error:
            print(error)


asyncio.run(main())
