"""What is not acknowledged comes again."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        await sc.publish("streaming.ack", b"work")
        sub = await sc.subscribe("streaming.ack", start_at="first", manual_acks=True, ack_wait=1)
        msg = await sub.next_msg(timeout=5)
        print("first:", msg.redelivered)  # and no ack
        msg = await sub.next_msg(timeout=5)
        print("again:", msg.redelivered, msg.redelivery_count)
        await msg.ack()


asyncio.run(main())
