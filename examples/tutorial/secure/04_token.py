"""A token."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me", token="s3cr3t") as sc:
        await sc.publish("secure", b"hello")
        print("let in")
    try:
        await stan.connect("test-cluster", "me", token="wrong")
    except stan.ConnectError as error:
        print("refused:", error)


asyncio.run(main())
