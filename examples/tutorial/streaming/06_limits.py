"""A channel keeps as much as its limits say: the oldest goes."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        for n in range(5):
            await sc.publish("streaming.limits", f"message {n}".encode())
        sub = await sc.subscribe("streaming.limits", start_at="first")
        print("kept:", [msg.sequence for msg in await sub.fetch(5, timeout=0.5)])


asyncio.run(main())
