"""Share the messages of a channel among workers."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        counts = [0, 0]
        done = asyncio.Event()

        def count(worker: int) -> None:
            counts[worker] += 1
            if sum(counts) == 100:
                done.set()

        await sc.subscribe("receive.work", cb=lambda msg: count(0), queue="workers")
        await sc.subscribe("receive.work", cb=lambda msg: count(1), queue="workers")
        for receipt in [await sc.publish_async("receive.work", b"job") for _ in range(100)]:
            await receipt
        await done.wait()
        print("all:", sum(counts), "both worked:", all(counts))


asyncio.run(main())
