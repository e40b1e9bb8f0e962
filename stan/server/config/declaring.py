"""How an option is declared: as a field of a dataclass, with all else in its metadata.

The field's name, type and default are the option's; flags, keys, environment, group and help
stand beside them. `declared_options` reads them back. What an option does is not known here.
"""

from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from typing import Any, TypeVar

T = TypeVar("T", str, int, bool)


class Kind(Enum):
    """How a value is written. The value is the placeholder in the help."""

    TEXT = "string"
    INTEGER = "int"
    BOOLEAN = "bool"
    DURATION = "duration"
    SIZE = "size"


class Group(StrEnum):
    """The heading an option stands under, in the order of the help."""

    STREAMING = "Streaming Server Options"
    SQL = "Streaming Server SQL Store Options"
    TLS = "Streaming Server TLS Options"
    LOGGING = "Streaming Server Logging Options"
    NATS = "Embedded NATS Server Options"
    NATS_LOGGING = "Logging Options"
    AUTHORIZATION = "Authorization Options"
    NATS_TLS = "TLS Options"
    NATS_CLUSTER = "NATS Clustering Options"
    COMMON = "Common Options"
    CLUSTERING = "Streaming Server Clustering Options"
    FILE = "Streaming Server File Store Options"


@dataclass(slots=True, frozen=True)
class Option:
    """`field` names the attribute of Config; `keys` are dotted paths in the streaming part of
    the configuration file, all aliases spelled out, `nats_keys` those in its NATS part. The
    `environment` is asked after the flags, with `environment_first` before them. An `ignored`
    option is accepted with that warning when it is set, a `refused` one ends the start with
    that message when it is set to something that matters; neither has an attribute."""

    group: Group
    field: str
    kind: Kind
    flags: tuple[str, ...]
    keys: tuple[str, ...]
    help: str
    default: str | int | bool = ""
    nats_keys: tuple[str, ...] = ()
    environment: str = ""
    environment_first: bool = False
    secret: bool = False
    ignored: str = ""
    refused: str = ""


def text(group: Group, flags: str, keys: str, help: str, default: str = "", **more: Any) -> str:
    """An option that is any text. Flags and keys are separated by spaces; the keys of a
    `shared` one may stand in the NATS part of the file, too."""
    return _declare(Kind.TEXT, group, flags, keys, help, default, more)


def number(group: Group, flags: str, keys: str, help: str, default: int, **more: Any) -> int:
    """An option that is a whole number."""
    return _declare(Kind.INTEGER, group, flags, keys, help, default, more)


def size(group: Group, flags: str, keys: str, help: str, default: int, **more: Any) -> int:
    """An option that is a count of bytes."""
    return _declare(Kind.SIZE, group, flags, keys, help, default, more)


def duration(group: Group, flags: str, keys: str, help: str, default: int, **more: Any) -> int:
    """An option that is a time span; the default is in nanoseconds."""
    return _declare(Kind.DURATION, group, flags, keys, help, default, more)


def switch(
    group: Group, flags: str, keys: str, help: str, default: bool = False, **more: Any
) -> bool:
    """An option that is true or false."""
    return _declare(Kind.BOOLEAN, group, flags, keys, help, default, more)


def within(blocks: tuple[str, ...], names: str) -> str:
    """The keys with these names in any of these blocks."""
    return " ".join(f"{block}.{name}" for block in blocks for name in names.split())


def declared_options(declaring: type) -> list[Option]:
    """The options that the fields of a dataclass declare, in their order."""
    return [
        Option(field=one.name, **one.metadata)
        for one in fields(declaring)
        if "kind" in one.metadata
    ]


def _declare(
    kind: Kind,
    group: Group,
    flags: str,
    keys: str,
    help: str,
    default: T,
    more: dict[str, Any],
) -> T:
    more = dict(more)
    shared, nats_keys = more.pop("shared", False), more.pop("nats_keys", "")
    metadata = {
        "kind": kind,
        "group": group,
        "flags": tuple(flags.split()),
        "keys": tuple(keys.split()),
        "help": help,
        "default": default,
        **more,
        "nats_keys": tuple((keys if shared else nats_keys).split()),
    }
    return field(default=default, repr=not more.get("secret"), metadata=metadata)
