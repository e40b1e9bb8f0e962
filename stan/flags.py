"""Command line flags in the manner of Go programs, which all our commands have.

One or two dashes, ``-f value`` or ``-f=value``; a switch is ``-a`` or ``-a=false``; flags end
at the first argument that is none, or at ``--``. Only parsing lives here: what a flag means
is the command's business. A mistake raises FlagError with the line to show.
"""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any


class FlagError(Exception):
    """The command line cannot be understood; str(error) says why."""


class HelpWanted(Exception):
    """``-h`` or ``-help`` was given."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: its names (the first one is its key), what it does, and its default, which is
    true or false for a switch."""

    names: tuple[str, ...]
    about: str
    default: Any
    read: Callable[[str], Any] = str

    @property
    def is_switch(self) -> bool:
        """Whether it stands without a value."""
        return isinstance(self.default, bool)


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
    raise ValueError(f"{text!r} is neither true nor false")


def read_count(text: str) -> int:
    """A whole number that is not negative. Raises ValueError."""
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
    if number < 0:
        raise ValueError(f"{text!r} is negative")
    return number


def parse_flags(
    flags: Sequence[Flag], argv: Sequence[str], switch_words: Collection[str] = ()
) -> Parsed:
    """Parse a command line. A switch takes the next argument for its value when that is one
    of `switch_words`. Raises FlagError, and HelpWanted where help is no flag of the command."""
    by_name = {name: flag for flag in flags for name in flag.names}
    parsed = Parsed({flag.names[0]: flag.default for flag in flags})
    rest = list(argv)
    while rest and len(rest[0]) > 1 and rest[0][0] == "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, text = word.removeprefix("-").removeprefix("-").partition("=")
        flag = by_name.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpWanted
            raise FlagError(_unknown(name, by_name))
        if not equals:
            text = _following(flag, name, rest, switch_words)
        try:
            parsed.values[flag.names[0]] = flag.read(text)
        except ValueError as error:
            raise FlagError(f"invalid value for -{name}: {error}") from None
        parsed.given.add(flag.names[0])
    parsed.arguments = rest
    return parsed


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


def _following(flag: Flag, name: str, rest: list[str], switch_words: Collection[str]) -> str:
    """The value of a flag without `=`, taken off the arguments that follow it."""
    if flag.is_switch:
        return rest.pop(0) if rest and rest[0] in switch_words else "true"
    if not rest:
        raise FlagError(f"flag needs an argument: -{name}")
    return rest.pop(0)


def _unknown(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean -{near[0]}?)" if near else ""
    return f"flag provided but not defined: -{name}{hint}"


def _show(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
