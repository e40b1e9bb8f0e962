"""Connect to a cluster: give several of its servers, as a list or with commas."""

import asyncio

import stan


async def main() -> None:
    servers = ["nats://127.0.0.1:4222", "nats://127.0.0.1:4223"]
    async with stan.connect("test-cluster", "me", servers=servers) as sc:
        print("by a list:", sc.is_connected)

    servers = "nats://127.0.0.1:4224,nats://127.0.0.1:4223"  # nobody listens on 4224
    async with stan.connect("test-cluster", "me", servers=servers) as sc:
        print("with commas:", sc.is_connected)
        assert sc.nats is not None
        print("it told of more servers:", bool(sc.nats.discovered_servers))


asyncio.run(main())
