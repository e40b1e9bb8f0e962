"""TLS, with an authority of our own."""

import asyncio
import ssl

import stan


async def main() -> None:
    trusting = ssl.create_default_context(cafile="keys/ca.pem")
    async with stan.connect("test-cluster", "me", tls=trusting) as sc:
        await sc.publish("secure", b"hello")
        print("let in")
    try:
        await stan.connect("test-cluster", "me", servers="tls://127.0.0.1:4222")
    except stan.ConnectError as error:
        print("refused:", error)


asyncio.run(main())
