"""Command line flags in the manner of Go programs, which the commands of this family have.

One or two dashes, ``-f value`` or ``-f=value``; a switch is ``-a`` or ``-a=false``; flags end
at the first argument that is none, or at ``--``. Only parsing lives here: what a flag means
is the command's business. A mistake raises FlagError with the line to show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


class FlagError(Exception):
    """The command line cannot be understood; str(error) says why."""


class HelpWanted(Exception):
    """``-h`` or ``-help`` was given."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: its names (the first one is its key), what it does, and its default."""

    names: tuple[str, ...]
    about: str
    default: Any
    read: Callable[[str], Any] = str

    @property
    def is_switch(self) -> bool:
        """Whether it stands without a value."""
        return self.read is read_bool


@dataclass(slots=True)
class Parsed:
    """Values by key, which of them were given, and the arguments behind the flags."""

    values: dict[str, Any]
    given: set[str] = field(default_factory=set)
    arguments: list[str] = field(default_factory=list)

    def __getitem__(self, key: str) -> Any:
        return self.values[key]


def read_bool(text: str) -> bool:
    """The words that Go takes for true and false. Raises ValueError for others."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(text)


def read_count(text: str) -> int:
    """A whole number that is not negative. Raises ValueError."""
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def parse_flags(flags: Sequence[Flag], argv: Sequence[str]) -> Parsed:
    """Parse a command line. Raises FlagError and HelpWanted."""
    by_name = {name: flag for flag in flags for name in flag.names}
    parsed = Parsed({flag.names[0]: flag.default for flag in flags})
    position = 0
    while position < len(argv):
        word = argv[position]
        if word == "--":
            position += 1
            break
        if len(word) < 2 or word[0] != "-":
            break
        position += 1
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        flag = by_name.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpWanted
            raise FlagError(f"flag provided but not defined: -{name}")
        if not equals:
            if flag.is_switch:
                value = "true"
            elif position < len(argv):
                value = argv[position]
                position += 1
            else:
                raise FlagError(f"flag needs an argument: -{name}")
        parsed.values[flag.names[0]] = _read(flag, name, value)
        parsed.given.add(flag.names[0])
    parsed.arguments = list(argv[position:])
    return parsed


def _read(flag: Flag, name: str, value: str) -> Any:
    try:
        return flag.read(value)
    except ValueError:
        raise FlagError(f'invalid value "{value}" for flag -{name}: parse error') from None


def usage(synopsis: str, flags: Sequence[Flag]) -> str:
    """The help text: the synopsis, then each flag with its meaning and default."""
    names = [", ".join(f"-{name}" for name in flag.names) for flag in flags]
    width = max(map(len, names))
    lines = [f"Usage: {synopsis}", "", "Options:"]
    for left, flag in zip(names, flags, strict=True):
        is_plain = flag.default in ("", False, None) or flag.default == 0
        default = "" if is_plain else f" (default {_show(flag.default)})"
        lines.append(f"  {left:<{width}}  {flag.about}{default}")
    return "\n".join(lines)


def _show(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


SERVER_URL = "nats://localhost:4222"


def connection_flags(client_id: str) -> list[Flag]:
    """The flags that say where to connect, as whom."""
    return [
        Flag(("s", "server"), "NATS server URL, or several with commas", SERVER_URL),
        Flag(("c", "cluster"), "cluster ID of the streaming server", "test-cluster"),
        Flag(("id", "clientid"), "client ID to connect with", client_id),
        Flag(("cr", "creds"), "credentials file for NATS", ""),
    ]
