"""A server that dies and comes back is waited for."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        sub = await sc.subscribe("streaming.crash")
        print("kill the server now, and start it again")
        async for event in sc.events():
            print(type(event).__name__)
            if isinstance(event, stan.Resumed):
                break
        await sc.publish("streaming.crash", b"after the crash")
        print((await sub.next_msg(timeout=10)).data.decode())


asyncio.run(main())
