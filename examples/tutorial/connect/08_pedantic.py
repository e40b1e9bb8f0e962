"""Have the NATS server check every subject: for finding mistakes in a program."""

import asyncio

import stan


async def main() -> None:
    told = asyncio.Event()

    def complain(error: Exception) -> None:
        print("NATS says:", error)
        told.set()

    async with stan.connect("test-cluster", "me", pedantic=True, error_cb=complain) as sc:
        await sc.nats.publish("time.*", b"a wildcard cannot be published to")
        await told.wait()
        print("still connected:", sc.nats.is_connected)


asyncio.run(main())
