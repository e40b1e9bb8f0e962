"""However much waits in the socket, what else the loop has to do has its turn between reads."""

import asyncio
from typing import Any

import pytest

from stan.link.taps import Link
from stan.wire.frames import Frame, pub
from tests.tools.processes import NatsServer

PAYLOAD_BYTES = 100_000
MESSAGES = 300

uvloop = pytest.importorskip("uvloop")


class Turns:
    """Takes frames, and tells how often some came before what was asked of the loop last."""

    def __init__(self) -> None:
        self.messages = 0
        self.hasty = 0
        self.done = asyncio.Event()
        self._is_waiting = False

    def __call__(self, frames: list[Frame]) -> None:
        self.messages += len(frames)
        self.hasty += self._is_waiting
        self._is_waiting = True
        if self.messages == MESSAGES:
            self.done.set()
        asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_waiting = False


async def read_what_waits(url: str, turns: Turns) -> None:
    reader, writer = Link(turns), Link(lambda _: None)
    await reader.connect(url)
    await writer.connect(url)
    subject = reader.new_inbox()
    await reader.tap(subject)
    await reader.flush()
    stream = reader._stream_writer()
    assert stream is not None
    transport: Any = stream.transport
    transport.pause_reading()
    writer.write(pub(subject, bytes(PAYLOAD_BYTES)) * MESSAGES)
    await writer.flush()  # NATS has it all now, the socket as much as it takes
    transport.resume_reading()
    async with asyncio.timeout(20):
        await turns.done.wait()
    await reader.close()
    await writer.close()


def test_the_loop_has_its_turn_between_large_reads(nats_server: NatsServer) -> None:
    turns = Turns()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(read_what_waits(nats_server.url, turns))
    assert turns.messages == MESSAGES
    assert turns.hasty == 0
