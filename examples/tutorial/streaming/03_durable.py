"""Go on where the last run ended."""

import asyncio

import stan


async def main() -> None:
    for run in ("first run", "second run"):
        async with stan.connect("test-cluster", "me") as sc:
            await sc.publish("streaming.durable", run.encode())
            sub = await sc.subscribe(
                "streaming.durable", durable="mine", start_at="first", manual_acks=True
            )
            for msg in await sub.fetch(2, timeout=0.5):
                print(run, "got", msg.data.decode())
                await msg.ack()


asyncio.run(main())
