"""Give a connection a name that operators see, and bound how long connecting may take."""

import asyncio
import json
from urllib.request import urlopen

import stan


def names() -> list[str]:
    """Who is connected, as the NATS server's monitoring tells."""
    with urlopen("http://127.0.0.1:8222/connz") as answer:
        return sorted(c["name"] for c in json.load(answer)["connections"] if "orders" in c["name"])


async def main() -> None:
    async with stan.connect("test-cluster", "orders-1"):
        print(await asyncio.to_thread(names))
    async with stan.connect("test-cluster", "orders-1", name="orders, first worker"):
        print(await asyncio.to_thread(names))

    held = []  # a server that takes connections and says nothing
    silent = await asyncio.start_server(lambda *streams: held.append(streams), "127.0.0.1", 4223)
    async with silent:
        try:
            await stan.connect(
                "test-cluster", "orders-1", servers="nats://127.0.0.1:4223", connect_timeout=0.5
            )
        except stan.ConnectError as error:
            print("NATS did not answer:", error)
        for _, writer in held:
            writer.close()
    try:
        await stan.connect("no-such-cluster", "orders-1", connect_wait=0.5)
    except stan.ConnectTimeoutError as error:
        print("no streaming server answered:", error)


asyncio.run(main())
