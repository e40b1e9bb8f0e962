"""End after a number of messages: on a channel, and on a NATS subject."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        nc = sc.nats
        for n in range(5):
            await sc.publish("receive.some", f"stored {n}".encode())
        sub = await sc.subscribe("receive.some", start_at="first")
        for msg in await sub.fetch(2, timeout=5):
            print(msg.data.decode())
        await sub.close()

        few = await nc.subscribe("receive.few")
        await few.unsubscribe(limit=2)  # the NATS server ends it after the second
        for n in range(5):
            await nc.publish("receive.few", f"passing {n}".encode())
        async for passing in few.messages:
            print(passing.data.decode())


asyncio.run(main())
