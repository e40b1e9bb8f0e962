"""Data with a structure: JSON."""

import asyncio
import json

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        await sc.publish("receive.json", json.dumps({"symbol": "GOOG", "price": 1200}).encode())
        await sc.publish("receive.json", b"not json")
        sub = await sc.subscribe("receive.json", start_at="first")
        for msg in await sub.fetch(2, timeout=5):
            try:
                print(json.loads(msg.data)["symbol"])
            except ValueError:
                print("message", msg.sequence, "is no JSON")


asyncio.run(main())
