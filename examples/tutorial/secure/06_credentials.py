"""A credentials file: a JWT, signed by an account, and its seed."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me", user_credentials="keys/user.creds") as sc:
        await sc.publish("secure", b"hello")
        print("let in")
    try:
        await stan.connect("test-cluster", "me", user_credentials="keys/stranger.creds")
    except stan.ConnectError as error:
        print("refused:", error)


asyncio.run(main())
