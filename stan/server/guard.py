"""The process between the server and its NATS server: it ends the one with the other.

A script of its own, run by path, standard library only. It reads orders on stdin: first a
line of JSON with the program and its configuration, later lines with a configuration to
reload. When stdin ends, for whatever reason, the server is gone, even if it was killed:
the NATS server is stopped. When the NATS server ends, this process ends with its code.
When this process is killed, Linux ends the NATS server.
The configuration may hold passwords: it is a private file that goes away with this process.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable

_STOP_TIMEOUT_S = 5.0
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the NATS server until it ends or nobody wants it. Returns its exit code."""
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return 0
    directory = tempfile.mkdtemp(prefix="stan-nats-")
    try:
        path = os.path.join(directory, "nats.conf")
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
    # mkdtemp made the directory private to this user.
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
