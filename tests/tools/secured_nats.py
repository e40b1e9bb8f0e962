"""NATS servers that ask who comes: one of each kind, with the keys and certificates for it.

Everything is made when a test asks for it, and nothing is checked in. `SECRET` is the
password and the token that open; no output may ever show it.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.identities import Authority, Certificate, Realm, make_nkey
from tests.tools.processes import NatsServer

SECRET = "correct-horse-secret"
WRONG = "wrong-horse-secret"


class SecuredNats:
    """The files, and the NATS servers by kind."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers: dict[str, NatsServer] = {}
        authority, other = Authority(directory, "ca"), Authority(directory, "other-ca")
        self.ca, self.other_ca = authority.file, other.file
        self.client = authority.issue("client")
        self.stranger = other.issue("stranger")
        here = authority.issue("server", "localhost", "127.0.0.1")
        elsewhere = authority.issue("elsewhere", "elsewhere.example")
        realm, nkey = Realm(), make_nkey()
        self.credentials = realm.write_credentials(directory / "user.creds")
        self.expired = realm.write_credentials(directory / "old.creds", int(time.time()) - 60)
        self.unknown = Realm().write_credentials(directory / "unknown.creds")
        self.seed = self.write("user.nk", bytes(nkey.seed).decode())
        self.other_seed = self.write("other.nk", bytes(make_nkey().seed).decode())
        self.noise = self.write("noise", "neither a JWT nor a seed\n")
        users = f'{{user: me, password: "{SECRET}"}}, {{nkey: {bytes(nkey.public_key).decode()}}}'
        tls = f'cert_file: "{here.certificate}", key_file: "{here.key}"'
        away = f'cert_file: "{elsewhere.certificate}", key_file: "{elsewhere.key}"'
        self._configurations = {
            "plain": "",
            "tls": f"tls {{ {tls} }}",
            "mutual": f'tls {{ {tls}, ca_file: "{self.ca}", verify: true }}',
            "optional": f"tls {{ {tls} }}, allow_non_tls: true",
            "elsewhere": f"tls {{ {away} }}",
            "users": f"authorization {{ users: [ {users} ] }}",
            "token": f'authorization {{ token: "{SECRET}" }}',
            "jwt": realm.configuration(),
        }

    def write(self, name: str, text: str) -> str:
        """A file with this text; its path."""
        path = self._directory / name
        path.write_text(text)
        return str(path)

    @staticmethod
    def read(path: str) -> str:
        """The text of a file."""
        return Path(path).read_text()

    def url(self, kind: str, scheme: str = "nats", who: str = "") -> str:
        """Where the NATS server of this kind is."""
        server = self._servers.get(kind)
        if server is None:
            server = self._servers[kind] = NatsServer()
            server.start("-c", self.write(f"{kind}.conf", self._configurations[kind]))
        return f"{scheme}://{who}127.0.0.1:{server.port}"

    def context(self, ca: str, own: Certificate | None = None) -> ssl.SSLContext:
        """What a program that knows its certificates passes to stan.connect."""
        context = ssl.create_default_context(cafile=ca)
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        return context

    def stop(self) -> None:
        """End the servers."""
        for server in self._servers.values():
            server.stop()


Text = Callable[[SecuredNats], str]
Flags = Callable[[SecuredNats], list[str]]
Options = Callable[[SecuredNats], dict[str, Any]]


def no_flags(_: SecuredNats) -> list[str]:
    """Start a command without a flag more."""
    return []


def no_text(_: SecuredNats) -> str:
    """Write nothing into the streaming block."""
    return ""


def no_options(_: SecuredNats) -> dict[str, Any]:
    """Pass the client nothing more."""
    return {}


def own_certificate(nats: SecuredNats) -> list[str]:
    return ["-tls_client_cert", nats.client.certificate, "-tls_client_key", nats.client.key]


@pytest.fixture(scope="module")
def secured_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredNats]:
    made = SecuredNats(tmp_path_factory.mktemp("security"))
    yield made
    made.stop()
