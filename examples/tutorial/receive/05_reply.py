"""Answer a message that has a reply subject."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        nc = sc.nats
        sub = await nc.subscribe("time")
        answer = asyncio.create_task(nc.request("time", b"", timeout=5))
        msg = await sub.next_msg(timeout=5)
        await msg.respond(b"half past four")
        print((await answer).data.decode())


asyncio.run(main())
