"""The link on a real NATS server. Fails when the parts of nats-py that it leans on move."""

import asyncio

import pytest

from stan.link.taps import Link
from stan.wire.frames import Frame, pub
from tests.tools.processes import NatsServer


class Frames:
    """Keeps the frames, and lets them be awaited."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Frame] = asyncio.Queue()
        self.chunks = 0

    def __call__(self, frames: list[Frame]) -> None:
        self.chunks += 1
        for frame in frames:
            self.queue.put_nowait(frame)

    async def take(self) -> Frame:
        async with asyncio.timeout(10):
            return await self.queue.get()


async def open_link(url: str) -> tuple[Link, Frames]:
    frames = Frames()
    link = Link(frames)
    await link.connect(url, reconnect_time_wait=0.1, max_reconnect_attempts=-1, error_cb=ignore)
    return link, frames


async def ignore(_: Exception) -> None:
    return


async def test_tapped_messages_arrive_in_few_chunks(nats_server: NatsServer) -> None:
    link, frames = await open_link(nats_server.url)
    subject = link.new_inbox()
    await link.tap(subject)
    assert link.write(b"".join(pub(subject, b"%d" % n, b"re.ply") for n in range(1000)))
    for n in range(1000):
        assert await frames.take() == (subject.encode(), b"re.ply", b"%d" % n)
    assert frames.chunks < 500
    await link.close()


async def test_a_message_larger_than_a_chunk(nats_server: NatsServer) -> None:
    link, frames = await open_link(nats_server.url)
    subject = link.new_inbox()
    await link.tap(subject)
    data = bytes(range(256)) * 4000
    link.write(pub(subject, data) + pub(subject, b""))
    assert (await frames.take())[2] == data
    assert (await frames.take())[2] == b""
    await link.drained()
    assert link.unsent_bytes == 0
    await link.close()


async def test_what_nats_py_asked_for_earlier_leaves_earlier(nats_server: NatsServer) -> None:
    link, frames = await open_link(nats_server.url)
    subject = link.new_inbox()
    await link.tap(subject)
    await link.publish(subject, b"first")
    link.write(pub(subject, b"second"))
    assert [(await frames.take())[2] for _ in range(2)] == [b"first", b"second"]
    await link.close()


async def test_a_flush_comes_behind_what_was_asked_before(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, _ = await open_link(nats_server.url)
    await link.flush()
    written: list[bytes] = []
    write, write_lines = link._transport.write, link._transport.writelines

    def watch(data: bytes) -> None:
        written.append(data)
        write(data)

    def watch_lines(lines: list[bytes]) -> None:
        written.extend(lines)
        write_lines(lines)

    monkeypatch.setattr(link._transport, "write", watch)
    monkeypatch.setattr(link._transport, "writelines", watch_lines)
    await link.tap("orders")
    await link.tap("invoices")
    await link.flush()
    words = [line.split()[0] for line in b"".join(written).splitlines()]
    assert words == [b"SUB", b"SUB", b"PING"]
    await link.close()


async def test_ordinary_subscriptions_and_requests_work_beside(nats_server: NatsServer) -> None:
    link, frames = await open_link(nats_server.url)
    tapped, plain = link.new_inbox(), link.new_inbox()
    await link.tap(tapped)
    subscription = await link.subscribe(plain)
    link.write(pub(tapped, b"t") + pub(plain, b"p"))
    assert (await subscription.next_msg(timeout=10)).data == b"p"
    assert (await frames.take())[2] == b"t"

    asking = asyncio.create_task(link.request(tapped, b"question", timeout=10))
    _, reply, question = await frames.take()
    assert question == b"question"
    link.write(pub(reply, b"answer"))
    assert (await asking).data == b"answer"
    await link.close()


async def test_nobody_listening_is_a_frame_without_payload(nats_server: NatsServer) -> None:
    link, frames = await open_link(nats_server.url)
    inbox = link.new_inbox()
    await link.tap(inbox)
    link.write(pub(link.new_inbox(), b"hello?", inbox))
    assert await frames.take() == (inbox.encode(), b"", None)
    await link.close()


async def test_untapped_is_silent(nats_server: NatsServer) -> None:
    link, frames = await open_link(nats_server.url)
    gone, kept = link.new_inbox(), link.new_inbox()
    sid = await link.tap(gone)
    await link.tap(kept)
    await link.untap(sid)
    await link.flush()
    link.write(pub(gone, b"x") + pub(kept, b"y"))
    assert (await frames.take())[2] == b"y"
    assert frames.queue.empty()
    await link.close()


async def test_taps_survive_a_reconnect_and_writes_in_between_are_refused(
    restartable_nats: NatsServer,
) -> None:
    frames, gone, back = Frames(), asyncio.Event(), asyncio.Event()

    async def disconnected() -> None:
        gone.set()

    async def reconnected() -> None:
        back.set()

    link = Link(frames)
    await link.connect(
        restartable_nats.url,
        reconnect_time_wait=0.1,
        max_reconnect_attempts=-1,
        error_cb=ignore,
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
    )
    subject = link.new_inbox()
    await link.tap(subject)
    restartable_nats.kill()
    async with asyncio.timeout(20):
        await gone.wait()
        assert not link.write(pub(subject, b"lost"))
        assert link.unsent_bytes == 0
        restartable_nats.start()
        await back.wait()
    assert link.write(pub(subject, b"again"))
    assert (await frames.take())[2] == b"again"
    await link.close()


class FakeNats:
    """A NATS server that says exactly what a test wants, in the pieces it wants."""

    def __init__(self, behind_first_pong: bytes, *, ends: bool = False) -> None:
        self._behind_pong = behind_first_pong
        self._ends = ends  # the first connection, with that
        self.greetings: list[bytes] = []  # of the next connections, instead of an INFO
        self.connections: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        info = b'INFO {"max_payload":1048576,"headers":true}\r\n'
        writer.write(self.greetings.pop(0) if self.greetings else info)
        async for line in reader:
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n" + self._behind_pong)
                self._behind_pong = b""
                if self._ends:
                    self._ends = False
                    break
            elif line.startswith(b"SUB"):
                self.connections.put_nowait(writer)
        writer.close()

    async def stop(self) -> None:
        """Await the end of every connection; the link is closed."""
        self._server.close()
        async with asyncio.timeout(10):
            while self._serving:
                await asyncio.wait(self._serving)

    async def connection(self) -> asyncio.StreamWriter:
        """A connection that has subscribed to something."""
        async with asyncio.timeout(10):
            return await self.connections.get()


async def test_an_operation_cut_in_two_behind_the_handshake() -> None:
    nats = FakeNats(b'INFO {"connect_')
    link, frames = await open_link(await nats.start())
    await link.tap("s")
    server = await nats.connection()
    server.write(b'urls":["127.0.0.1:4444"]}\r\nMSG s 1 2\r\nab\r\n')
    assert await frames.take() == (b"s", b"", b"ab")
    await link.flush()
    assert [url.netloc for url in link.discovered_servers] == ["127.0.0.1:4444"]
    await link.close()
    await nats.stop()


async def test_what_no_nats_server_says_ends_the_connection_and_a_new_one_serves() -> None:
    nats = FakeNats(b"")
    link, frames = await open_link(await nats.start())
    await link.tap("s")
    (await nats.connection()).write(b"MSG s 1 -5\r\nab\r\n")
    (await nats.connection()).write(b"MSG s 1 2\r\ncd\r\n")
    assert await frames.take() == (b"s", b"", b"cd")
    assert link.stats["reconnects"] == 1
    await link.close()
    await nats.stop()


async def test_a_server_that_goes_right_behind_the_handshake_is_left_for_a_new_connection() -> None:
    nats = FakeNats(b"INFO {}\r\n", ends=True)
    link, frames = await open_link(await nats.start())
    await link.tap("s")
    (await nats.connection()).write(b"MSG s 1 2\r\ncd\r\n")
    assert await frames.take() == (b"s", b"", b"cd")
    await link.close()
    await nats.stop()


@pytest.mark.parametrize("greeting", [b"INFO []\r\n", b"x" * 300_000], ids=["no object", "endless"])
async def test_a_greeting_that_is_none_does_not_end_reconnecting(greeting: bytes) -> None:
    nats = FakeNats(b"")
    link, frames = await open_link(await nats.start())
    await link.tap("s")
    nats.greetings = [greeting]
    (await nats.connection()).write(b"MSG s 1 -5\r\nab\r\n")
    (await nats.connection()).write(b"MSG s 1 2\r\ncd\r\n")
    assert await frames.take() == (b"s", b"", b"cd")
    assert not nats.greetings
    await link.close()
    await nats.stop()


async def test_what_nats_finds_too_large_makes_a_new_connection(nats_server: NatsServer) -> None:
    link, frames = await open_link(nats_server.url)
    made: asyncio.Queue[int] = asyncio.Queue()
    complaints: list[str] = []

    async def complain(error: Exception) -> None:
        complaints.append(str(error))

    link.on_made = lambda: made.put_nowait(link.max_payload)
    link._error_cb = complain
    subject = link.new_inbox()
    await link.tap(subject)
    limit_bytes = link.max_payload
    link.write(pub(subject, bytes(limit_bytes + 1)))
    async with asyncio.timeout(10):
        assert await made.get() == limit_bytes
    await link.flush()  # behind the subscriptions, which nats-py makes anew
    link.write(pub(subject, b"after"))
    assert (await frames.take())[2] == b"after"
    assert "nats: maximum payload violation" in complaints
    await link.close()


async def test_a_wrong_subject_ends_nothing(nats_server: NatsServer) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    link = Link(Frames())
    await link.connect(nats_server.url, pedantic=True, error_cb=errors.put)
    await link.publish("time.*", b"")
    async with asyncio.timeout(10):
        assert str(await errors.get()) == "nats: invalid publish subject"
    await link.flush()
    assert link.is_connected
    await link.close()
