"""The server's command line: its flags are those of the option table, and so is its help.

How flags are written is known by `stan.flags`. Here a boolean flag also takes a following
word that is exactly true or false, where a Go program would end its flags.
"""

from collections.abc import Sequence
from functools import partial

from stan.errors import ConfigError
from stan.flags import Flag, FlagError, parse_flags
from stan.server.config.declaring import Kind, Option
from stan.server.config.file import Scalar, convert
from stan.server.config.options import OPTIONS
from stan.units import format_duration

_SWITCH_WORDS = frozenset({"true", "false", "1", "0", "t", "f", "TRUE", "FALSE", "True", "False"})


def read_flags(arguments: Sequence[str]) -> dict[str, Scalar]:
    """The values given, by field; the last of a kind wins.

    Raises ConfigError for an unknown flag, a value missing or wrong, or a word that is no flag.
    """
    options = [option for option in OPTIONS if option.flags]
    try:
        parsed = parse_flags([_flag(option) for option in options], arguments, _SWITCH_WORDS)
    except FlagError as error:
        raise ConfigError(str(error)) from None
    if parsed.arguments:
        raise ConfigError(f'unrecognized command: "{parsed.arguments[0]}"')
    return {o.field: parsed[o.flags[0]] for o in options if o.flags[0] in parsed.given}


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


def _flag(option: Option) -> Flag:
    default = bool(option.default) if option.kind is Kind.BOOLEAN else option.default
    return Flag(option.flags, option.help, default, partial(convert, option))


def _spelling(option: Option) -> str:
    names = [f"-{flag}" if len(flag) < 4 else f"--{flag}" for flag in option.flags]
    placeholder = "" if option.kind is Kind.BOOLEAN else f" <{option.kind.value}>"
    return ", ".join(names) + placeholder


def _describe(option: Option) -> str:
    default = format_default(option)
    text = f"{option.help} (default: {default})" if default else option.help
    return f"{text} (refused: not available)" if option.refused else text
