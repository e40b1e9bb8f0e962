"""The server's command line: which flags were given, and their texts.

One or two dashes, `-flag value` or `-flag=value`, as Go programs take them. A boolean flag
stands alone, takes `=true` or `=false`, or a following word that is exactly that. Values
are not interpreted here. Also the help text, made from the same declarations.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from stan.errors import ConfigError
from stan.server.config.options import OPTIONS, Kind, Option
from stan.units import format_duration

_WORDS = frozenset({"true", "false", "1", "0", "t", "f", "TRUE", "FALSE", "True", "False"})


@dataclass(slots=True, frozen=True)
class Given:
    """A flag as it was written."""

    option: Option
    flag: str
    text: str


def parse_flags(arguments: Sequence[str]) -> list[Given]:
    """The flags in the order given; the last of a kind is to win.

    Raises ConfigError for an unknown flag, a missing value, or a word that is no flag.
    """
    known = {flag: option for option in OPTIONS for flag in option.flags}
    given: list[Given] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word.strip("-") == "":
            raise ConfigError(f'unrecognized command: "{word}"')
        name, equals, text = word.removeprefix("-").removeprefix("-").partition("=")
        option = known.get(name)
        if option is None:
            raise ConfigError(_unknown(name, known))
        if not equals:
            text = _following(option, name, rest)
        given.append(Given(option, f"-{name}", text))
    return given


def format_help(program: str) -> str:
    """All options in their groups, as `-help` shows them."""
    lines = [
        f"Usage: {program} [options]",
        f"       {program} migrate -h    (the schema of a SQL store)",
        f"       {program} import -h     (data of nats-streaming-server)",
        "",
    ]
    groups = dict.fromkeys(option.group for option in OPTIONS)
    for group in groups:
        options = [option for option in OPTIONS if option.group == group and option.flags]
        shown = [(_spelling(option), _describe(option)) for option in options]
        width = max(len(spelling) for spelling, _ in shown) + 2
        lines.append(f"{group}:")
        lines.extend(f"    {spelling:<{width}}{text}" for spelling, text in shown)
        lines.append("")
    return "\n".join(lines)


def format_default(option: Option) -> str:
    """The default as an operator would write it; empty when there is nothing to say."""
    if option.default in ("", False):
        return ""
    if option.kind is Kind.DURATION:
        return format_duration(int(option.default))
    if option.kind is Kind.BOOLEAN:
        return "true"
    return str(option.default)


def _following(option: Option, name: str, rest: list[str]) -> str:
    if option.kind is Kind.BOOLEAN:
        return rest.pop(0) if rest and rest[0] in _WORDS else "true"
    if not rest:
        raise ConfigError(f"flag needs an argument: -{name}")
    return rest.pop(0)


def _unknown(name: str, known: dict[str, Option]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean -{near[0]}?)" if near else ""
    return f"flag provided but not defined: -{name}{hint}"


def _spelling(option: Option) -> str:
    names = [f"-{flag}" if len(flag) < 4 else f"--{flag}" for flag in option.flags]
    placeholder = "" if option.kind is Kind.BOOLEAN else f" <{option.kind.value}>"
    return ", ".join(names) + placeholder


def _describe(option: Option) -> str:
    default = format_default(option)
    text = f"{option.help} (default: {default})" if default else option.help
    return f"{text} (refused: not available)" if option.refused else text
