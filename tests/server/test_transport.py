"""The server's NATS connection where there is nothing to connect to, or it will not have us,
and where others who listen become known late."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import pytest

from stan.errors import NatsServerError
from stan.server import transport as transports
from stan.server.transport import Transport
from stan.wire.stan_pb2 import ConnectResponse
from stan.wire.subjects import ServerSubjects
from tests.tools.processes import NatsServer
from tests.tools.proxy import Proxy

HOLDS_UP_S = 60.0


async def test_closing_what_never_connected_is_nothing() -> None:
    transport = Transport()
    await transport.close()
    with pytest.raises(NatsServerError):
        await transport.connect(["nats://127.0.0.1:1"])
    await transport.close()
    assert not transport.is_connected


async def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(NatsServerError) as raised:
        await Transport().connect(["nats://me:word@127.0.0.1:1", "nats://127.0.0.1:2"])
    assert str(raised.value) == (
        "cannot connect to nats://127.0.0.1:1, nats://127.0.0.1:2: connection refused"
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "nats: the server closed the connection"),
        (b"220 mail.example ESMTP\r\n", "nats: empty response .*"),
        (b"INFO {}\r\n", "nats: the server closed the connection"),
        (b"INFO {}\r\n-ERR 'maximum connections exceeded'\r\n", "nats: maximum connections .*"),
    ],
)
async def test_what_lets_nobody_in_is_not_waited_for(said: bytes, reason: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        if said.startswith(b"INFO"):
            await reader.readline()
            await reader.readline()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = "nats://{}:{}".format(*server.sockets[0].getsockname())
    transport = Transport()
    try:
        async with asyncio.timeout(HOLDS_UP_S / 2):
            with pytest.raises(NatsServerError, match=f"cannot connect to {url}: {reason}$"):
                await transport.connect([url], connect_timeout=HOLDS_UP_S)
    finally:
        await transport.close()
        server.close()
        await server.wait_closed()


async def test_a_server_has_read_all_we_said_when_it_refuses_us() -> None:
    """What it has not read when it closes makes a reset, which may overtake its reason."""
    heard: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"auth_required":true}\r\n')
        heard.append(await reader.read(65536))
        writer.write(b"-ERR 'Authorization Violation'\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = "nats://{}:{}".format(*server.sockets[0].getsockname())
    try:
        with pytest.raises(NatsServerError, match="nats: Authorization Violation"):
            await Transport().connect([url], user="me", password="word%")
    finally:
        server.close()
        await server.wait_closed()
    assert len(heard) == 1
    assert heard[0].startswith(b"CONNECT ")
    assert heard[0].endswith(b"\r\nPING\r\n")
    assert b'"pass": "word%"' in heard[0]


async def test_a_server_that_falls_silent_is_waited_for_no_longer_than_said() -> None:
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    url = "nats://{}:{}".format(*server.sockets[0].getsockname())
    try:
        with pytest.raises(NatsServerError, match=f"cannot connect to {url}: timeout"):
            await Transport().connect([url], connect_timeout=0.1)
    finally:
        for writer in held:
            writer.close()
        server.close()


class Answering:
    """A NATS server for one client. From the probe with this number on somebody answers; the
    ones before are told that nobody listens."""

    def __init__(self, answered: int, info: bytes) -> None:
        self.answered = answered
        self.info = info
        self.probes = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(b"INFO {" + self.info + b"}\r\n")
        sid = b""
        while line := await reader.readline():
            words = line.split()
            if words[0] == b"PING":
                writer.write(b"PONG\r\n")
            elif words[0] == b"SUB":
                sid = words[-1]
            elif words[0] == b"PUB":
                await reader.readexactly(int(words[-1]) + 2)
                writer.write(self.answer(words[2], sid))

    def answer(self, reply: bytes, sid: bytes) -> bytes:
        self.probes += 1
        if self.probes < self.answered:
            return b"HMSG %s %s 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" % (reply, sid)
        said = ConnectResponse(error="stan: invalid connection request").SerializeToString()
        return b"MSG %s %s %d\r\n%s\r\n" % (reply, sid, len(said), said)


@asynccontextmanager
async def probing(answering: Answering) -> AsyncIterator[Transport]:
    """A transport that is connected to it."""
    server = await asyncio.start_server(answering.serve, "127.0.0.1", 0)
    transport = Transport()
    try:
        await transport.connect(["nats://{}:{}".format(*server.sockets[0].getsockname())])
        yield transport
    finally:
        await transport.close()
        for writer in answering.writers:
            writer.close()
        server.close()


async def test_in_a_nats_cluster_others_may_become_known_late_019(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transports, "PROBE_PAUSE_S", 0.0)
    answering = Answering(3, b'"headers":true,"cluster":"c"')
    async with probing(answering) as transport:
        assert await transport.probe(ServerSubjects("one"), "one")
    assert answering.probes == 3


async def test_a_nats_server_that_stands_alone_is_asked_once_019() -> None:
    answering = Answering(3, b'"headers":true')
    async with probing(answering) as transport:
        assert not await transport.probe(ServerSubjects("one"), "one")
    assert answering.probes == 1


async def test_a_reconnect_is_told_as_the_original_tells_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    answering = Answering(1, b'"headers":true')
    server = await asyncio.start_server(answering.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    transport = Transport("stan-server-one")
    back = asyncio.Event()
    transport.on_up = back.set
    try:
        await transport.connect([f"nats://me:word@{host}:{port}"])
        answering.writers[0].close()
        async with asyncio.timeout(HOLDS_UP_S / 2):
            await back.wait()
        assert caplog.messages == [
            f'connection "stan-server-one" reconnected to NATS Server at "nats://{host}:{port}"'
        ]
    finally:
        await transport.close()
        for writer in answering.writers:
            writer.close()
        server.close()


async def test_what_could_not_be_said_is_not_said_on_the_next_connection() -> None:
    """A standby's question tells what it has heard, which a lost connection makes untrue."""
    nats_server = NatsServer().start()
    proxy = Proxy(nats_server.port)
    await proxy.open()
    transport, listener = Transport(), await nats.connect(nats_server.url)
    down, up = asyncio.Event(), asyncio.Event()
    transport.on_down, transport.on_up = down.set, up.set
    try:
        subscription = await listener.subscribe("word")
        await listener.flush()
        await transport.connect([f"nats://127.0.0.1:{proxy.port}"])
        proxy.refusing = True
        proxy.cut()
        async with asyncio.timeout(HOLDS_UP_S / 2):
            await down.wait()
            await transport.say("word", b"stale")
            proxy.refusing = False
            await up.wait()
        await transport.say("word", b"new")
        assert (await subscription.next_msg(HOLDS_UP_S)).data == b"new"
    finally:
        await transport.close()
        await listener.close()
        await proxy.close()
        nats_server.stop()
