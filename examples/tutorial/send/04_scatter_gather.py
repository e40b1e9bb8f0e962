"""Ask many: gather for a time, or until there are enough."""

import asyncio

from nats.aio.msg import Msg

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        nc = sc.nats
        for n in range(3):

            async def answer(msg: Msg, n: int = n) -> None:
                await msg.respond(f"worker {n}".encode())

            await nc.subscribe("send.survey", cb=answer)
        inbox = nc.new_inbox()
        answers = await nc.subscribe(inbox)
        await nc.publish("send.survey", b"who is there?", reply=inbox)
        names = []
        try:
            async with asyncio.timeout(1):
                async for msg in answers.messages:
                    names.append(msg.data.decode())
        except TimeoutError:
            print("in a second:", sorted(names))

        await nc.publish("send.survey", b"two will do", reply=inbox)
        two = [await answers.next_msg(timeout=5) for _ in range(2)]
        print("at least:", len(two))


asyncio.run(main())
