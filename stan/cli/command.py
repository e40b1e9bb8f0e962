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
    work: Work, flags: Sequence[Flag], usage: str, arguments: int, argv: Sequence[str]
) -> int:
    """Do the work of a command that takes so many arguments. Returns the exit code."""
    parsed = parse_or_explain(flags, usage, argv)
    if isinstance(parsed, int):
        return parsed
    if len(parsed.arguments) != arguments:
        complain(usage)
        return 1 if parsed.arguments else 0
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
        complain(f"{error}\n{usage}")
        return 2
