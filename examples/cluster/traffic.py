"""A small load for the compose file: `traffic.py publish NAME` or `traffic.py work NAME`.

The ordinary client, without a retry, a reconnect or an except: it goes on through the loss of
a NATS server, of the active streaming server, or of the database.
"""

import asyncio
import os
import sys

import stan

SERVERS = os.environ.get("NATS_URL", "nats://nats-1:4222,nats://nats-2:4222,nats://nats-3:4222")
PAUSE_S = 0.1


async def publish(name: str) -> None:
    """Publish a number every tenth of a second, and say so every hundred."""
    async with stan.connect("test-cluster", name, servers=SERVERS) as sc:
        number = 0
        while True:
            await sc.publish("demo", b"%d" % number)
            number += 1
            if number % 100 == 0:
                print(f"{number} published and stored", flush=True)
            await asyncio.sleep(PAUSE_S)


async def work(name: str) -> None:
    """Receive as a member of the group, and say so every hundred."""
    async with stan.connect("test-cluster", name, servers=SERVERS) as sc:
        sub = await sc.subscribe("demo", queue="workers", durable="demo")
        count = 0
        async for msg in sub:
            count += 1
            if count % 100 == 0:
                print(f"{count} received, the last one is #{msg.sequence}", flush=True)


if __name__ == "__main__":
    kind, name = sys.argv[1:]
    asyncio.run(publish(name) if kind == "publish" else work(name))
