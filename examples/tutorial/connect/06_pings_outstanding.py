"""How many pings may stay unanswered before a server counts as gone."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect(
        "test-cluster",
        "me",
        ping_max_out=3,  # to the streaming server; counts only with resume=False
        max_outstanding_pings=5,  # to the NATS server
    ) as sc:
        print("connected:", sc.is_connected)
    try:
        await stan.connect("test-cluster", "me", ping_max_out=1)
    except stan.ConfigError as error:
        print(error)


asyncio.run(main())
