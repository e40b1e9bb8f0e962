"""What the operator asked for: command line, environment and file, merged and checked.

Flags beat the environment (but for the encryption key), the environment beats the file,
the file beats the defaults of the option table. Everything that is wrong is found here,
before anything is started, and named: the flag, or the file, the line and the key. Nothing
is read or opened but the configuration files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.errors import ConfigError
from stan.server.config.file import (
    Scalar,
    convert,
    find,
    read_channels,
    read_places,
    read_values,
    streaming_block,
)
from stan.server.config.flags import Given, parse_flags
from stan.server.config.language import parse_file
from stan.server.config.options import OPTIONS, Kind, Option
from stan.units import format_duration
from stan.wire.subjects import is_publishable_subject

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

STORE_TYPES = ("MEMORY", "SQL")
# Options that make the program do something else than serve.
ACTIONS = frozenset({"help", "help_tls", "version", "signal", "check_config", "welcome"})


@dataclass(slots=True, kw_only=True)
class Config:
    """The effective configuration. Each field up to `help_tls` is that of an Option."""

    cluster_id: str
    discover_prefix: str
    store: str
    max_channels: int
    max_subscriptions: int
    max_messages: int
    max_bytes: int
    max_age_ns: int
    max_inactivity_ns: int
    nats_server: str
    stan_config: str
    heartbeat_interval_ns: int
    heartbeat_timeout_ns: int
    heartbeat_fail_count: int
    signal: str
    encrypt: bool
    encryption_cipher: str
    encryption_key: str = field(repr=False)
    replace_durable: bool
    cache_bytes: int
    intake_bytes: int
    intake_dir: str
    spill_bytes: int
    test_timers: bool
    check_config: bool
    welcome: bool
    sql_driver: str
    sql_source: str
    sql_durability: str
    sql_migrate: bool
    secure: bool
    tls_client_key: str
    tls_client_cert: str
    tls_client_ca: str
    tls_server_name: str
    tls_skip_verify: bool
    stan_debug: bool
    stan_trace: bool
    stan_debug_trace: bool
    address: str
    port: int
    pid_file: str
    http_port: int
    https_port: int
    http_address: str
    nats_config: str
    log_file: str
    log_time: bool
    syslog: bool
    remote_syslog: str
    log_format: str
    nats_debug: bool
    nats_trace: bool
    nats_debug_trace: bool
    user: str
    password: str
    token: str
    credentials: str
    nkey_seed_file: str
    nats_tls: bool
    nats_tls_cert: str
    nats_tls_key: str
    nats_tls_verify: bool
    nats_tls_ca: str
    nats_routes: str
    nats_cluster: str
    help: bool
    version: bool
    help_tls: bool
    # Per channel or wildcard, from the file only.
    channels: dict[str, ChannelOverrides] = field(default_factory=dict)
    # Fields set by a flag, the environment or the file.
    given: frozenset[str] = frozenset()
    # Those of them that a flag or the environment set.
    commanded: frozenset[str] = frozenset()
    # One line for each option that was set and has no effect.
    warnings: list[str] = field(default_factory=list)
    # Where the file sets a field: file, line and key, to open an error message with.
    places: dict[str, str] = field(default_factory=dict)

    @property
    def limits(self) -> StoreLimits:
        """The limits as the engine takes them."""
        defaults = ChannelLimits(
            self.max_subscriptions,
            self.max_messages,
            self.max_bytes,
            self.max_age_ns,
            self.max_inactivity_ns,
        )
        return StoreLimits(self.max_channels, defaults, self.channels)

    @property
    def is_embedded(self) -> bool:
        """Whether this server starts a NATS server of its own."""
        return not self.nats_server

    @property
    def nats_servers(self) -> list[str]:
        """The URLs given with -ns, each with a scheme."""
        names = [name.strip() for name in self.nats_server.split(",") if name.strip()]
        return [name if "://" in name else f"nats://{name}" for name in names]

    @property
    def delivers_encrypted(self) -> bool:
        """Whether the operator wants encrypted messages delivered as they are stored."""
        return "encrypt" in self.given and not self.encrypt

    def open_encryption(self) -> "Encryption | None":
        """What encrypts payloads at rest; None when nothing does. Raises ConfigError."""
        if not self.encrypt:
            return None
        # Not at the top: a server without encryption does not load the cryptography package.
        from stan.store.encryption import Encryption

        return Encryption(self.encryption_key, self.encryption_cipher)

    def check(self) -> None:
        """Raise ConfigError when the server must not start like this."""
        self.limits.check()
        self.open_encryption()
        if not is_publishable_subject(self.cluster_id):
            raise ConfigError(f'invalid cluster ID "{self.cluster_id}"', "cluster_id")
        if not is_publishable_subject(self.discover_prefix):
            raise ConfigError(
                f'invalid discover prefix "{self.discover_prefix}"', "discover_prefix"
            )
        for name, about, value in (
            ("hb_interval", "heartbeat_interval_ns", self.heartbeat_interval_ns),
            ("hb_timeout", "heartbeat_timeout_ns", self.heartbeat_timeout_ns),
        ):
            if value <= 0:
                shown = format_duration(value)
                raise ConfigError(f"{name} must be above zero, it is {shown}", about)
        if self.heartbeat_fail_count < 0:
            raise ConfigError(
                f"hb_fail_count cannot be negative ({self.heartbeat_fail_count})",
                "heartbeat_fail_count",
            )
        if self.sql_durability not in ("full", "normal", "off"):
            raise ConfigError(
                f"durability is full, normal or off, not {self.sql_durability!r}", "sql_durability"
            )
        if self.log_format not in ("text", "json"):
            raise ConfigError(f"log_format is text or json, not {self.log_format!r}", "log_format")
        if not -1 <= self.port <= 65535:
            raise ConfigError(f"port must be between -1 and 65535, it is {self.port}")


def load_config(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration of a command line (without the program's name).

    Raises ConfigError with one clear line. Limits and other values that only matter to a
    server that starts are left to `Config.check`.
    """
    values: dict[str, Scalar] = {option.field: option.default for option in OPTIONS}
    flags = parse_flags(arguments)
    from_flags = {one.option.field: _from_flag(one) for one in flags}
    if from_flags.get("help") or from_flags.get("version") or from_flags.get("help_tls"):
        return _assemble(values | from_flags, {}, frozenset(from_flags))
    path = from_flags.get("stan_config") or from_flags.get("nats_config") or ""
    whole = parse_file(str(path)) if path else {}
    tree = streaming_block(whole)
    from_environment = _from_environment(environment)
    commanded = from_environment | from_flags | _before_flags(from_environment)
    given = read_values(tree) | commanded
    if (read_values(tree) | from_flags).get("encryption_key"):
        given["encrypt"] = True  # the environment's key alone does not turn it on
    if str(values["store"] if "store" not in given else given["store"]).upper() == "FILE":
        raise ConfigError(
            "this server has no FILE store: use -st SQL --sql_source <path> to keep messages"
            " in a SQLite file; stan-server import --from_dir=<folder> brings a FILE store over"
        )
    if tree is not whole and find(tree, ["cluster"]) is not None:
        given["clustered"] = True  # the block alone turns it on
    config = _assemble(values | given, read_channels(tree), frozenset(given))
    config.commanded = frozenset(commanded)
    config.store = _store_type(config.store, "store" in from_flags)
    config.places = read_places(tree)
    config.warnings = _answer(given)
    if config.sql_source and config.store == "MEMORY":
        config.warnings.append(
            "Messages are kept in memory only: -st SQL is needed to keep them in the SQL source"
        )
    config.warnings += _answer_encryption(config)
    if not config.nats_config:
        config.nats_config = config.stan_config
    if not config.stan_config:
        config.stan_config = config.nats_config
    return config


