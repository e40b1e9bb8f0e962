"""Ends what a test run leaves behind that was killed itself.

A small process reads from a pipe which processes run; when the pipe ends, so has the run, and
what it did not end by itself is killed, with its session. Invariant: a process that was waited
for is not on the list any more, so that nobody else's with its number is killed.
"""

import atexit
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_lock = threading.Lock()
_reaper: subprocess.Popen[str] | None = None


def watch(pid: int) -> None:
    """This process, the leader of its session, is to end with the run."""
    _tell(f"+{pid}\n")


def forget(pid: int) -> None:
    """It has ended, and was waited for."""
    _tell(f"-{pid}\n")


def _tell(line: str) -> None:
    global _reaper
    with _lock:
        if _reaper is None:
            _reaper = subprocess.Popen(
                [sys.executable, "-S", __file__],
                stdin=subprocess.PIPE,
                text=True,
                bufsize=1,
                start_new_session=True,
            )
            atexit.register(_end)
        assert _reaper.stdin is not None
        with suppress(OSError):  # somebody killed the reaper; the run goes on
            _reaper.stdin.write(line)


def _end() -> None:
    assert _reaper is not None
    assert _reaper.stdin is not None
    with suppress(OSError):
        _reaper.stdin.close()
    _reaper.wait()


def reap() -> None:
    """Read until the run is over, then end what is left of it."""
    left: set[int] = set()
    for line in sys.stdin:
        (left.add if line[0] == "+" else left.discard)(int(line[1:]))
    for pid in left:
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    reap()
