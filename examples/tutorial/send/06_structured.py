"""Data with a structure: say what it is, and encode it in one place."""

import asyncio
import json
from dataclasses import asdict, dataclass

import stan


@dataclass
class Stock:
    symbol: str
    price: int


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        await sc.publish("send.stock", json.dumps(asdict(Stock("GOOG", 1200))).encode())
        sub = await sc.subscribe("send.stock", start_at="first")
        msg = await sub.next_msg(timeout=5)
        print(Stock(**json.loads(msg.data)))


asyncio.run(main())
