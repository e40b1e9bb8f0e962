"""Connect to the default server, nats://127.0.0.1:4222."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        await sc.publish("connect.default", b"hello")
        print("stored by", sc.cluster_id)


asyncio.run(main())
