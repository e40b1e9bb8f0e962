"""The process between the server and its NATS server: it ends the one with the other.

A script of its own, run by path, standard library only. It reads orders on stdin: first a
line of JSON with the program and its configuration, later lines with a configuration to
reload. When stdin ends, for whatever reason, the server is gone, even if it was killed:
the NATS server is stopped. When the NATS server ends, this process ends with its code.
When this process is killed, Linux ends the NATS server.
The configuration may hold passwords: where the system has files without a name, it is one,
which goes away with the processes that hold it. Else it is a private file that goes away
with this process, or, when this process was killed, with the next one that starts.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

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
    configuration = _open()
    try:
        configuration.write(order["configuration"])
        child = subprocess.Popen(
            [order["program"], "-c", configuration.path],
            stdin=subprocess.DEVNULL,
            pass_fds=configuration.inherited,
            preexec_fn=_die_with_parent(),
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: child.terminate())
        threading.Thread(target=_obey, args=(child, configuration), daemon=True).start()
        code = child.wait()
    except OSError as error:
        print(f"cannot run {order['program']}: {error.strerror}", file=sys.stderr, flush=True)
        code = 127
    finally:
        configuration.remove()
    return code if code >= 0 else 128 - code


class Anonymous:
    """A file without a name, in memory. The NATS server inherits it and reads it by its number,
    again when it is told to reload; it is gone when both processes are."""

    def __init__(self) -> None:
        """Raises OSError where there are none, or nothing can be read by its number."""
        self._number = os.memfd_create(_FILE)
        self.path = f"/proc/self/fd/{self._number}"
        self.inherited: tuple[int, ...] = (self._number,)
        os.stat(self.path)

    def write(self, text: str) -> None:
        """Replace the content."""
        os.ftruncate(self._number, 0)
        data = text.encode()
        while data:
            data = data[os.pwrite(self._number, data, os.fstat(self._number).st_size) :]

    def remove(self) -> None:
        """Nothing is left to remove."""


class Named:
    """A file in a private directory, locked for as long as this process lives."""

    def __init__(self) -> None:
        import tempfile  # slow to import, and few need it

        _sweep(tempfile.gettempdir())
        self._directory = tempfile.mkdtemp(prefix=_PREFIX)
        self._lock = _lock(self._directory)
        self.path = os.path.join(self._directory, _FILE)
        self.inherited: tuple[int, ...] = ()

    def write(self, text: str) -> None:
        """Replace the content."""
        # mkdtemp made the directory private to this user; the file is so by itself, too.
        number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)

    def remove(self) -> None:
        """Leave nothing behind."""
        _remove(self._directory)
        if self._lock is not None:
            os.close(self._lock)


def _open() -> Anonymous | Named:
    with suppress(AttributeError, OSError):
        return Anonymous()
    return Named()


def _die_with_parent() -> Callable[[], object] | None:
    """What the child calls so that it is told to end when this process is killed."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up before the fork
    if prctl is None:
        return None  # not Linux
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _obey(child: "subprocess.Popen[bytes]", configuration: Anonymous | Named) -> None:
    for line in sys.stdin:
        configuration.write(json.loads(line)["configuration"])
        child.send_signal(signal.SIGHUP)
    child.terminate()
    try:
        child.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _lock(directory: str) -> int | None:
    """Mark the directory as in use for as long as this process lives; None: it is already,
    or cannot be locked. The lock is the kernel's, and dies with its holder."""
    import fcntl

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
    for entry in os.scandir(parent):
        if not entry.name.startswith(_PREFIX):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if status.st_uid != os.getuid() or time.time() - status.st_mtime < _NEW_S:
            continue
        lock = _lock(entry.path)
        if lock is not None:
            _remove(entry.path)
            os.close(lock)


def _remove(directory: str) -> None:
    import shutil  # slow to import, and few need it

    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
