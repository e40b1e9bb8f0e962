"""Do not get what we publish on NATS subjects ourselves. Channels know no echo."""

import asyncio

import stan


async def main() -> None:
    async with (
        stan.connect("test-cluster", "me", no_echo=True) as mine,
        stan.connect("test-cluster", "other") as other,
    ):
        assert mine.nats is not None
        assert other.nats is not None
        sub = await mine.nats.subscribe("chat")
        await mine.nats.flush()
        await mine.nats.publish("chat", b"from me")
        await other.nats.publish("chat", b"from the other")
        print((await sub.next_msg()).data.decode())


asyncio.run(main())
