"""Name and password in the URL, percent-encoded."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me", servers="nats://me:s3cr3t@127.0.0.1:4222") as sc:
        await sc.publish("secure", b"hello")
        print("let in")
    try:
        await stan.connect("test-cluster", "me", servers="nats://127.0.0.1:4222")
    except stan.ConnectError as error:
        print("refused:", error)


asyncio.run(main())
