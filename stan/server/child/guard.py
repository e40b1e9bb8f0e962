"""The process between the server and its NATS server: it ends the one with the other.

A script of its own, run by path, standard library only. It reads orders on stdin: first a
line of JSON with the program and its configuration, later lines with a configuration to
reload. When stdin ends, for whatever reason, the server is gone, even if it was killed:
the NATS server is stopped. When the NATS server ends, this process ends with its code.
When this process is killed, Linux ends the NATS server.
The configuration may hold passwords: it is a private file that goes away with this process,
or, when this process was killed, with the next one that starts.
"""

import ctypes
import fcntl
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

_PREFIX = "stan-nats-"
_FILE = "nats.conf"
# A directory younger than this may belong to a guard that has not locked it yet.
_NEW_S = 60.0
_STOP_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the NATS server until it ends or nobody wants it. Returns its exit code."""
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return 0
    _sweep(tempfile.gettempdir())
    directory = tempfile.mkdtemp(prefix=_PREFIX)
    lock = _lock(directory)
    try:
        path = os.path.join(directory, _FILE)
        _write(path, order["configuration"])
        child = subprocess.Popen(
            [order["program"], "-c", path], stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent()
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: child.terminate())
        threading.Thread(target=_obey, args=(child, path), daemon=True).start()
        code = child.wait()
    except OSError as error:
        print(f"cannot run {order['program']}: {error.strerror}", file=sys.stderr, flush=True)
        code = 127
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    return code if code >= 0 else 128 - code


def _die_with_parent() -> Callable[[], object] | None:
    """What the child calls so that it is told to end when this process is killed."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up before the fork
    if prctl is None:
        return None  # not Linux
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _obey(child: "subprocess.Popen[bytes]", path: str) -> None:
    for line in sys.stdin:
        _write(path, json.loads(line)["configuration"])
        child.send_signal(signal.SIGHUP)
    child.terminate()
    try:
        child.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _write(path: str, text: str) -> None:
    # mkdtemp made the directory private to this user; the file is so by itself, too.
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(number, "w", encoding="utf-8") as file:
        file.write(text)


def _lock(directory: str) -> int | None:
    """Mark the directory as in use for as long as this process lives; None: it is already,
    or cannot be locked. The lock is the kernel's, and dies with its holder."""
    try:
        number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(number)
        return None
    return number


def _sweep(parent: str) -> None:
    """Remove what guards of this user left behind that were killed."""
    for directory in glob.glob(os.path.join(glob.escape(parent), f"{_PREFIX}*")):
        try:
            status = os.lstat(directory)
        except OSError:
            continue
        if status.st_uid != os.getuid() or time.time() - status.st_mtime < _NEW_S:
            continue
        lock = _lock(directory)
        if lock is not None:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


if __name__ == "__main__":
    sys.exit(main())
