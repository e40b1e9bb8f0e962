"""Publish while the server is away: what was published waits in the window."""

import asyncio

import stan


async def main() -> None:
    away = asyncio.Event()
    async with stan.connect(
        "test-cluster",
        "me",
        max_pub_acks_inflight=100,  # so many messages may wait, and
        max_pub_bytes_inflight=1_000_000,  # so many bytes; then publishing itself waits
        interrupted_cb=lambda sc, reason: away.set(),
        resumed_cb=lambda sc, report: print("resumed, sent again:", report.resent),
    ) as sc:
        print("connected; now restart the server")
        await away.wait()
        receipts = [await sc.publish_async("reconnect", b"kept") for _ in range(3)]
        print("waiting:", sum(not receipt.done for receipt in receipts))
        for receipt in receipts:
            await receipt
        print("stored:", len(receipts))


asyncio.run(main())
