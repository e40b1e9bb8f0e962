"""How to reach NATS: the servers, TLS, and who we say we are, as nats-py takes them.

Files are read when the connection is made, not here, except what TLS needs. Nothing here
is logged; the values are secrets.
"""

import re
import ssl
from typing import Any

from stan.errors import ConfigError
from stan.server.child.configuration import read_nats_tree
from stan.server.config.config import Config

# What nats-server takes for a bcrypt hash.
_HASH = re.compile(r"\$2[abxy]?\$")


def connection_options(config: Config) -> dict[str, Any]:
    """Keyword arguments for nats-py's connect, besides the servers. Raises ConfigError."""
    options: dict[str, Any] = {"name": f"stan-server-{config.cluster_id}"}
    options |= _identity(config)
    context = _tls_context(config)
    if context is not None:
        options["tls"] = context
        if config.tls_server_name:
            options["tls_hostname"] = config.tls_server_name
    return options


def _identity(config: Config) -> dict[str, Any]:
    if config.credentials:
        return {"user_credentials": config.credentials}
    if config.nkey_seed_file:
        return {"nkeys_seed": config.nkey_seed_file}
    if config.is_embedded and not {"user", "password", "token"} & config.commanded:
        known = _identity_in_file(config)
        if known:
            return known
    if config.token:
        return {"token": config.token}
    if config.user:
        return {"user": config.user, "password": config.password}
    return {}


def _identity_in_file(config: Config) -> dict[str, Any]:
    """The child's own configuration tells how to get in, when it names one user and does not
    keep the password as a hash."""
    authorization = next(
        (
            value
            for key, value in read_nats_tree(config).items()
            if key.lower() == "authorization" and isinstance(value, dict)
        ),
        {},
    )
    known = {key.lower(): value for key, value in authorization.items()}
    password = str(known.get("password", known.get("pass", "")))
    if _HASH.match(str(known.get("token", password))):
        return {}
    if "token" in known:
        return {"token": str(known["token"])}
    user = known.get("user", known.get("username"))
    return {} if user is None else {"user": str(user), "password": password}


def _tls_context(config: Config) -> ssl.SSLContext | None:
    wanted = (
        config.secure
        or config.tls_client_ca
        or config.tls_client_cert
        or config.tls_server_name
        or config.tls_skip_verify
        or any(url.startswith(("tls://", "wss://")) for url in config.nats_servers)
    )
    try:
        if wanted:
            return _verifying_context(config)
        return _child_context(config) if config.is_embedded else None
    except OSError as error:  # ssl.SSLError is one, too
        raise ConfigError(f"cannot use the TLS files: {error.strerror or error}") from None


def _verifying_context(config: Config) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.tls_client_ca or None)
    if config.tls_client_cert:
        context.load_cert_chain(config.tls_client_cert, config.tls_client_key or None)
    if config.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _child_context(config: Config) -> ssl.SSLContext | None:
    """For a child that speaks TLS. We started it and know its port, and its certificate is
    made for other names than the loopback address: nothing is to be verified."""
    block: dict[str, Any] = next(
        (value for key, value in read_nats_tree(config).items() if key.lower() == "tls"), {}
    )
    known = {key.lower(): value for key, value in block.items()}
    certificate = config.nats_tls_cert or known.get("cert_file", "")
    key = config.nats_tls_key or known.get("key_file", "")
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Offered in case the child verifies its clients; its own is signed by the same authority.
    context.load_cert_chain(certificate, key or None)
    return context
