"""Try the servers in the order given. By default each client tries them in an order of its own."""

import asyncio

import stan


async def main() -> None:
    servers = "nats://127.0.0.1:4222,nats://127.0.0.1:4223"  # nobody listens on 4223
    for _ in range(3):
        async with stan.connect("test-cluster", "me", servers=servers, dont_randomize=True) as sc:
            assert sc.nats is not None
            print(sc.nats.connected_url.netloc)


asyncio.run(main())
