"""What the operator asked for: command line, environment and file, merged and checked.

Flags beat the environment (but for the encryption key), the environment beats the file,
the file beats the defaults of the option table. Everything that is wrong is found here,
before anything is started, and named: the flag, or the file, the line and the key. Nothing
is read or opened but the configuration files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from typing import TYPE_CHECKING, Any

from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.errors import ConfigError
from stan.server.config.declaring import Kind, Option
from stan.server.config.file import (
    Scalar,
    Tree,
    convert,
    find,
    read_channels,
    read_nats_values,
    read_places,
    read_values,
    streaming_block,
)
from stan.server.config.flags import read_flags
from stan.server.config.language import parse_file
from stan.server.config.options import OPTIONS, Options
from stan.units import SECOND_NS, format_duration
from stan.wire.subjects import is_publishable_subject, pattern_covers, patterns_overlap

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

STORE_TYPES = ("MEMORY", "SQL")
# A busy server renews its lease in a fraction of this.
SHORTEST_LEASE_NS = SECOND_NS // 2
# Options that make the program do something else than serve.
ACTIONS = frozenset({"help", "help_tls", "version", "signal", "check_config", "welcome"})


@dataclass(slots=True, kw_only=True)
class Config(Options):
    """The effective configuration: the options, and what else the file and flags tell."""

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
    def served_channels(self) -> tuple[str, ...]:
        """The names and patterns of the channels that are ours; none when all are. What a wider
        one covers is left out: nothing may be heard twice."""
        names = list(self.channels) if self.partitioning else []
        return tuple(
            name
            for name in names
            if not any(wide != name and pattern_covers(wide, name) for wide in names)
        )

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
        self._check_group()
        self._check_partition()
        if self.admin not in ("off", "read", "full"):
            raise ConfigError(f"admin is off, read or full, not {self.admin!r}", "admin")
        if self.sql_durability not in ("full", "normal", "off"):
            raise ConfigError(
                f"durability is full, normal or off, not {self.sql_durability!r}", "sql_durability"
            )
        if self.log_format not in ("text", "json"):
            raise ConfigError(f"log_format is text or json, not {self.log_format!r}", "log_format")
        if bool(self.console_user) != bool(self.console_password):
            lacks = "password" if self.console_user else "user"
            raise ConfigError(f"the console's login lacks its {lacks}", f"console_{lacks}")
        if not -1 <= self.port <= 65535:
            raise ConfigError(f"port must be between -1 and 65535, it is {self.port}")

    def _check_partition(self) -> None:
        if self.partitioning and not self.channels:
            raise ConfigError("stan: no configured channel", "partitioning")
        for name in self.served_channels:
            if not is_publishable_subject(name.translate({ord("*"): "x", ord(">"): "x"})):
                raise ConfigError(f'NATS cannot carry channel "{name}"', f"channels {name}")
        for one, other in combinations(self.served_channels, 2):
            if patterns_overlap(one, other):
                raise ConfigError(
                    f'partitioning: channels "{one}" and "{other}" overlap, and neither covers'
                    " the other",
                    f"channels {other}",
                )

    def _check_group(self) -> None:
        if self.dedupe_window_ns < 0:
            shown = format_duration(self.dedupe_window_ns)
            raise ConfigError(f"dedupe_window cannot be negative ({shown})", "dedupe_window_ns")
        if not self.ft_group:
            return
        if self.store == "MEMORY":
            raise ConfigError("ft: only FILE or SQL stores supported in FT mode", "ft_group")
        if not is_publishable_subject(self.ft_group):
            raise ConfigError(f'invalid ft_group "{self.ft_group}"', "ft_group")
        if self.ft_lease_ns < SHORTEST_LEASE_NS:
            shown, least = format_duration(self.ft_lease_ns), format_duration(SHORTEST_LEASE_NS)
            raise ConfigError(f"ft_lease must be at least {least}, it is {shown}", "ft_lease_ns")
        if self.ft_buffer_bytes < 0:
            raise ConfigError("ft_buffer cannot be negative", "ft_buffer_bytes")


def load_config(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration of a command line (without the program's name).

    Raises ConfigError with one clear line. Limits and other values that only matter to a
    server that starts are left to `Config.check`.
    """
    from_flags = read_flags(arguments)
    if from_flags.get("help") or from_flags.get("version") or from_flags.get("help_tls"):
        return _assemble(from_flags)
    path = from_flags.get("stan_config") or from_flags.get("nats_config") or ""
    whole = parse_file(str(path)) if path else {}
    tree = streaming_block(whole)
    from_environment = _from_environment(environment)
    commanded = from_environment | from_flags | _before_flags(from_environment)
    nats_tree = _nats_part(from_flags, whole)
    given = _nats_values(nats_tree, commanded) | read_values(tree) | commanded
    if (read_values(tree) | from_flags).get("encryption_key"):
        given["encrypt"] = True  # the environment's key alone does not turn it on
    if str(given.get("store", "")).upper() == "FILE":
        raise ConfigError(
            "this server has no FILE store: use -st SQL --sql_source <path> to keep messages"
            " in a SQLite file; stan-server import --from_dir=<folder> brings a FILE store over"
        )
    if tree is not whole and find(tree, ["cluster"]) is not None:
        given["clustered"] = True  # the block alone turns it on
    config = _assemble(given)
    config.channels = read_channels(tree)
    config.commanded = frozenset(commanded)
    config.store = _store_type(config.store, "store" in from_flags)
    config.places = read_places(tree, nats_tree)
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


def _assemble(given: Mapping[str, Scalar]) -> Config:
    # An option without meaning has no attribute.
    known: dict[str, Any] = {
        one.name: given[one.name] for one in fields(Options) if one.name in given
    }
    return Config(**known, given=frozenset(given))


def _nats_part(from_flags: Mapping[str, Scalar], whole: Tree) -> Tree:
    """The file about the NATS server, which may be another one than the first. Its streaming
    block is left out."""
    path = from_flags.get("nats_config")
    other = path and from_flags.get("stan_config", path) != path
    tree = parse_file(str(path)) if other else whole
    return {key: item for key, item in tree.items() if key.lower() != "streaming"}


def _nats_values(tree: Tree, commanded: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """What the NATS part sets. A flag for one kind of monitoring port replaces both."""
    values = read_nats_values(tree)
    if commanded.get("http_port") or commanded.get("https_port"):
        for name in ("http_port", "https_port", "http_address"):
            values.pop(name, None)
    return values


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
