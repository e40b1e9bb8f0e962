"""Connect to a server of which we know the address."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me", servers="nats://127.0.0.1:4223") as sc:
        assert sc.nats is not None
        print("connected to", sc.nats.connected_url.netloc)
    try:
        await stan.connect("test-cluster", "me", servers="nats://127.0.0.1:4224")
    except stan.ConnectError as error:
        print("refused:", error)


asyncio.run(main())
