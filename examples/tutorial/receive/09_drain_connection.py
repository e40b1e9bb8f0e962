"""Finish everything, then close the connection."""

import asyncio

import stan


async def main() -> None:
    sc = await stan.connect("test-cluster", "me")
    receipts = [await sc.publish_async("receive.drained", b"last words") for _ in range(3)]
    await sc.drain()  # subscriptions finish, publishes get their acks, then it closes
    print("stored:", [receipt.done and receipt.error is None for receipt in receipts])
    print("closed:", sc.is_closed)


asyncio.run(main())
