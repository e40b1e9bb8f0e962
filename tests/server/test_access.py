"""TLS and accounts between the server and NATS, on a real NATS server."""

import asyncio
import shutil
import ssl
from pathlib import Path

import nats
import pytest

from stan.errors import NatsServerError
from stan.server.access import connection_options
from stan.server.config import Config, load_config
from stan.server.embedded import EmbeddedNats, find_nats_server
from stan.server.nats_configuration import write_nats_configuration
from stan.server.transport import Transport

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


async def make_certificate(directory: Path) -> tuple[str, str]:
    """A self-signed certificate for localhost, which is its own authority, and its key."""
    certificate, key = str(directory / "cert.pem"), str(directory / "key.pem")
    process = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    return certificate, key


async def reach(config: Config, url: str) -> int:
    """Connect as the server does; the largest payload tells that it worked."""
    transport = Transport()
    await transport.connect([url], **connection_options(config))
    try:
        return transport.max_payload_bytes
    finally:
        await transport.close()


def child(*flags: str) -> tuple[Config, EmbeddedNats]:
    config = load_config(["-a", "127.0.0.1", "-p", "-1", *flags], {})
    return config, EmbeddedNats(find_nats_server(), write_nats_configuration(config))


@needs_openssl
@pytest.mark.parametrize("verify", [[], ["-tlsverify"]])
async def test_a_child_with_tls_is_reached(tmp_path: Path, verify: list[str]) -> None:
    certificate, key = await make_certificate(tmp_path)
    config, server = child(
        "-tls", "-tlscert", certificate, "-tlskey", key, "-tlscacert", certificate, *verify
    )
    await server.start()
    try:
        assert await reach(config, server.url) > 0
        context = ssl.create_default_context(cafile=certificate)
        context.load_cert_chain(certificate, key)
        client = await nats.connect(server.url, tls=context, tls_hostname="localhost")
        assert client.is_connected
        await client.close()
    finally:
        await server.stop()


@needs_openssl
async def test_a_remote_server_with_tls_is_verified(tmp_path: Path) -> None:
    certificate, key = await make_certificate(tmp_path)
    _, server = child("-tls", "-tlscert", certificate, "-tlskey", key)
    await server.start()
    try:
        url = server.url.replace("nats://127.0.0.1", "tls://localhost")
        trusting = load_config(["-ns", url, "-tls_client_cacert", certificate], {})
        assert await reach(trusting, url) > 0
        doubting = load_config(["-ns", url], {})
        with pytest.raises(NatsServerError, match="cannot connect to tls://localhost"):
            await reach(doubting, url)
        path = tmp_path / "stan.conf"
        path.write_text("tls { skip_verify: true }")
        careless = load_config(["-ns", url, "-sc", str(path)], {})
        assert await reach(careless, url) > 0
    finally:
        await server.stop()


@pytest.mark.parametrize(
    "text",
    [
        "authorization { user: u, password: p }",
        "authorization { token: 'a token' }",
    ],
)
async def test_a_child_with_accounts_in_its_file_is_reached(tmp_path: Path, text: str) -> None:
    path = tmp_path / "nats.conf"
    path.write_text(text)
    config, server = child("-c", str(path))
    await server.start()
    try:
        assert await reach(config, server.url) > 0
        with pytest.raises(NatsServerError, match="Authorization"):
            await reach(load_config(["-ns", server.url], {}), server.url)
    finally:
        await server.stop()


async def test_a_wrong_configuration_of_the_child_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("max_payload: 'much'")
    _, server = child("-c", str(path))
    with pytest.raises(NatsServerError, match=r"did not start: .*\"max_payload\""):
        await server.start()


async def test_a_changed_configuration_reaches_the_child(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("max_payload: 4KB")
    config, server = child("-c", str(path))
    await server.start()
    try:
        assert await reach(config, server.url) == 4096
        path.write_text("max_payload: 8KB")
        client = await nats.connect(server.url)
        server.reload(write_nats_configuration(config))
        async with asyncio.timeout(10):
            while await reach(config, server.url) != 8192:
                await client.flush()
        await client.close()
    finally:
        await server.stop()


async def test_a_program_that_cannot_run_is_named() -> None:
    with pytest.raises(NatsServerError, match="cannot run /nowhere/nats-server: No such file"):
        await EmbeddedNats("/nowhere/nats-server", "").start()


async def test_stopping_twice_or_before_the_start_is_safe() -> None:
    _, server = child()
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    assert server.url.startswith("nats://127.0.0.1:")
