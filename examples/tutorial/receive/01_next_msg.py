"""Take messages one at a time, when they are wanted."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        for n in range(3):
            await sc.publish("receive.next", f"message {n}".encode())
        sub = await sc.subscribe("receive.next", start_at="first")
        for _ in range(3):
            msg = await sub.next_msg(timeout=5)
            print(msg.sequence, msg.data.decode())
        try:
            await sub.next_msg(timeout=0.2)
        except stan.MessageTimeoutError as error:
            print(error)


asyncio.run(main())
