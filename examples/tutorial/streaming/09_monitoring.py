"""Look at a channel and at who lags, as Prometheus and the monitoring pages do."""

import asyncio
import json
import urllib.request

import stan

PAGES = "http://127.0.0.1:8222"


def read(path: str) -> str:
    with urllib.request.urlopen(PAGES + path) as page:
        return page.read().decode()


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        for _ in range(3):
            await sc.publish("watched", b"work")
        sub = await sc.subscribe("watched", durable="slow", start_at="first", manual_acks=True)
        await (await sub.next_msg(timeout=5)).ack()
        await asyncio.sleep(0.5)  # an ack is seen a moment later
        channel = json.loads(
            await asyncio.to_thread(read, "/streaming/channelsz?channel=watched&subs=1")
        )
        durable = channel["subscriptions"][0]
        print("messages:", channel["msgs"], "last sent:", durable["last_sent"])
        print("waiting for an ack:", durable["pending_count"])
        metrics = await asyncio.to_thread(read, "/metrics")
        print("of Prometheus:", metrics.count("\nnss_chan_"), "lines about channels")


asyncio.run(main())
