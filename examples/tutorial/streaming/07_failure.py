"""A server that dies and comes back is waited for."""

import asyncio

import stan


async def main() -> None:
    back = asyncio.Event()
    async with stan.connect(
        "test-cluster",
        "me",
        interrupted_cb=lambda sc, reason: print("interrupted:", reason),
        resumed_cb=lambda sc, report: back.set(),
    ) as sc:
        sub = await sc.subscribe("streaming.crash")
        print("kill the server now, and start it again")
        await back.wait()
        await sc.publish("streaming.crash", b"after the crash")
        print((await sub.next_msg(timeout=10)).data.decode())


asyncio.run(main())
