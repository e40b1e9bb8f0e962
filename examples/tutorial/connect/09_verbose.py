"""Have the NATS server answer each operation with +OK: only for looking at the protocol."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me", verbose=True) as sc:
        print("stored:", len(await sc.publish("connect.verbose", b"hello")), "characters of guid")


asyncio.run(main())