def format_config(config: Config) -> str:
    """The effective configuration, an option a line, passwords hidden."""
    lines = []
    for option in OPTIONS:
        value = getattr(config, option.field, None)
        if value is None or option.field in ACTIONS:
            continue
        changed = "" if option.field in config.given else " (default)"
        lines.append(f"{option_name(option)}: {format_value(option, value)}{changed}")
    for name in config.channels:
        lines.append(f"limits of {name}: {_format_limits(config.limits.resolve(name))}")
    return "\n".join(lines)


def format_value(option: Option, value: Scalar) -> str:
    """An option's value as it is written in a file; passwords hidden."""
    if option.secret and value:
        return "(hidden)"
    if option.kind is Kind.DURATION:
        return format_duration(int(value))
    return str(value).lower() if option.kind is Kind.BOOLEAN else str(value)


def option_name(option: Option) -> str:
    """How an option is called in the file, or else on the command line."""
    return option.keys[0] if option.keys else max(option.flags, key=len)


def _format_limits(limits: ChannelLimits) -> str:
    """A channel's limits on one line, called as in the configuration file."""
    return (
        f"max_subs: {limits.max_subscriptions}, max_msgs: {limits.max_messages},"
        f" max_bytes: {limits.max_bytes}, max_age: {format_duration(limits.max_age_ns)},"
        f" max_inactivity: {format_duration(limits.max_inactivity_ns)}"
    )


