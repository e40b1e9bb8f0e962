"""How large a message may be: the NATS server says so when we connect."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        print("a NATS message:", sc.nats.max_payload, "bytes")
        print("data of a channel's message:", sc.max_data_size("connect.large"), "bytes")
        try:
            await sc.publish("connect.large", bytes(2_000_000))
        except stan.PayloadTooLargeError as error:
            print("not sent:", error)


asyncio.run(main())
