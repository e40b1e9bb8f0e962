"""Words and numbers as the commands print them, and durations as they read them.

Everything a command says goes through `say` or `complain`: one line, written at once, so
that a pipe sees it when it happens. Messages go to stdout, troubles to stderr.
"""

import io
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile("(\\d+\\.?\\d*|\\.\\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")


def say(line: str) -> None:
    """Write one line to stdout. Raises OSError when nobody reads it any more."""
    print(line, flush=True)


def complain(line: str) -> None:
    """Write one line to stderr."""
    print(line, file=sys.stderr, flush=True)


def leave(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a command's `main` on the command line, and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Odd bytes of the command line are printed as they came.
            stream.reconfigure(errors="surrogateescape")
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Keep the interpreter's own last flush from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def parse_duration_ns(text: str) -> int:
    """A Go duration such as ``1h30m`` or ``-1.5s`` in nanoseconds. Raises ValueError."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, position = 0, 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None:
            raise ValueError(f"invalid duration {text!r}")
        whole, _, fraction = part[1].partition(".")
        unit_ns = _UNITS_NS[part[2]]
        total += int(whole or 0) * unit_ns
        if fraction:
            total += int(fraction) * unit_ns // 10 ** len(fraction)
        position = part.end()
    if not position:
        raise ValueError(f"invalid duration {text!r}")
    return sign * total


def group_digits(number: float) -> str:
    """The whole part with commas: ``1,234,567``."""
    return f"{int(number):,}"


def human_bytes(size: float) -> str:
    """``403.97 MB``, in steps of 1024."""
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"
