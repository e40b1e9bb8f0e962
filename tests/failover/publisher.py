"""A publisher that is nothing but the protocol, publishes one message at a time, and retries
nothing: what it sent and nobody acknowledged is lost."""

import asyncio
import time

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client


class Publisher:
    """Publishes the numbers from 0 on, each when the one before is acknowledged."""

    def __init__(self, client: Client, channel: str) -> None:
        self.acks: list[pb.PubAck] = []
        self.waits_s: list[float] = []
        self._client = client
        self._channel = channel
        self._stopping = False
        self._acked = asyncio.Condition()
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while not self._stopping:
            message = self._client.message(self._channel, b"%d" % len(self.acks))
            began_s = time.monotonic()
            await self._client.send(message)
            # A takeover acknowledges again what was acknowledged a moment before it.
            while (ack := await self._client.next_ack()).guid != message.guid:
                assert not ack.error
            async with self._acked:
                self.waits_s.append(time.monotonic() - began_s)
                self.acks.append(ack)
                self._acked.notify_all()

    async def acked(self, more: int) -> None:
        """Wait for so many acks more. Raises what keeps them from coming."""
        wanted = len(self.acks) + more
        waiting = asyncio.ensure_future(self._wait(wanted))
        await asyncio.wait((waiting, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            waiting.cancel()
            self._task.result()

    async def _wait(self, wanted: int) -> None:
        async with self._acked:
            await self._acked.wait_for(lambda: len(self.acks) >= wanted)

    async def stop(self) -> int:
        """Let the last one be acknowledged; how many there were."""
        self._stopping = True
        await self._task
        return len(self.acks)
