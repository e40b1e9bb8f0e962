"""Give up after a number of attempts, or after a time."""

import asyncio

import stan


async def main() -> None:
    lost = asyncio.Event()
    await stan.connect(
        "test-cluster",
        "me",
        max_reconnect_attempts=3,  # a NATS server that failed so often is not tried again
        reconnect_time_wait=0.1,
        give_up_after=60,  # seconds without a streaming server
        interrupted_cb=lambda sc, reason: print("interrupted"),
        connection_lost_cb=lambda sc, error: lost.set(),
    )
    print("connected; now stop the server")
    await lost.wait()
    print("gave up")


asyncio.run(main())
