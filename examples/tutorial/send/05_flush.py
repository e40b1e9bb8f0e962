"""Wait until what was sent has arrived."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        nc = sc.nats
        receipts = [await sc.publish_async("send.flush", b"tick") for _ in range(100)]
        await sc.flush()  # the fate of all that was published is known
        print("stored:", sum(receipt.error is None for receipt in receipts))
        await nc.publish("send.flush.now", b"tick")
        await nc.flush()  # a ping was answered: the NATS server has everything before it
        print("NATS has it")


asyncio.run(main())