def _main_name(option: Option) -> str:
    """How to name an option to an operator who may know it by its flag or by its key."""
    return f"-{max(option.flags, key=len)}" if option.flags else option.keys[0]


def _assemble(
    values: Mapping[str, Scalar], channels: dict[str, ChannelOverrides], given: frozenset[str]
) -> Config:
    names = {name for name in Config.__dataclass_fields__ if name in values}
    known: dict[str, object] = {name: values[name] for name in names}
    config: Config = _make_config(known)
    config.channels = channels
    config.given = given
    return config


def _make_config(known: dict[str, object]) -> Config:
    # The table's kinds and the class's types agree; a test compares them field by field.
    return Config(**known)  # type: ignore[arg-type]


def _from_flag(given: Given) -> Scalar:
    try:
        return convert(given.option, given.text)
    except ValueError as error:
        raise ConfigError(f"invalid value for {given.flag}: {error}") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, Scalar]:
    values = {}
    for option in OPTIONS:
        text = environment.get(option.environment, "") if option.environment else ""
        if text:
            try:
                values[option.field] = convert(option, text)
            except ValueError as error:
                raise ConfigError(f"invalid value in {option.environment}: {error}") from None
    return values


def _before_flags(from_environment: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """What the environment says before the command line does."""
    fields = [option.field for option in OPTIONS if option.environment_first]
    return {name: from_environment[name] for name in fields if name in from_environment}


def _store_type(name: str, from_flag: bool) -> str:
    if name.upper() in STORE_TYPES:
        return name.upper()
    if from_flag:
        raise ConfigError(f"unsupported store type: {name.upper()}")
    raise ConfigError(f"unknown store type: {name}")


def _answer(given: Mapping[str, Scalar]) -> list[str]:
    """What to say about options that were set and do nothing; ConfigError for those whose
    absence would break a promise."""
    warnings = []
    for option in OPTIONS:
        if given.get(option.field, option.default) == option.default:
            continue
        if option.refused:
            raise ConfigError(f"{_main_name(option)}: {option.refused}")
        if option.ignored:
            warnings.append(f"{_main_name(option)} has no effect: {option.ignored}")
    return warnings


def _answer_encryption(config: Config) -> list[str]:
    """What to say when somebody may believe that payloads are encrypted and they are not."""
    if config.encrypt and config.store == "MEMORY":
        return ["Encryption has no effect: messages are kept in memory only, nothing is at rest"]
    meant = {"encryption_key", "encryption_cipher"} & config.given
    if meant and "encrypt" not in config.given:
        return ["Payloads are not encrypted: a key or a cipher is set, but -encrypt is not"]
    return []
