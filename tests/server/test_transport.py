"""The server's NATS connection where there is nothing to connect to, or it will not have us."""

import asyncio

import pytest

from stan.errors import NatsServerError
from stan.server.transport import Transport

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
