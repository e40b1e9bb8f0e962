"""End a subscription for good."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        sub = await sc.subscribe("receive.unsubscribe", durable="mine")
        await sub.unsubscribe()  # close() would let the server remember the durable
        await sc.publish("receive.unsubscribe", b"nobody reads this")
        print("valid:", sub.is_valid)
        try:
            await sub.unsubscribe()
        except stan.InvalidSubscriptionError as error:
            print(error)


asyncio.run(main())
