"""An nkey: the seed stays here, the server knows the public key."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me", nkeys_seed="keys/user.nk") as sc:
        await sc.publish("secure", b"hello")
        print("let in")
    try:
        await stan.connect("test-cluster", "me", nkeys_seed="keys/stranger.nk")
    except stan.ConnectError as error:
        print("refused:", error)


asyncio.run(main())
