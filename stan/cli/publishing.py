"""Payloads for the publishing commands, from where the user has them, and into a channel.

A pipe is read without stopping the event loop, so that the connection lives while nothing
comes. Nothing here prints.
"""

import asyncio
import os
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import stan

# How many publishes may wait for their ack before the oldest is waited for.
AHEAD = 4096
# A line must fit a message, and NATS carries no more than this.
_LONGEST_LINE_BYTES = 64 << 20


def has_input() -> bool:
    """Whether standard input is something to read to its end: a pipe or a file."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def read_payload(message: str | None, file: str | None) -> bytes:
    """The message as an argument gives it, or a file, or `-`: standard input. Raises OSError."""
    if file is not None and file != "-":
        return Path(file).read_bytes()
    if file == "-" or message == "-" or message is None:
        return sys.stdin.buffer.read()
    return os.fsencode(message)


async def repeat(payload: bytes, count: int) -> AsyncIterator[bytes]:
    """The same, so many times."""
    for _ in range(count):
        yield payload


async def read_lines(file: str | None) -> AsyncIterator[bytes]:
    """Each line of a file or of standard input, without its end. Raises OSError."""
    with _open(file) as source:
        if stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            lines: Iterable[bytes] = source
            for line in lines:
                yield _strip(line)
            return
        reader = await _open_pipe(source)
        while line := await _read_line(reader):
            yield _strip(line)


def _open(file: str | None) -> BinaryIO:
    return sys.stdin.buffer if file is None or file == "-" else open(file, "rb")


async def _open_pipe(source: BinaryIO) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(_LONGEST_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    return reader


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        raise stan.PayloadTooLargeError("a line is longer than any message may be") from None


def _strip(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


async def publish_all(
    connection: stan.Connection,
    channel: str,
    payloads: AsyncIterator[bytes],
    acked: Callable[[int], object] = lambda size_bytes: None,
    pause_s: float = 0,
) -> None:
    """Publish them in order, many on their way at once; `acked` is told the size of each that
    is stored. Raises StanErrors and OSError: what came before may be stored."""
    waiting: deque[tuple[stan.Receipt, int]] = deque()

    async def settle(left: int) -> None:
        while len(waiting) > left:
            receipt, size_bytes = waiting.popleft()
            await receipt
            acked(size_bytes)

    async for payload in payloads:
        if pause_s and waiting:
            await settle(0)
            await asyncio.sleep(pause_s)
        waiting.append((await connection.publish_async(channel, payload), len(payload)))
        await settle(AHEAD)
    await settle(0)
