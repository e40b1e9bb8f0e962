"""Have the NATS server check each subject strictly, while a program is being written."""

import asyncio

import stan


async def main() -> None:
    said: asyncio.Queue[Exception] = asyncio.Queue()
    async with stan.connect("test-cluster", "me", pedantic=True, error_cb=said.put) as sc:
        assert sc.nats is not None
        await sc.nats.publish("news.*", b"a publisher must not use a wildcard")
        print("the server says:", await asyncio.wait_for(said.get(),3))


asyncio.run(main())
