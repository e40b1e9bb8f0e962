"""Where the monitoring listens: from flags, or from the NATS part of the configuration file.

Names and precedence are those of the NATS server: a flag beats the file, `http` holds an
address and a port or a port alone, and without an address the one for clients is used.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stan.errors import ConfigError
from stan.server.child.configuration import read_nats_tree
from stan.server.config.config import Config

_HTTP_KEYS = ("http", "http_port", "monitor_port")
_HTTPS_KEYS = ("https", "https_port")


@dataclass(slots=True, frozen=True)
class Listener:
    """One address; port 0 is a free one, a TLS context makes it HTTPS."""

    host: str
    port: int
    tls: ssl.SSLContext | None

    @property
    def scheme(self) -> str:
        """What its URLs begin with."""
        return "https" if self.tls else "http"


def find_listener(config: Config) -> Listener | None:
    """Where the configuration wants monitoring to listen, if at all. Raises ConfigError."""
    tree = {key.lower(): value for key, value in read_nats_tree(config).items()}
    host, port = _address(tree, _HTTP_KEYS)
    secure_host, secure_port = _address(tree, _HTTPS_KEYS)
    if config.http_port or config.https_port:  # the flags are the whole truth then
        host, secure_host = "", ""
        port, secure_port = config.http_port, config.https_port
    if not port and not secure_port:
        return None
    if port and secure_port:
        raise ConfigError(
            f"monitoring cannot listen for both HTTP ({port}) and HTTPS ({secure_port})"
        )
    chosen = secure_port or port
    if not -1 <= chosen <= 65535:
        raise ConfigError(f"the monitoring port must be between -1 and 65535, it is {chosen}")
    tls = _tls_context(config, tree) if secure_port else None
    address = config.http_address or secure_host or host or _client_host(config, tree)
    return Listener(address, max(chosen, 0), tls)


def _address(tree: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, int]:
    """Host and port under the first of these keys; ("", 0) when there is none."""
    for key in keys:
        value = tree.get(key)
        if value is None:
            continue
        host, _, port = str(value).rpartition(":")
        if isinstance(value, bool) or not port.removeprefix("-").isdecimal():
            raise ConfigError(f"{key}: expected a port, or an address and a port, not {value!r}")
        return host.strip("[]"), int(port)
    return "", 0


def _client_host(config: Config, tree: Mapping[str, Any]) -> str:
    """The address on which clients connect."""
    if "address" in config.given:
        return config.address
    listen, _, _ = str(tree.get("listen", "")).rpartition(":")
    return listen.strip("[]") or str(tree.get("host", tree.get("net", ""))) or config.address


def _tls_context(config: Config, tree: Mapping[str, Any]) -> ssl.SSLContext:
    block = tree.get("tls")
    block = block if isinstance(block, dict) else {}
    certificate = config.nats_tls_cert or str(block.get("cert_file", ""))
    key = config.nats_tls_key or str(block.get("key_file", ""))
    if not certificate or not key:
        raise ConfigError("monitoring over HTTPS needs a certificate: -tlscert and -tlskey")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"cannot use the certificate {certificate}: {reason}") from None
    return context
