"""Word to whoever looks after the process: its PID in a file, and to systemd where the server is
in its life, when systemd asked for it.

One datagram a state, to the socket that the environment names. Nobody listening is no
reason to fail.
"""

import contextlib
import os
import socket
import time

from stan.errors import ConfigError

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str) -> None:
    """Tell a state: READY, STOPPING, or what `reloading` gives."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), address)


def reloading() -> str:
    """The state of a server that reads its configuration again; READY must follow."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def write_pid_file(path: str) -> None:
    """Write the PID into this file, if there is to be one. Raises ConfigError."""
    if not path:
        return
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise ConfigError(
            f"cannot write the PID file {path}: {error.strerror}", "pid_file"
        ) from None
