"""Send bytes: to a channel, and to a NATS subject."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        nc = sc.nats
        guid = await sc.publish("send.bytes", b"hello")  # returns when it is stored
        print("stored, guid of", len(guid), "characters")
        await nc.publish("send.bytes.now", b"hello")  # whoever listens now gets it


asyncio.run(main())
