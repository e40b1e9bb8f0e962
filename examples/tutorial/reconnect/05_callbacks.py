"""Hear of what happens to the NATS connection."""

import asyncio

import stan


async def main() -> None:
    back = asyncio.Event()

    async def disconnected() -> None:
        print("disconnected")

    async def reconnected() -> None:
        print("reconnected")
        back.set()

    async def closed() -> None:
        print("closed")

    async with stan.connect(
        "test-cluster",
        "me",
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        closed_cb=closed,
        interrupted_cb=lambda sc, reason: None,  # the streaming session's own two
        resumed_cb=lambda sc, report: resumed.set(),
    ):
        resumed = asyncio.Event()
        print("connected; now restart the NATS server")
        await back.wait()
        await resumed.wait()


asyncio.run(main())
