"""What the streaming session does while NATS is away: it waits, and then makes everything good."""

import asyncio

import stan


async def main() -> None:
    away, back = asyncio.Event(), asyncio.Event()

    def interrupted(sc: stan.Connection, reason: Exception) -> None:
        print("interrupted")
        away.set()

    def resumed(sc: stan.Connection, report: stan.Resumed) -> None:
        print("resumed, sent again:", report.resent)
        back.set()

    async with stan.connect(
        "test-cluster", "me", interrupted_cb=interrupted, resumed_cb=resumed
    ) as sc:
        sub = await sc.subscribe("session", start_at="first")
        print("connected; now restart the NATS server")
        await away.wait()
        waiting = asyncio.create_task(sc.publish("session", b"sent while NATS was away"))
        await back.wait()
        await waiting
        print("received:", (await sub.next_msg(timeout=5)).data.decode())


asyncio.run(main())
