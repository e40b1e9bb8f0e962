"""Words and numbers as the commands print them.

Everything a command says goes through `say` or `complain`: one line, written at once, so
that a pipe sees it when it happens. Messages go to stdout, troubles to stderr.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn


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
    code = 1
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # such as `stan-server -help | head`
        # Keep the interpreter's own last flush from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


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
