"""The neighbour: a publisher of one message at a time, and a subscriber, who behave well.

Whatever else happens, each of their publishes is acked and each message arrives, in order.
"""

import asyncio
from collections.abc import Callable

import nats.errors

from tests.tools.streaming_client import Client, Clients, Subscription, new_id
from tests.tools.streaming_server import StreamingServer

# After this long a publisher thinks its message lost. stan.go's default is 30 s.
PATIENCE_S = 15.0


class Pair:
    """Use as ``async with``; leaving it waits for what is still on its way.

    `witness` counts what somebody else got done; `overtaken` holds how much of that happened
    while each publish of the pair waited for its ack.
    """

    def __init__(self, server: StreamingServer, witness: Callable[[], int] = lambda: 0) -> None:
        self.acked = 0
        self.failures: list[str] = []
        self.overtaken: list[int] = []
        self.channel = new_id("pair")
        self._server = server
        self._witness = witness
        self._clients = Clients()
        self._stopping = False
        self._progress = asyncio.Event()

    async def __aenter__(self) -> "Pair":
        self._publisher = await self._clients.connect(self._server)
        subscriber = await self._clients.connect(self._server)
        self._subscription = await subscriber.subscribe(self.channel)
        self._work = asyncio.create_task(self._publish())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        try:
            await self._work
            await self._read(self._subscription)
        finally:
            self._work.cancel()
            await self._clients.__aexit__(None, None, None)

    async def finish(self, count: int) -> None:
        """Wait until so many more publishes were acked, or one has failed."""
        goal = self.acked + count
        while self.acked < goal and not self.failures:
            self._progress.clear()
            await self._progress.wait()

    async def _publish(self) -> None:
        number = 0
        while not self._stopping:
            number += 1
            before = self._witness()
            failure = await _publish_one(self._publisher, self.channel, b"%d" % number)
            self.overtaken.append(self._witness() - before)
            self._progress.set()
            if failure:
                self.failures.append(f"publish {number}: {failure}")
                return
            self.acked += 1

    async def _read(self, subscription: Subscription) -> None:
        """All that was acked must have come, in order; what was not acked may have."""
        seen: list[int] = []
        sequences: list[int] = []
        while len(seen) < self.acked:
            try:
                message = await subscription.next(PATIENCE_S)
            except TimeoutError:
                self.failures.append(f"{self.acked - len(seen)} of {self.acked} never arrived")
                break
            await subscription.ack(message.sequence)
            if not message.redelivered:
                seen.append(int(message.data))
                sequences.append(message.sequence)
        if seen != sorted(set(seen)) or sequences != sorted(set(sequences)):
            self.failures.append(f"out of order: {seen}")


async def _publish_one(client: Client, channel: str, data: bytes) -> str:
    """Publish and wait for the ack; what went wrong, if anything."""
    message = client.message(channel, data)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await client.send(message)
            while True:
                ack = await client.pub_acks.get()
                if ack.guid == message.guid:
                    return ack.error
    except TimeoutError:
        return f"no ack in {PATIENCE_S:.0f} s"
    except (nats.errors.Error, OSError) as error:
        return f"the NATS server is gone: {error!r}"
