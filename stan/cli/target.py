"""Where a command connects, as whom: options, the environment, and the saved contexts of `nats`.

An option on the command line wins over the environment, which wins over the context that is
chosen by `--context`, NATS_CONTEXT or `nats context select`. Whoever says who they are with an
option says all of it: nothing of that is then taken from a context. Nothing connects here;
what makes no sense raises ConfigError with one line.
"""

import json
import os
import ssl
from collections import UserString
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stan.errors import ConfigError
from stan.units import SECOND_NS, parse_duration
from stan.wire.subjects import DEFAULT_CLUSTER_ID

DEFAULT_SERVERS = "nats://127.0.0.1:4222"
DEFAULT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One option of connecting: its name here, its flags, its variable, its key in a context."""

    name: str
    flags: tuple[str, ...]
    variable: str
    key: str
    about: str
    is_switch: bool = False


SETTINGS = (
    Setting("servers", ("-s", "--server"), "NATS_URL", "url", "NATS server URL, or several"),
    Setting("cluster", ("-c", "--cluster"), "STAN_CLUSTER", "", "cluster ID of the server"),
    Setting("context", ("--context",), "NATS_CONTEXT", "", "saved NATS context to use"),
    Setting("no_context", ("--no-context",), "", "", "use no saved context", True),
    Setting("user", ("--user",), "NATS_USER", "user", "user name, or a token"),
    Setting("password", ("--password",), "NATS_PASSWORD", "password", "password of the user"),
    Setting("token", ("--token",), "NATS_TOKEN", "token", "token"),
    Setting("creds", ("--creds",), "NATS_CREDS", "creds", "credentials file"),
    Setting("nkey", ("--nkey",), "NATS_NKEY", "nkey", "file with an nkey seed"),
    Setting("tlscert", ("--tlscert",), "NATS_CERT", "cert", "client certificate file"),
    Setting("tlskey", ("--tlskey",), "NATS_KEY", "key", "private key file of the certificate"),
    Setting("tlsca", ("--tlsca",), "NATS_CA", "ca", "certificate authority to trust"),
    Setting(
        "tlsfirst", ("--tlsfirst",), "NATS_TLS_FIRST", "tls_first", "TLS handshake first", True
    ),
    Setting("inbox", ("--inbox-prefix",), "NATS_INBOX_PREFIX", "inbox_prefix", "inbox prefix"),
    Setting("timeout", ("--timeout",), "NATS_TIMEOUT", "", "how long one answer may take"),
)
_IDENTITY = frozenset(("user", "password", "token", "creds", "nkey", "user_jwt", "user_seed"))
_TRUE = frozenset(("1", "t", "true", "yes", "on"))


@dataclass(frozen=True, slots=True)
class Target:
    """A cluster, and the NATS servers that lead to it."""

    cluster_id: str
    servers: str
    nats_options: Mapping[str, Any]
    timeout_s: float

    @property
    def urls(self) -> list[str]:
        """The URLs one by one."""
        return [url.strip() for url in self.servers.split(",") if url.strip()]


def choose_target(given: Mapping[str, Any], environment: Mapping[str, str]) -> Target:
    """From what was given on the command line, by setting. Raises ConfigError."""
    known: dict[str, Any] = {}
    for setting in SETTINGS:
        text = environment.get(setting.variable, "") if setting.variable else ""
        if setting.name in given:
            known[setting.name] = given[setting.name]
        elif text:
            known[setting.name] = text.lower() in _TRUE if setting.is_switch else text
    saved = {} if known.get("no_context") else _load_context(known.get("context"), environment)
    if any(name in known for name in _IDENTITY):
        saved = {key: value for key, value in saved.items() if key not in _IDENTITY}
    by_key = {setting.key: setting.name for setting in SETTINGS if setting.key}
    known = {by_key.get(key, key): value for key, value in saved.items()} | known
    servers = str(known.get("servers") or DEFAULT_SERVERS)
    target = Target(
        str(known.get("cluster") or DEFAULT_CLUSTER_ID), servers, _options(known), _timeout(known)
    )
    if not target.urls:
        raise ConfigError(f"no NATS server in {servers!r}")
    return target


def _timeout(known: Mapping[str, Any]) -> float:
    if "timeout" not in known:
        return DEFAULT_TIMEOUT_S
    try:
        seconds = parse_duration(str(known["timeout"])) / SECOND_NS
    except ValueError as error:
        raise ConfigError(f"--timeout: {error}") from None
    if seconds <= 0:
        raise ConfigError("--timeout must be above 0")
    return seconds


def _options(known: Mapping[str, Any]) -> dict[str, Any]:
    """What nats-py's connect is given."""
    options: dict[str, Any] = {}
    if known.get("user") and known.get("password"):
        options.update(user=known["user"], password=known["password"])
    elif known.get("user"):
        options["token"] = known["user"]
    if known.get("token"):
        options["token"] = known["token"]
    if known.get("creds"):
        options["user_credentials"] = _path(known["creds"])
    elif known.get("user_jwt") and known.get("user_seed"):
        texts = UserString(known["user_jwt"]), UserString(known["user_seed"])
        options["user_credentials"] = texts
    if known.get("nkey"):
        options["nkeys_seed"] = _path(known["nkey"])
    if known.get("inbox"):
        options["inbox_prefix"] = known["inbox"]
    if known.get("tlscert") or known.get("tlskey") or known.get("tlsca"):
        options["tls"] = _tls(known)
    if known.get("tlsfirst"):
        options["tls_handshake_first"] = True
        options.setdefault("tls", ssl.create_default_context())
    return options


def _tls(known: Mapping[str, Any]) -> ssl.SSLContext:
    authority, certificate, key = (
        _path(known[name]) if known.get(name) else None for name in ("tlsca", "tlscert", "tlskey")
    )
    if key and not certificate:
        raise ConfigError("--tlskey is given without --tlscert")
    for path in (authority, certificate, key):
        if path is not None and not os.access(path, os.R_OK):
            raise ConfigError(f"cannot read {path}")
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the TLS certificates cannot be used: {error}") from None
    return context


def _path(text: str) -> str:
    return os.path.expandvars(os.path.expanduser(text))


# The contexts that the nats command saves


def list_contexts(environment: Mapping[str, str]) -> list[str]:
    """The names of the saved contexts."""
    return sorted(path.stem for path in (_folder(environment) / "context").glob("*.json"))


def _folder(environment: Mapping[str, str]) -> Path:
    home = environment.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "nats"


def _load_context(name: str | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """The context of that name, or the selected one; empty when none is selected."""
    folder = _folder(environment)
    if not name:
        try:
            name = (folder / "context.txt").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return {}
        if not name:
            return {}
    if "/" in name or "\\" in name or name.startswith("."):
        raise ConfigError(f"{name!r} is no name of a NATS context")
    path = folder / "context" / f"{name}.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        saved_ones = ", ".join(list_contexts(environment)) or "none"
        raise ConfigError(f"no NATS context {name!r} (saved are: {saved_ones})") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} is no NATS context: it holds no JSON") from None
    if not isinstance(saved, dict):
        raise ConfigError(f"{path} is no NATS context")
    if saved.get("nsc"):
        raise ConfigError(
            f"the NATS context {name!r} uses nsc, which is not read here: use --creds"
        )
    return {key: value for key, value in saved.items() if value}
