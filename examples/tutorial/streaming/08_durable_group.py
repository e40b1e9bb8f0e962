"""A durable group: it remembers, whoever of its members is there."""

import asyncio

import stan


async def work(name: str, count: int) -> None:
    async with stan.connect("test-cluster", name) as sc:
        sub = await sc.subscribe(
            "streaming.jobs",
            queue="workers",
            durable="jobs",
            start_at="first",
            manual_acks=True,
            max_in_flight=1,
        )
        for _ in range(count):
            msg = await sub.next_msg(timeout=5)
            print(name, "did", msg.data.decode())
            await msg.ack()
        await sub.close()  # and not unsubscribe(), which would end the group's memory


async def main() -> None:
    async with stan.connect("test-cluster", "boss") as sc:
        for n in range(1, 5):
            await sc.publish("streaming.jobs", f"job {n}".encode())
    await work("monday", 2)
    await work("tuesday", 2)


asyncio.run(main())
