"""Data with a structure: protobuf."""

import asyncio

from google.protobuf.struct_pb2 import Struct

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        order = Struct()
        order.update({"symbol": "GOOG", "price": 1200})
        await sc.publish("receive.protobuf", order.SerializeToString())
        sub = await sc.subscribe("receive.protobuf", start_at="first")
        msg = await sub.next_msg(timeout=5)
        print(Struct.FromString(msg.data)["symbol"])


asyncio.run(main())
