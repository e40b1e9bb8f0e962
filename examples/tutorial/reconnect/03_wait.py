"""How long to wait between attempts. Without the option the waits grow and are random."""

import asyncio

import stan


async def main() -> None:
    back = asyncio.Event()
    async with stan.connect(
        "test-cluster",
        "me",
        reconnect_time_wait=0.5,
        interrupted_cb=lambda sc, reason: print("interrupted"),
        resumed_cb=lambda sc, report: back.set(),
    ):
        print("connected; now restart the server")
        await back.wait()
        print("back")


asyncio.run(main())
