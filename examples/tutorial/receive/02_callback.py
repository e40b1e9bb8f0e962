"""Have a function called for each message."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        done = asyncio.Event()

        async def show(msg: stan.Message) -> None:
            print(msg.sequence, msg.data.decode())
            if msg.sequence == 3:
                done.set()

        await sc.subscribe("receive.callback", cb=show)
        for n in range(3):
            await sc.publish("receive.callback", f"message {n}".encode())
        await done.wait()


asyncio.run(main())
