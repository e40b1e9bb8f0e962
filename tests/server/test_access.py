"""TLS and accounts between the server and NATS, on a real NATS server."""

import asyncio
import os
import ssl
from pathlib import Path

import nats
import pytest

from stan.errors import NatsServerError
from stan.server.child import guard
from stan.server.child.configuration import write_nats_configuration
from stan.server.child.nats_server import EmbeddedNats, find_nats_server
from stan.server.config.access import connection_options
from stan.server.config.config import Config, load_config
from stan.server.transport import Transport
from tests.tools.identities import Authority, Realm, make_nkey


def make_certificate(directory: Path) -> tuple[str, str, str]:
    """An authority, and a certificate and a key for localhost."""
    authority = Authority(directory, "ca")
    issued = authority.issue("localhost")
    return authority.file, issued.certificate, issued.key


def write(directory: Path, name: str, text: str) -> str:
    """A file with this text; its path."""
    path = directory / name
    path.write_text(text)
    return str(path)


def inside(directory: Path) -> set[Path]:
    """What the directory holds."""
    return set(directory.iterdir())


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


@pytest.mark.parametrize("verify", [[], ["-tlsverify"]])
async def test_a_child_with_tls_is_reached(tmp_path: Path, verify: list[str]) -> None:
    authority, certificate, key = make_certificate(tmp_path)
    config, server = child(
        "-tls", "-tlscert", certificate, "-tlskey", key, "-tlscacert", authority, *verify
    )
    await server.start()
    try:
        assert await reach(config, server.url) > 0
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
        client = await nats.connect(server.url, tls=context, tls_hostname="localhost")
        assert client.is_connected
        await client.close()
    finally:
        await server.stop()


async def test_a_remote_server_with_tls_is_verified(tmp_path: Path) -> None:
    authority, certificate, key = make_certificate(tmp_path)
    _, server = child("-tls", "-tlscert", certificate, "-tlskey", key)
    await server.start()
    try:
        url = server.url.replace("nats://127.0.0.1", "tls://localhost")
        trusting = load_config(["-ns", url, "-tls_client_cacert", authority], {})
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


async def test_a_child_with_many_users_is_reached_by_each_kind(tmp_path: Path) -> None:
    nkey = make_nkey()
    seed = write(tmp_path, "user.nk", bytes(nkey.seed).decode())
    others = "users: [ {user: u, password: p}, {user: v, password: q}"
    text = f"authorization {{ {others}, {{nkey: {bytes(nkey.public_key).decode()}}} ] }}"
    listener = write(tmp_path, "nats.conf", text)
    config, server = child("-c", listener)
    await server.start()
    try:
        with pytest.raises(NatsServerError, match="Authorization"):
            await reach(config, server.url)
        for block in ("username: v, password: q", f"nkey_seed_file: '{seed}'"):
            path = write(tmp_path, "stan.conf", f"{text}, streaming {{ {block} }}")
            config = load_config(["-sc", path], {})
            assert config.is_embedded
            assert write_nats_configuration(config).count("users") == 1
            assert await reach(config, server.url) > 0
        config = load_config(["-c", listener, "-user", "u", "-pass", "p"], {})
        assert write_nats_configuration(config).count("users") == 1
        assert await reach(config, server.url) > 0
    finally:
        await server.stop()


async def test_a_child_in_operator_mode_is_reached(tmp_path: Path) -> None:
    realm = Realm()
    credentials = realm.write_credentials(tmp_path / "user.creds")
    block = f"{realm.configuration()}\nstreaming {{ credentials: '{credentials}' }}"
    config, server = child("-sc", write(tmp_path, "stan.conf", block))
    await server.start()
    try:
        assert await reach(config, server.url) > 0
    finally:
        await server.stop()


async def test_a_child_with_tls_and_accounts_in_its_file_is_reached(tmp_path: Path) -> None:
    authority, certificate, key = make_certificate(tmp_path)
    tls = f"tls {{ cert_file: '{certificate}', key_file: '{key}', ca_file: '{authority}'"
    path = write(
        tmp_path, "nats.conf", f"authorization {{ token: t }}\n{tls}, verify: true }}\nport: -1"
    )
    config, server = child("-c", path)
    await server.start()
    try:
        assert await reach(config, server.url) > 0
    finally:
        await server.stop()


@pytest.fixture
def named_files(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard of a system that has no files without a name."""
    path = tmp_path_factory.mktemp("guard") / "guard.py"
    without = "import os\nif hasattr(os, 'memfd_create'):\n    del os.memfd_create\n"
    path.write_text(without + Path(guard.__file__).read_text())
    monkeypatch.setattr(guard, "__file__", str(path))


@pytest.mark.usefixtures("named_files")
async def test_the_private_file_is_private_and_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    _, server = child("-user", "u", "-pass", "p")
    await server.start()
    (directory,) = inside(tmp_path)
    (file,) = inside(directory)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    await server.stop()
    assert not inside(tmp_path)


@pytest.mark.usefixtures("named_files")
async def test_what_a_killed_guard_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    _, killed = child()
    await killed.start()
    (left,) = inside(tmp_path)
    assert killed._process is not None
    killed._process.kill()
    await killed.ended()
    _, living = child()
    await living.start()
    assert left.exists()  # it may be one that is only just starting
    (kept,) = inside(tmp_path) - {left}
    for directory in (left, kept):
        os.utime(directory, (0, 0))
    _, third = child()
    await third.start()
    try:
        assert not left.exists()
        assert kept.exists()
    finally:
        await killed.stop()
        await third.stop()
        await living.stop()
    assert not inside(tmp_path)


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
