"""The link on a real NATS server. Fails when the parts of nats-py that it leans on move."""

import asyncio

from stan.link import Link
from stan.wire.frames import Frame, pub
from tests.conformance.server import NatsServer
from tests.servers import RestartableNats


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
    restartable_nats: RestartableNats,
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
