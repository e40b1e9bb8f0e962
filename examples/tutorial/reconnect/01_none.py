"""Do not reconnect: a lost connection is the end, and we are told."""

import asyncio

import stan


async def main() -> None:
    lost = asyncio.Event()

    def tell(sc: stan.Connection, error: stan.ClientError) -> None:
        print("lost:", error)
        lost.set()

    await stan.connect(
        "test-cluster", "me", resume=False, allow_reconnect=False, connection_lost_cb=tell
    )
    print("connected; now stop the server")
    await lost.wait()


asyncio.run(main())
