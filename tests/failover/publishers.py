"""Publishers that are whole programs or the client itself, for measuring: each publishes one
message at a time and keeps how long it waited for the ack.

Nothing is judged here. Invariant: what was published has a number in `acked_numbers` or in
`failed_numbers`, never in both.
"""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Protocol

import stan
from tests.failover.group import Group

GO_FOLDER = Path(__file__).parent / "go"


class Measured(Protocol):
    """A publisher that runs."""

    waits_s: list[float]
    acked_numbers: list[int]
    failed_numbers: list[int]

    async def acked(self, more: int) -> None:
        """Wait for so many acks more."""

    async def stop(self) -> None:
        """End it."""


class _Counting:
    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self.acked_numbers: list[int] = []
        self.failed_numbers: list[int] = []
        self._changed = asyncio.Condition()

    async def note(self, number: int, waited_s: float, failed: bool) -> None:
        """One publish came to its end."""
        async with self._changed:
            self.waits_s.append(waited_s)
            (self.failed_numbers if failed else self.acked_numbers).append(number)
            self._changed.notify_all()

    async def acked(self, more: int) -> None:
        """Wait for so many acks more."""
        wanted = len(self.acked_numbers) + more
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.acked_numbers) >= wanted)


class GoPublisher(_Counting):
    """The published Go client, which knows nothing of failover."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process
        self._task = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, group: Group, channel: str) -> "GoPublisher":
        """Build it if need be, and let it publish."""
        build = await asyncio.create_subprocess_exec(
            *("go", "build", "-o", "publisher", "."), cwd=GO_FOLDER
        )
        assert await build.wait() == 0
        pipe = asyncio.subprocess.PIPE
        words = (str(GO_FOLDER / "publisher"), group.nats_url, group.cluster, channel)
        return cls(await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe))

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            await self.note(told["number"], told["waited_ms"] / 1e3, told["failed"])

    async def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._task


class OwnPublisher(_Counting):
    """Our client as it is by default."""

    def __init__(self, connection: stan.Connection, channel: str) -> None:
        super().__init__()
        self._connection = connection
        self._channel = channel
        self._stopping = False
        self._task = asyncio.ensure_future(self._run())

    @classmethod
    async def start(cls, group: Group, channel: str) -> "OwnPublisher":
        """Connect, and publish."""
        connection = await stan.connect(group.cluster, "publisher", servers=group.nats_url)
        return cls(connection, channel)

    async def _run(self) -> None:
        number = 0
        while not self._stopping:
            began_s = time.monotonic()
            failed = False
            try:
                await self._connection.publish(self._channel, b"%d" % number)
            except stan.StanError:
                failed = True
            await self.note(number, time.monotonic() - began_s, failed)
            number += 1

    async def stop(self) -> None:
        """End it."""
        self._stopping = True
        await self._task
        with contextlib.suppress(stan.StanError):
            await self._connection.close()


PUBLISHERS = {"stan.go": GoPublisher, "import stan": OwnPublisher}
