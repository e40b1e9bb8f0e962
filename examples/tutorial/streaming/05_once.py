"""Publish once, however often it is tried."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        for _ in range(2):
            receipt = await sc.publish_async("streaming.once", b"pay", msg_id="invoice-17")
            await receipt
            print("stored before:", receipt.duplicate)
        sub = await sc.subscribe("streaming.once", start_at="first")
        print("messages:", len(await sub.fetch(2, timeout=0.5)))


asyncio.run(main())
