"""Finish what has arrived, then end."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        got = []

        async def work(msg: stan.Message) -> None:
            await asyncio.sleep(0.01)
            got.append(msg.sequence)

        for _ in range(10):
            await sc.publish("receive.drain", b"job")
        sub = await sc.subscribe("receive.drain", cb=work, start_at="first")
        await sc.flush()  # by now the server has sent them
        await sub.drain()  # what has arrived is worked off; nothing more is taken in
        print("finished before it ended:", len(got), "valid:", sub.is_valid)


asyncio.run(main())
