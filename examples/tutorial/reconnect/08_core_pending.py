"""Core NATS has no window: what is published while disconnected is kept up to a size."""

import asyncio

import nats.errors

import stan


async def main() -> None:
    away, back, resumed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with stan.connect(
        "test-cluster",
        "me",
        pending_size=10_000,  # bytes; 2 MB unless told otherwise
        disconnected_cb=away.set,
        reconnected_cb=back.set,
        interrupted_cb=lambda sc, reason: None,
        resumed_cb=lambda sc, report: resumed.set(),
    ) as sc:
        sub = await sc.nats.subscribe("core")
        print("connected; now restart the NATS server")
        await away.wait()
        kept = 0
        try:
            while True:
                await sc.nats.publish("core", bytes(1000))
                kept += 1
        except nats.errors.OutboundBufferLimitError:
            print("kept:", kept, "and then refused")
        await back.wait()
        for _ in range(kept):
            await sub.next_msg(timeout=5)
        print("sent after the reconnect:", kept)
        await resumed.wait()  # the streaming session, too, is itself again


asyncio.run(main())
