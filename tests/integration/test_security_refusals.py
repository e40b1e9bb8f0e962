"""TLS, accounts and keys between us and a real NATS server: every refusal.

Whoever is refused is told so in one line that holds no secret. The ways in are in
test_security.py.
"""

import asyncio
import re
from pathlib import Path

import pytest

import stan
from stan.cli import pub
from stan.cli import server as server_command
from tests.tools.secured_nats import (
    WRONG,
    Flags,
    Options,
    SecuredNats,
    Text,
    no_flags,
    no_options,
    no_text,
    secured_nats,
)

__all__ = ["secured_nats"]

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
    secured_nats: SecuredNats, case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kind, scheme, flags, text, _, line = REFUSALS[case]
    path = tmp_path / "stan.conf"
    path.write_text(f"streaming {{ {text(secured_nats)} }}")
    url = secured_nats.url(kind, scheme)
    assert server_command.main(["-ns", url, "-sc", str(path), *flags(secured_nats)]) == 1
    output = "".join(capfd.readouterr())
    said = [each for each in output.splitlines() if "[INF]" not in each]
    assert len(said) == 1, output
    expected = rf"\[FTL\] STREAM: Failed to start: cannot connect to {re.escape(url)}: {line}"
    assert re.search(expected + "$", said[0])
    assert WRONG not in output


@pytest.mark.parametrize("case", REFUSALS)
async def test_the_client_is_refused_with_one_clear_line(
    secured_nats: SecuredNats, case: str
) -> None:
    kind, scheme, _, _, options, line = REFUSALS[case]
    async with asyncio.timeout(20):
        with pytest.raises(stan.ConnectError) as raised:
            await stan.connect(
                "c", "me", servers=secured_nats.url(kind, scheme), **options(secured_nats)
            )
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
    secured_nats: SecuredNats,
    kind: str,
    scheme: str,
    who: str,
    flags: Flags,
    line: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url = secured_nats.url(kind, scheme, who)
    assert pub.main(["-s", url, *flags(secured_nats), "foo", "hello"]) == 1
    output = capfd.readouterr()
    assert output.out == ""
    first, second = output.err.splitlines()
    assert re.fullmatch(f"Can't connect: {line}.", first)
    assert second == (
        f"Make sure a NATS Streaming Server is running at: {secured_nats.url(kind, scheme)}"
    )


def test_files_that_tls_needs_are_named(
    secured_nats: SecuredNats, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = [
        "-ns",
        secured_nats.url("tls", "tls"),
        "-tls_client_cacert",
        str(tmp_path / "none.pem"),
    ]
    assert server_command.main(flags) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert re.search(
        r"\[FTL\] STREAM: Failed to start: cannot use the TLS files: No such file", said
    )
