"""Publish ahead of the acks; a bound of what may be under way matches the rates."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        receipts = [await sc.publish_async("streaming.ahead", b"tick") for _ in range(1000)]
        for receipt in receipts:
            await receipt  # raises when the server refused it
        print("stored:", sum(receipt.done for receipt in receipts))


asyncio.run(main())
