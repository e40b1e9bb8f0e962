"""A star is one word, > is all that follows. Channels have no wildcards."""

import asyncio

import stan


async def main() -> None:
    async with stan.connect("test-cluster", "me") as sc:
        assert sc.nats is not None
        nc = sc.nats
        counts = {"time.*.east": 0, "time.>": 0}
        subs = {pattern: await nc.subscribe(pattern) for pattern in counts}
        for subject in ("time.us.east", "time.us.east.atlanta", "time.eu.east", "time.eu.warsaw"):
            await nc.publish(subject, b"now")
        await nc.flush()  # the server has answered: everything before is here
        for pattern, sub in subs.items():
            print(pattern, "got", sub.pending_msgs)
        try:
            await sc.subscribe("time.*")
        except stan.SubscribeError as error:
            print("a channel:", error)


asyncio.run(main())
