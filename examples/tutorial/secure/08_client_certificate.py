"""TLS on both sides: the server asks for a certificate too."""

import asyncio
import ssl

import stan


async def main() -> None:
    unknown = ssl.create_default_context(cafile="keys/ca.pem")
    known = ssl.create_default_context(cafile="keys/ca.pem")
    known.load_cert_chain("keys/client.pem", "keys/client-key.pem")
    async with stan.connect("test-cluster", "me", tls=known) as sc:
        await sc.publish("secure", b"hello")
        print("let in")
    try:
        await stan.connect("test-cluster", "me", tls=unknown)
    except stan.ConnectError as error:
        print("refused:", error)


asyncio.run(main())
