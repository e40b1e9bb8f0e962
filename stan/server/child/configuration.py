"""The configuration of the child NATS server, made from the operator's file and flags.

The operator's file may be about both servers. The child gets what is its own: the
streaming keys are taken out, the flags put in, and what this server does itself (logging,
the PID file, monitoring) is left out. Passwords travel in this text, never in arguments.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from stan.errors import ConfigError
from stan.server.child.room import choose_max_pending, find_memory_bytes
from stan.server.config.config import Config
from stan.server.config.language import parse_file, plain
from stan.server.config.options import OPTIONS

# Done by the streaming server for both.
_OURS = frozenset(
    {
        *("log_file", "logfile", "log_size_limit", "logtime", "syslog", "remote_syslog"),
        *("pid_file", "pidfile", "ports_file_dir"),
        *("http", "http_port", "https", "https_port", "monitor_port"),
    }
)
# What one user is called by in an authorization block.
_IDENTITY = frozenset({"user", "username", "pass", "password", "token"})
# In a file without a streaming block these belong to both, told apart by their keys.
_SHARED = frozenset({"cluster", "tls"})


def read_nats_tree(config: Config) -> dict[str, Any]:
    """What the operator's file says about NATS, without places. Raises ConfigError."""
    if not config.nats_config:
        return {}
    tree = {key: plain(item.value) for key, item in parse_file(config.nats_config).items()}
    return {key: value for key, value in _without_streaming(tree).items() if value != {}}


def write_nats_configuration(config: Config) -> str:
    """The text of the child's configuration file. Raises ConfigError."""
    tree = {key: value for key, value in read_nats_tree(config).items() if key.lower() not in _OURS}
    _put_listener(tree, config)
    if "max_pending" not in {key.lower() for key in tree}:
        tree["max_pending"] = choose_max_pending(find_memory_bytes())
    # The file's own words for these are in the tree.
    if config.nats_debug_trace or (config.nats_debug and "nats_debug" in config.commanded):
        tree["debug"] = True
    if config.nats_debug_trace or (config.nats_trace and "nats_trace" in config.commanded):
        tree["trace"] = True
    _put_authorization(tree, config)
    if config.nats_tls or config.nats_tls_verify or config.nats_tls_cert:
        tree["tls"] = _tls(config)
    if config.nats_routes or config.nats_cluster:
        tree["cluster"] = {**tree.get("cluster", {}), **_cluster(config)}
    return "".join(f"{_quote(key)}: {_format(value)}\n" for key, value in tree.items())


def _without_streaming(tree: dict[str, Any]) -> dict[str, Any]:
    if any(key.lower() == "streaming" for key in tree):
        return {key: value for key, value in tree.items() if key.lower() != "streaming"}
    ours: dict[str, set[str]] = {}
    for option in OPTIONS:
        for key in option.keys:
            block, _, name = key.rpartition(".")
            ours.setdefault(block.partition(".")[0] or name, set()).add(name)
    kept = {}
    for key, value in tree.items():
        if key.lower() in _SHARED and isinstance(value, dict):
            names = ours.get(key.lower(), set())
            value = {name: each for name, each in value.items() if name.lower() not in names}
        elif key.lower() in ours and key.lower() not in _OURS:
            continue
        kept[key] = value
    return kept


def _put_listener(tree: dict[str, Any], config: Config) -> None:
    """Where to listen: flags, else the file, else the defaults."""
    keys = {key.lower(): key for key in tree}
    if "listen" in keys and not {"port", "address"} & config.commanded:
        return
    listen = str(tree.pop(keys["listen"], "")) if "listen" in keys else ""
    host, _, port = listen.rpartition(":")
    if "port" in config.commanded or "port" not in keys:
        tree[keys.get("port", "port")] = (
            int(port)
            if port.lstrip("-").isdigit() and "port" not in config.commanded
            else config.port
        )
    if "address" in config.commanded or not {"host", "net"} & keys.keys():
        for key in ("host", "net"):
            tree.pop(keys.get(key, key), None)
        tree["host"] = host if host and "address" not in config.commanded else config.address


def _put_authorization(tree: dict[str, Any], config: Config) -> None:
    """Who gets in: the one of the flags, else whom the file names.

    A file with a list of users, or accounts, stays as it is; the flags then only say which
    of them we are. So does what the streaming block says.
    """
    if not {"user", "password", "token"} & config.commanded:
        return
    keys = {key.lower(): key for key in tree}
    if {"accounts", "operator"} & keys.keys():
        return
    key = keys.get("authorization", "authorization")
    block = tree.get(key)
    kept = block if isinstance(block, dict) else {}
    if any(name.lower() == "users" for name in kept):
        return
    kept = {name: value for name, value in kept.items() if name.lower() not in _IDENTITY}
    if config.token:
        tree[key] = {**kept, "token": config.token}
    else:
        tree[key] = {**kept, "user": config.user, "password": config.password}


def _tls(config: Config) -> dict[str, Any]:
    if not config.nats_tls_cert or not config.nats_tls_key:
        raise ConfigError("TLS needs -tlscert and -tlskey")
    tls: dict[str, Any] = {"cert_file": config.nats_tls_cert, "key_file": config.nats_tls_key}
    if config.nats_tls_ca:
        tls["ca_file"] = config.nats_tls_ca
    if config.nats_tls_verify:
        tls["verify"] = True
    return tls


def _cluster(config: Config) -> dict[str, Any]:
    cluster: dict[str, Any] = {}
    if config.nats_cluster:
        url = urlsplit(config.nats_cluster)
        cluster["listen"] = url.netloc.rpartition("@")[2]
        if url.username:
            cluster["authorization"] = {"user": url.username, "password": url.password or ""}
    if config.nats_routes:
        cluster["routes"] = [route.strip() for route in config.nats_routes.split(",")]
    return cluster


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_quote(key)}: {_format(each)}" for key, each in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_format, value))}]"
    return _quote(value) if isinstance(value, str) else str(value)


def _quote(text: str) -> str:
    parts = []
    for char in text:
        if char in '"\\':
            parts.append("\\" + char)
        elif char in "\n\r\t":
            parts.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char])
        else:
            parts.append(f"\\x{ord(char):02x}" if ord(char) < 32 else char)
    return f'"{"".join(parts)}"'
