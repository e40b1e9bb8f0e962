"""What the client commands do alike: understand the command line, run, end with a code.

Exit code 2 is for a command line that cannot be understood, 130 for an interrupt that the
command does not treat itself. What a command does is handed in.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from stan.cli.text import complain, say
from stan.flags import Flag, FlagError, HelpWanted, Parsed, parse_flags

Work = Callable[[Parsed], Coroutine[Any, Any, int]]


def perform(
    work: Work,
    flags: Sequence[Flag],
    usage: str,
    names: Sequence[str] | Callable[[Parsed], Sequence[str]],
    argv: Sequence[str],
) -> int:
    """Do the work of a command that takes arguments of these names. Returns the exit code."""
    parsed = parse_or_explain(flags, usage, argv)
    if isinstance(parsed, int):
        return parsed
    wanted = names(parsed) if callable(names) else names
    if wanted and not parsed.arguments:
        complain(usage)
        return 0
    if len(parsed.arguments) != len(wanted):
        complain(f"{_explain(parsed.arguments, wanted)}\n{_point(usage)}")
        return 1
    try:
        return asyncio.run(work(parsed))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


def parse_or_explain(flags: Sequence[Flag], usage: str, argv: Sequence[str]) -> Parsed | int:
    """The command line, or the exit code when the user got help or was told the mistake."""
    try:
        return parse_flags(flags, argv)
    except HelpWanted:
        say(usage)
        return 0
    except FlagError as error:
        complain(f"{error}\n{_point(usage)}")
        return 2


def _explain(arguments: Sequence[str], wanted: Sequence[str]) -> str:
    missing = wanted[len(arguments) :]
    if missing:
        return f"missing argument: <{missing[0]}>"
    return f"unexpected argument: {arguments[len(wanted)]!r} (quote what has spaces)"


def _point(usage: str) -> str:
    """The first line of the usage, and where the rest is."""
    synopsis = usage.partition("\n")[0]
    return f"{synopsis}\n{synopsis.split()[1]} -help lists the options."
