"""TLS, accounts and keys between us and a real NATS server: every way in.

No output may show a secret. The refusals are in test_security_refusals.py.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from nats.aio.client import RawCredentials

import stan
from tests.integration.conftest import fresh_name
from tests.tools.processes import LoggedProcess
from tests.tools.secured_nats import (
    SECRET,
    Flags,
    Options,
    SecuredNats,
    Text,
    own_certificate,
    secured_nats,
)
from tests.tools.streaming_server import StreamingServer, implementation_under_test

__all__ = ["secured_nats"]

# Kind, scheme, flags, streaming block, and what the client passes.
WAYS_IN: dict[str, tuple[str, str, Flags | None, Text, Options]] = {
    "tls": (
        "tls",
        "tls",
        lambda g: ["-tls_client_cacert", g.ca],
        lambda g: f'tls {{ client_ca: "{g.ca}" }}',
        lambda g: {"tls": g.context(g.ca)},
    ),
    "tls that is optional": (
        "optional",
        "nats",
        None,
        lambda g: f'secure: true, tls {{ client_cacert: "{g.ca}" }}',
        lambda g: {"tls": g.context(g.ca)},
    ),
    "mutual tls": (
        "mutual",
        "nats",
        lambda g: ["-secure", "-tls_client_cacert", g.ca, *own_certificate(g)],
        lambda g: (
            f'tls {{ client_ca: "{g.ca}", client_cert: "{g.client.certificate}"'
            f', client_key: "{g.client.key}" }}'
        ),
        lambda g: {"tls": g.context(g.ca, g.client)},
    ),
    "another name": (
        "elsewhere",
        "tls",
        None,
        lambda g: f'tls {{ client_ca: "{g.ca}", server_name: "elsewhere.example" }}',
        lambda g: {"tls": g.context(g.ca), "tls_hostname": "elsewhere.example"},
    ),
    "user": (
        "users",
        "nats",
        lambda g: ["-user", "me", "-pass", SECRET],
        lambda g: f'username: me, password: "{SECRET}"',
        lambda g: {"user": "me", "password": SECRET},
    ),
    "token": (
        "token",
        "nats",
        lambda g: ["-auth", SECRET],
        lambda g: f'token: "{SECRET}"',
        lambda g: {"token": SECRET},
    ),
    "nkey": (
        "users",
        "nats",
        None,
        lambda g: f'nkey_seed_file: "{g.seed}"',
        lambda g: {"nkeys_seed": g.seed},
    ),
    "credentials": (
        "jwt",
        "nats",
        None,
        lambda g: f'credentials: "{g.credentials}"',
        lambda g: {"user_credentials": g.credentials},
    ),
}


@pytest.mark.parametrize("way", WAYS_IN)
async def test_the_server_and_the_client_get_in(
    secured_nats: SecuredNats, way: str, tmp_path: Path
) -> None:
    kind, scheme, flags, text, options = WAYS_IN[way]
    path = tmp_path / "stan.conf"
    path.write_text(f"streaming {{ {text(secured_nats)} }}")
    given = [["-sc", str(path)]] + ([flags(secured_nats)] if flags is not None else [])
    url = secured_nats.url(kind, scheme)
    servers = [
        StreamingServer(implementation_under_test(), url, "MEMORY", tmp_path, each)
        for each in given
    ]
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        for server in servers:
            async with stan.connect(
                server.cluster, "me", servers=url, **options(secured_nats)
            ) as sc:
                assert await sc.publish("foo", b"hello")
    finally:
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers))
    for server in servers:
        assert server.process is not None
        assert SECRET not in server.process.output


async def test_the_commands_get_in(secured_nats: SecuredNats, tmp_path: Path) -> None:
    credentials = ("-s", secured_nats.url("jwt"), "-cr", secured_nats.credentials)
    conf = tmp_path / "stan.conf"
    conf.write_text(f'credentials: "{secured_nats.credentials}"')
    servers = [
        StreamingServer(implementation_under_test(), url, "MEMORY", tmp_path, flags)
        for url, flags in (
            (secured_nats.url("jwt"), ["-sc", str(conf)]),
            (secured_nats.url("users"), ["-user", "me", "-pass", SECRET]),
            (secured_nats.url("tls", "tls"), ["-tls_client_cacert", secured_nats.ca]),
        )
    ]
    started: list[LoggedProcess] = []

    def run(name: str, *arguments: str) -> LoggedProcess:
        started.append(LoggedProcess([sys.executable, "-m", f"stan.cli.{name}", *arguments]))
        return started[-1]

    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        by_credentials, by_url, by_authority = [("-c", server.cluster) for server in servers]
        url = secured_nats.url("users", who=f"me:{SECRET.replace('-', '%2d')}@")
        publishers = [
            run("pub", *credentials, *by_credentials, "foo", "hello"),
            run("pub", "-s", url, *by_url, "foo", "hello"),
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", secured_nats.ca)
            at = ("-s", secured_nats.url("tls", "tls"))
            publishers.append(run("pub", *at, *by_authority, "foo", "hello"))
        for publisher in publishers:
            publisher.wait_for("Published .foo. : 'hello'")
            assert publisher.wait() == 0
        run("sub", *credentials, *by_credentials, "foo").wait_for('data:"hello"')
        listener = run("sub", "-s", url, *by_url, "foo")
        assert SECRET not in listener.wait_for("Connected to")
        listener.wait_for('data:"hello"')
    finally:
        for process in started:
            process.stop()
        for server in servers:
            server.stop()


async def test_verification_is_skipped_with_a_warning(
    secured_nats: SecuredNats, tmp_path: Path
) -> None:
    path = tmp_path / "stan.conf"
    path.write_text("streaming { tls { insecure: true } }")
    server = StreamingServer(
        implementation_under_test(),
        secured_nats.url("elsewhere", "tls"),
        "MEMORY",
        tmp_path,
        ["-sc", str(path)],
    )
    try:
        server.start()
        assert server.process is not None
        assert (
            "[WRN] STREAM: TLS certificate chain and hostname will not be verified."
            " DO NOT USE IN PRODUCTION!" in server.process.output
        )
    finally:
        server.stop()


@pytest.mark.parametrize(
    "options",
    [
        lambda g: {"nkeys_seed_str": g.read(g.seed)},
        lambda g: {"nkeys_seed": g.write("framed.nk", f"# mine\n{g.read(g.seed)}\n\n")},
    ],
)
async def test_a_seed_as_it_may_be_kept(secured_nats: SecuredNats, options: Options) -> None:
    with pytest.raises(stan.ConnectTimeoutError):  # NATS let us in; no streaming server is there
        await stan.connect(
            fresh_name("nobody"),
            "me",
            servers=secured_nats.url("users"),
            connect_wait=0.5,
            **options(secured_nats),
        )


async def test_credentials_as_text_and_as_two_files(secured_nats: SecuredNats) -> None:
    text = secured_nats.read(secured_nats.credentials)
    lines = text.splitlines()
    halves = (
        secured_nats.write("user.jwt", f"{lines[1]}\n"),
        secured_nats.write("user.seed", lines[-2]),
    )
    for credentials in (RawCredentials(text), halves):
        with pytest.raises(stan.ConnectTimeoutError):
            await stan.connect(
                fresh_name("nobody"),
                "me",
                servers=secured_nats.url("jwt"),
                connect_wait=0.5,
                user_credentials=credentials,
            )


async def test_options_of_nats_that_are_named_like_ours(secured_nats: SecuredNats) -> None:
    with pytest.raises(stan.ConfigError, match="token is given twice"):
        stan.connect("c", "me", nats_options={"token": "a"}, token="b")
    with pytest.raises(stan.ConfigError, match="no_such_option"):
        await stan.connect("c", "me", nats_options={"no_such_option": 1})
    server = StreamingServer(
        implementation_under_test(), secured_nats.url("plain"), "MEMORY", Path(os.devnull)
    )
    try:
        server.start()
        async with stan.connect(
            server.cluster,
            "me",
            servers=secured_nats.url("plain"),
            ping_interval=7,
            nats_options={"ping_interval": 33, "name": "me too"},
        ) as sc:
            assert sc.nats is not None
            assert sc.nats.options["ping_interval"] == 33
            assert sc.nats.options["name"] == "me too"
    finally:
        server.stop()
