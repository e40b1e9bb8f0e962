"""The command stan-server with TLS and accounts of its own: what strangers see of it."""

import asyncio
import re
import signal
import ssl
from pathlib import Path

import pytest

import stan
from tests.acceptance.test_stan_server import READY, Start, command_lines, start
from tests.tools.identities import Authority
from tests.tools.processes import free_port

__all__ = ["start"]

_LINE = re.compile(r"\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[[A-Z]{3}\] .*")


async def ask(port: int, data: bytes) -> bytes:
    """What a stranger who says this is told."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
async def test_a_server_with_tls_and_a_password_tells_strangers_nothing(
    start: Start, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "ca")
    issued = authority.issue("server", "127.0.0.1")
    path = tmp_path / "nats.conf"
    path.write_text(
        'authorization { users: [ {user: me, password: "word-1"}, {user: you, password: b} ] }\n'
        f'tls {{ cert_file: "{issued.certificate}", key_file: "{issued.key}" }}\n'
        'streaming { username: me, password: "word-1" }'
    )
    monitoring = free_port()
    server = await start("-sc", str(path), "-ms", str(monitoring))
    await server.read_until(READY)
    assert not any(b"word-1" in line for line in command_lines(server.process.pid))
    assert b"HTTP" not in await ask(monitoring, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert b"HTTP" not in await ask(monitoring, b"")
    context = ssl.create_default_context(cafile=authority.file)
    url = f"tls://127.0.0.1:{server.port}"
    for password, refusal in (("b", ""), ("wrong", "Authorization Violation")):
        options = {"user": "you", "password": password, "tls": context}
        if refusal:
            with pytest.raises(stan.ConnectError, match=refusal):
                await stan.connect("test-cluster", "me", servers=url, **options)
        else:
            async with stan.connect("test-cluster", "me", servers=url, **options) as sc:
                await sc.publish("foo", b"hello")
    server.process.send_signal(signal.SIGINT)
    assert await server.end() == 0
    assert all(_LINE.fullmatch(line) for line in server.lines), server.lines
    assert not any("word-1" in line for line in server.lines)
