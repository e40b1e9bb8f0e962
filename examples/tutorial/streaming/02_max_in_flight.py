"""Have no more in hand than can be worked on."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        for _ in range(5):
            await sc.publish("streaming.slow", b"work")
        sub = await sc.subscribe(
            "streaming.slow", start_at="first", manual_acks=True, max_in_flight=2
        )
        held = await sub.fetch(5, timeout=0.5)
        print("sent without an ack:", len(held))
        for msg in held:
            await msg.ack()
        print("after the acks:", [msg.sequence for msg in await sub.fetch(2, timeout=5)])


asyncio.run(main())
