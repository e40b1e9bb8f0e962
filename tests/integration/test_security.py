"""TLS, accounts and keys between us and a real NATS server: every way in, and every refusal.

Whoever is refused is told so in one line that holds no secret. The NATS servers, keys and
certificates are the ground's.
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import RawCredentials

import stan
from stan.cli import pub
from stan.cli import server as server_command
from tests.integration.conftest import fresh_name
from tests.tools.security import SECRET, WRONG, Ground, ground
from tests.tools.streaming_server import LoggedProcess, StreamingServer, implementation_under_test

__all__ = ["ground"]

Text = Callable[[Ground], str]
Flags = Callable[[Ground], list[str]]
Options = Callable[[Ground], dict[str, Any]]


def no_flags(_: Ground) -> list[str]:
    return []


def no_text(_: Ground) -> str:
    return ""


def no_options(_: Ground) -> dict[str, Any]:
    return {}


def own_certificate(ground: Ground) -> list[str]:
    return ["-tls_client_cert", ground.client.certificate, "-tls_client_key", ground.client.key]


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
async def test_the_server_and_the_client_get_in(ground: Ground, way: str, tmp_path: Path) -> None:
    kind, scheme, flags, text, options = WAYS_IN[way]
    path = tmp_path / "stan.conf"
    path.write_text(f"streaming {{ {text(ground)} }}")
    given = [["-sc", str(path)]] + ([flags(ground)] if flags is not None else [])
    url = ground.url(kind, scheme)
    servers = [
        StreamingServer(implementation_under_test(), url, "MEMORY", tmp_path, each)
        for each in given
    ]
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        for server in servers:
            async with stan.connect(server.cluster, "me", servers=url, **options(ground)) as sc:
                assert await sc.publish("foo", b"hello")
    finally:
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers))
    for server in servers:
        assert server.process is not None
        assert SECRET not in server.process.output


async def test_the_commands_get_in(ground: Ground, tmp_path: Path) -> None:
    credentials = ("-s", ground.url("jwt"), "-cr", ground.credentials)
    conf = tmp_path / "stan.conf"
    conf.write_text(f'credentials: "{ground.credentials}"')
    servers = [
        StreamingServer(implementation_under_test(), url, "MEMORY", tmp_path, flags)
        for url, flags in (
            (ground.url("jwt"), ["-sc", str(conf)]),
            (ground.url("users"), ["-user", "me", "-pass", SECRET]),
            (ground.url("tls", "tls"), ["-tls_client_cacert", ground.ca]),
        )
    ]
    started: list[LoggedProcess] = []

    def run(name: str, *arguments: str) -> LoggedProcess:
        started.append(LoggedProcess([sys.executable, "-m", f"stan.cli.{name}", *arguments]))
        return started[-1]

    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        by_credentials, by_url, by_authority = [("-c", server.cluster) for server in servers]
        url = ground.url("users", who=f"me:{SECRET.replace('-', '%2d')}@")
        publishers = [
            run("pub", *credentials, *by_credentials, "foo", "hello"),
            run("pub", "-s", url, *by_url, "foo", "hello"),
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", ground.ca)
            at = ("-s", ground.url("tls", "tls"))
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


# Kind, scheme, flags, streaming block, what the client passes, and the line.
UNTRUSTED = "the certificate of the NATS server cannot be trusted: .*"
VIOLATION = "nats: Authorization Violation"
NO_TLS = "nats: secure connection not available: this NATS server speaks no TLS"
REFUSALS: dict[str, tuple[str, str, Flags, Text, Options, str]] = {
    "wrong password": (
        "users",
        "nats",
        lambda g: ["-user", "me", "-pass", WRONG],
        no_text,
        lambda g: {"user": "me", "password": WRONG},
        VIOLATION,
    ),
    "nobody": ("users", "nats", no_flags, no_text, no_options, VIOLATION),
    "wrong token": (
        "token",
        "nats",
        lambda g: ["-auth", WRONG],
        no_text,
        lambda g: {"token": WRONG},
        VIOLATION,
    ),
    "wrong nkey": (
        "users",
        "nats",
        no_flags,
        lambda g: f'nkey_seed_file: "{g.other_seed}"',
        lambda g: {"nkeys_seed": g.other_seed},
        VIOLATION,
    ),
    "no nkey": (
        "users",
        "nats",
        no_flags,
        lambda g: f'nkey_seed_file: "{g.noise}"',
        lambda g: {"nkeys_seed": g.noise},
        "nats: there is no nkey seed in .*/noise",
    ),
    "expired credentials": (
        "jwt",
        "nats",
        no_flags,
        lambda g: f'credentials: "{g.expired}"',
        lambda g: {"user_credentials": g.expired},
        VIOLATION,
    ),
    "unknown credentials": (
        "jwt",
        "nats",
        no_flags,
        lambda g: f'credentials: "{g.unknown}"',
        lambda g: {"user_credentials": g.unknown},
        VIOLATION,
    ),
    "unreadable credentials": (
        "jwt",
        "nats",
        no_flags,
        lambda g: 'credentials: "/nowhere/user.creds"',
        lambda g: {"user_credentials": "/nowhere/user.creds"},
        "nats: cannot read /nowhere/user.creds: No such file or directory",
    ),
    "no credentials in the file": (
        "jwt",
        "nats",
        no_flags,
        lambda g: f'credentials: "{g.noise}"',
        lambda g: {"user_credentials": g.noise},
        "nats: there is no user JWT in .*/noise",
    ),
    "another authority": (
        "tls",
        "tls",
        lambda g: ["-tls_client_cacert", g.other_ca],
        no_text,
        lambda g: {"tls": g.context(g.other_ca)},
        UNTRUSTED,
    ),
    "another name": (
        "elsewhere",
        "tls",
        lambda g: ["-tls_client_cacert", g.ca],
        no_text,
        lambda g: {"tls": g.context(g.ca)},
        UNTRUSTED + "certificate is not valid for '127.0.0.1'",
    ),
    "no certificate": (
        "mutual",
        "tls",
        lambda g: ["-tls_client_cacert", g.ca],
        no_text,
        lambda g: {"tls": g.context(g.ca)},
        r"nats: the NATS server wants a client certificate it trusts \(.*\)",
    ),
    "a certificate of another authority": (
        "mutual",
        "tls",
        lambda g: [
            *("-tls_client_cacert", g.ca, "-tls_client_cert", g.stranger.certificate),
            *("-tls_client_key", g.stranger.key),
        ],
        no_text,
        lambda g: {"tls": g.context(g.ca, g.stranger)},
        r"nats: the NATS server wants a client certificate it trusts \(.*\)",
    ),
    "plain text where TLS is required": (
        "tls",
        "nats",
        no_flags,
        no_text,
        no_options,
        UNTRUSTED,
    ),
    "TLS where there is none": (
        "plain",
        "nats",
        lambda g: ["-secure"],
        no_text,
        lambda g: {"tls": g.context(g.ca)},
        NO_TLS,
    ),
    "TLS by the URL where there is none": (
        "plain",
        "tls",
        no_flags,
        no_text,
        no_options,
        NO_TLS,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_server_is_refused_with_one_clear_line(
    ground: Ground, case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kind, scheme, flags, text, _, line = REFUSALS[case]
    path = tmp_path / "stan.conf"
    path.write_text(f"streaming {{ {text(ground)} }}")
    url = ground.url(kind, scheme)
    assert server_command.main(["-ns", url, "-sc", str(path), *flags(ground)]) == 1
    output = "".join(capfd.readouterr())
    said = [each for each in output.splitlines() if "[INF]" not in each]
    assert len(said) == 1, output
    expected = rf"\[FTL\] STREAM: Failed to start: cannot connect to {re.escape(url)}: {line}"
    assert re.search(expected + "$", said[0])
    assert WRONG not in output


@pytest.mark.parametrize("case", REFUSALS)
async def test_the_client_is_refused_with_one_clear_line(ground: Ground, case: str) -> None:
    kind, scheme, _, _, options, line = REFUSALS[case]
    async with asyncio.timeout(20):
        with pytest.raises(stan.ConnectError) as raised:
            await stan.connect("c", "me", servers=ground.url(kind, scheme), **options(ground))
    assert re.fullmatch(line, str(raised.value))
    assert WRONG not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "scheme", "who", "flags", "line"),
    [
        ("users", "nats", f"me:{WRONG}@", no_flags, VIOLATION),
        ("token", "nats", f"{WRONG}@", no_flags, VIOLATION),
        ("jwt", "nats", "", lambda g: ["-cr", g.expired], VIOLATION),
        ("jwt", "nats", "", lambda g: ["-creds", "/no"], "nats: cannot read /no: No such .*"),
        ("tls", "tls", "", no_flags, UNTRUSTED),
        ("plain", "tls", "", no_flags, NO_TLS),
    ],
)
def test_a_command_is_refused_with_one_clear_line(
    ground: Ground,
    kind: str,
    scheme: str,
    who: str,
    flags: Flags,
    line: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url = ground.url(kind, scheme, who)
    assert pub.main(["-s", url, *flags(ground), "foo", "hello"]) == 1
    output = capfd.readouterr()
    assert output.out == ""
    first, second = output.err.splitlines()
    assert re.fullmatch(f"Can't connect: {line}.", first)
    assert second == (
        f"Make sure a NATS Streaming Server is running at: {ground.url(kind, scheme)}"
    )


def test_files_that_tls_needs_are_named(
    ground: Ground, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["-ns", ground.url("tls", "tls"), "-tls_client_cacert", str(tmp_path / "none.pem")]
    assert server_command.main(flags) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert re.search(
        r"\[FTL\] STREAM: Failed to start: cannot use the TLS files: No such file", said
    )


async def test_verification_is_skipped_with_a_warning(ground: Ground, tmp_path: Path) -> None:
    path = tmp_path / "stan.conf"
    path.write_text("streaming { tls { insecure: true } }")
    server = StreamingServer(
        implementation_under_test(),
        ground.url("elsewhere", "tls"),
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
async def test_a_seed_as_it_may_be_kept(ground: Ground, options: Options) -> None:
    with pytest.raises(stan.ConnectTimeoutError):  # NATS let us in; no streaming server is there
        await stan.connect(
            fresh_name("nobody"),
            "me",
            servers=ground.url("users"),
            connect_wait=0.5,
            **options(ground),
        )


async def test_credentials_as_text_and_as_two_files(ground: Ground) -> None:
    text = ground.read(ground.credentials)
    lines = text.splitlines()
    halves = (ground.write("user.jwt", f"{lines[1]}\n"), ground.write("user.seed", lines[-2]))
    for credentials in (RawCredentials(text), halves):
        with pytest.raises(stan.ConnectTimeoutError):
            await stan.connect(
                fresh_name("nobody"),
                "me",
                servers=ground.url("jwt"),
                connect_wait=0.5,
                user_credentials=credentials,
            )


async def test_options_of_nats_that_are_named_like_ours(ground: Ground) -> None:
    with pytest.raises(stan.ConfigError, match="token is given twice"):
        stan.connect("c", "me", nats_options={"token": "a"}, token="b")
    with pytest.raises(stan.ConfigError, match="no_such_option"):
        await stan.connect("c", "me", nats_options={"no_such_option": 1})
    server = StreamingServer(
        implementation_under_test(), ground.url("plain"), "MEMORY", Path(os.devnull)
    )
    try:
        server.start()
        async with stan.connect(
            server.cluster,
            "me",
            servers=ground.url("plain"),
            ping_interval=7,
            nats_options={"ping_interval": 33, "name": "me too"},
        ) as sc:
            assert sc.nats is not None
            assert sc.nats.options["ping_interval"] == 33
            assert sc.nats.options["name"] == "me too"
    finally:
        server.stop()
