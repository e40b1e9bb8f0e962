"""A TCP proxy that cuts, stalls and restores, or loses one answer on purpose.

It sits between the store and its database, and knows nothing of either's protocol but the
words it was told to watch for.
"""

import asyncio


class Proxy:
    """Listens on `port` of the loopback interface once opened."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.refusing = False
        self.fired = asyncio.Event()
        """Set when what was watched for has happened."""
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._request = b""
        self._answer = b""
        self._reaction = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose_request(self, words: bytes) -> None:
        """Cut every connection instead of passing on what holds `words`."""
        self._watch(words, b"", "cut")

    def lose_answer(self, words: bytes) -> None:
        """Cut every connection instead of passing on the answer that holds `words`."""
        self._watch(b"", words, "cut")

    def lose_answer_to(self, words: bytes) -> None:
        """Pass on what holds `words`, then cut every connection instead of answering."""
        self._watch(words, b"", "cut after")

    def stall_on(self, words: bytes) -> None:
        """Hold back what holds `words`, and everything after it, without cutting."""
        self._watch(words, b"", "stall")

    def cut(self) -> None:
        """Cut every connection now."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def stall(self) -> None:
        """Let nothing through, in either direction, without cutting."""
        self._flowing.clear()

    def restore(self) -> None:
        """Behave again."""
        self._flowing.set()
        self.refusing = False

    def _watch(self, request: bytes, answer: bytes, reaction: str) -> None:
        self._request, self._answer, self._reaction = request, answer, reaction
        self.fired.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refusing:
                raise ConnectionRefusedError
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        for coroutine in (self._pass(reader, up_writer, 0), self._pass(up_reader, writer, 1)):
            task = asyncio.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: int
    ) -> None:
        try:
            while chunk := await reader.read(1 << 16):
                await self._flowing.wait()
                if not await self._react(chunk, direction):
                    return
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def _react(self, chunk: bytes, direction: int) -> bool:
        """Whether the chunk may pass, after what was ordered for it."""
        words = self._answer if direction else self._request
        if not words or words not in chunk:
            return True
        if self._reaction == "cut after":
            self._watch(b"", b"", "")
            self._request, self._answer, self._reaction = b"", b"\x00", "cut"
            return True
        self._request = self._answer = b""
        self.fired.set()
        if self._reaction == "stall":
            self.stall()
            await self._flowing.wait()
            return True
        self.cut()
        return False
