"""Two servers of one group: when one is killed the other one goes on."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        print("kill the active server now")
        for n in range(300):
            await sc.publish("streaming.failover", b"%d" % n)
            await asyncio.sleep(0.01)
        sub = await sc.subscribe("streaming.failover", start_at="first", max_in_flight=300)
        messages = await sub.fetch(300, timeout=5)
        print("stored, each once, in order:", [int(msg.data) for msg in messages] == [*range(300)])


asyncio.run(main())
