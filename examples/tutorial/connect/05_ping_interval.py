"""How often we ask whether the servers are there."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect(
        "test-cluster",
        "me",
        ping_interval=2,  # seconds between pings to the streaming server
        nats_options={"ping_interval": 20},  # seconds between pings to the NATS server
    ) as sc:
        print("connected:", sc.is_connected)


asyncio.run(main())
