"""Where the monitoring listens: the address, the port and the certificate.

Without an address of its own it listens on the one for clients.
"""

import ssl
from dataclasses import dataclass

from stan.errors import ConfigError
from stan.server.child.configuration import read_nats_tree
from stan.server.config.config import Config


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
    tls = _tls_context(config) if secure_port else None
    return Listener(config.http_address or config.address, max(chosen, 0), tls)


def _tls_context(config: Config) -> ssl.SSLContext:
    tree = {key.lower(): value for key, value in read_nats_tree(config).items()}
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
