"""Say where an answer is wanted."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        nc = sc.nats
        inbox = nc.new_inbox()
        answers = await nc.subscribe(inbox)
        asked = await nc.subscribe("send.time")
        await nc.publish("send.time", b"", reply=inbox)
        msg = await asked.next_msg(timeout=5)
        await nc.publish(msg.reply, b"noon")
        print((await answers.next_msg(timeout=5)).data.decode())


asyncio.run(main())
