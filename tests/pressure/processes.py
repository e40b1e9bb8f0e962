"""The server under pressure: one that starts its own nats-server, in a cell of memory.

It is ours, or the binary that STAN_TEST_SERVER names. What it is asked here is what an
operator sees: its log, and what /proc says about its processes. Nothing is judged.
"""

import os
import re
import resource
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools.processes import free_port
from tests.tools.streaming_server import StreamingServer, implementation_under_test

# What docs/operations.md calls a good limit for a container.
DOCUMENTED_BYTES = 512 * 1024 * 1024
_LOST = re.compile(r"NATS connection lost|connection is lost for good")
_CGROUPS = Path("/sys/fs/cgroup")
_END_S = 15.0
_MARK = re.compile(r"VmHWM:\s+(\d+) kB")


class Cell:
    """A control group that takes a process away when it wants more memory than there is.

    Where the machine does not let us make one, `is_real` is False, and the memory is only
    looked at.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._folder: Path | None = None
        for parent, name in (
            (_CGROUPS, "memory.max"),  # version 2
            (_CGROUPS / "unified", "memory.max"),
            (_CGROUPS / "memory", "memory.limit_in_bytes"),  # version 1
        ):
            folder = parent / f"stan-pressure-{secrets.token_hex(4)}"
            try:
                folder.mkdir()
            except OSError:
                continue
            if not (folder / name).exists():  # no control group, or one without this control
                folder.rmdir()
                continue
            (folder / name).write_text(str(limit_bytes))
            self._folder = folder
            return

    @property
    def is_real(self) -> bool:
        return self._folder is not None

    def wrap(self, argv: list[str]) -> list[str]:
        """The command line that starts the program inside."""
        if self._folder is None:
            return argv
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        return ["sh", "-c", enter, str(self._folder), *argv]

    def remove(self) -> None:
        """Once all processes in it have ended: the last one ends the nats-server."""
        if self._folder is None:
            return
        end_s = time.monotonic() + _END_S
        while (self._folder / "cgroup.procs").read_text() and time.monotonic() < end_s:
            time.sleep(0.01)  # a control group tells nobody when it is empty
        self._folder.rmdir()


@dataclass
class PressedServer(StreamingServer):
    """A streaming server with a nats-server of its own, on SQLite with full durability."""

    cell: Cell | None = None
    port: int = field(default_factory=free_port)
    monitor_port: int = field(default_factory=free_port)

    def arguments(self) -> list[str]:
        """The command line."""
        argv = [
            *self.implementation.argv,
            *("-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor_port)),
            *("-cid", self.cluster, "-mc", "0", "-mm", "0", "-mb", "0"),
            *self.implementation.store_flags(self.store, self.directory),
            *self.flags,
        ]
        return argv if self.cell is None else self.cell.wrap(argv)

    @property
    def output(self) -> str:
        """The log so far."""
        return self.process.output if self.process is not None else ""

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.process.poll() is None

    @property
    def losses(self) -> list[str]:
        """The lines of the log that tell of a connection of the server's cut off. Those of
        its clients have no names."""
        return [
            line
            for line in self.output.splitlines()
            if _LOST.search(line) or ("Slow Consumer Detected" in line and self.cluster in line)
        ]

    @property
    def processes(self) -> list[int]:
        """The server and all below it."""
        assert self.process is not None
        return list(_family(self.process.process.pid))

    @property
    def peak_bytes(self) -> int:
        """The most that the server and its nats-server had resident, added up."""
        return sum(map(_peak_bytes, self.processes))


def make_server(directory: Path, *flags: str, cell: Cell | None = None) -> PressedServer:
    """A server that has not been started."""
    implementation = implementation_under_test()
    port = free_port()
    return PressedServer(
        implementation,
        f"nats://127.0.0.1:{port}",
        implementation.persistent_store,
        directory,
        flags,
        cell=cell,
        port=port,
    )


def resident_bytes(pid: int) -> int:
    """What the process has resident now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def open_files(pid: int) -> int:
    """How many descriptors the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from _family(int(child))


def _peak_bytes(pid: int) -> int:
    found = _MARK.search(Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found is not None else 0
