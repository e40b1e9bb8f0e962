"""Where the monitoring listens: flags, the NATS keys of the file, certificates."""

import ssl
import subprocess
from pathlib import Path

import pytest

from stan.errors import ConfigError
from stan.server.config.config import load_config
from stan.server.monitor.listeners import Listener, find_listener


def listener(*arguments: str) -> Listener | None:
    """What these flags ask for."""
    return find_listener(load_config(arguments, {}))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate signed by itself, and its key."""
    files = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-out", files[0], "-keyout", files[1]),
        ],
        check=True,
        capture_output=True,
    )
    return files


def test_nothing_is_listened_to_unasked() -> None:
    assert listener() is None


@pytest.mark.parametrize(
    ("flags", "host", "port"),
    [
        (["-m", "8222"], "0.0.0.0", 8222),
        (["-m", "8222", "-a", "127.0.0.1"], "127.0.0.1", 8222),
        (["-m", "8222", "-a", "10.0.0.1", "-http_addr", "127.0.0.1"], "127.0.0.1", 8222),
        (["-m", "-1"], "0.0.0.0", 0),
    ],
)
def test_flags(flags: list[str], host: str, port: int) -> None:
    assert listener(*flags) == Listener(host, port, None)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http: 8222", "0.0.0.0", 8222),
        ("http_port = 8223", "0.0.0.0", 8223),
        ("monitor_port: 8224", "0.0.0.0", 8224),
        ('http: "127.0.0.1:8225"', "127.0.0.1", 8225),
        ('http: "[::1]:8226"', "::1", 8226),
        ('host: "10.1.2.3"\nhttp: 8227', "10.1.2.3", 8227),
        ('listen: "10.1.2.3:4222"\nhttp: 8228', "10.1.2.3", 8228),
    ],
)
def test_keys_of_the_file(tmp_path: Path, text: str, host: str, port: int) -> None:
    path = tmp_path / "nats.conf"
    path.write_text(text + "\nstreaming { cluster_id: c }\n")
    assert listener("-sc", str(path)) == Listener(host, port, None)


def test_flag_beats_the_file(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text('http: "127.0.0.1:8222"\nstreaming { cluster_id: c }\n')
    assert listener("-sc", str(path), "-m", "9000") == Listener("0.0.0.0", 9000, None)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-m", "8222", "-ms", "8223"], "both HTTP .8222. and HTTPS .8223."),
        (["-ms", "8223"], "needs a certificate"),
        (["-ms", "8223", "-tlscert", "/none/c", "-tlskey", "/none/k"], "/none/c: No such file"),
        (["-m", "70000"], "between -1 and 65535"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(flags: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        listener(*flags)


def test_bad_port_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text('http: "nowhere"\nstreaming { cluster_id: c }\n')
    with pytest.raises(ConfigError, match=r'nats\.conf:1: parameter "http": expected a port'):
        listener("-sc", str(path))


def test_https_with_a_certificate(certificate: tuple[str, str]) -> None:
    found = listener("-ms", "8443", "-tlscert", certificate[0], "-tlskey", certificate[1])
    assert found is not None
    assert (found.scheme, found.port) == ("https", 8443)
    assert isinstance(found.tls, ssl.SSLContext)
