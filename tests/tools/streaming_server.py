"""Processes under test: a NATS server and the streaming server that stands beside it.

Which streaming server is chosen by the environment: ours by default, or the binary named by
STAN_TEST_SERVER (the original, against which this suite was written). Everything that differs
between the two is here; no test asks which one it is talking to, only what it can do.
"""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

READY = "Streaming Server is ready"
START_TIMEOUT_S = 20.0


class StartFailed(Exception):
    """The process ended before it was ready; the text is what it printed."""


def free_port() -> int:
    """A loopback TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LoggedProcess:
    """A child process whose output is read by a thread, so that a line can be waited for."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = list(argv)
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            self.argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """All that the process has printed so far."""
        return "\n".join(self._lines)

    def wait_for(self, pattern: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """Block until a line matches and return it. Raises StartFailed at the end of the output
        or after the timeout."""

        def found() -> str | None:
            return next((line for line in self._lines if re.search(pattern, line)), None)

        with self._changed:
            self._changed.wait_for(lambda: self._ended or found() is not None, timeout_s)
            line = found()
        if line is None:
            raise StartFailed(f"no line matches {pattern!r} from {self.argv}:\n{self.output}")
        return line

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """Block until the process has ended; return its exit status."""
        status = self.process.wait(timeout_s)
        self._reader.join(timeout_s)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def stop(self) -> None:
        """End the process: politely, then not. No-op when it has ended."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.wait()

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.process.kill()
        self.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class NatsServer(LoggedProcess):
    """A nats-server on a free loopback port."""

    def __init__(self) -> None:
        beside_python = Path(sys.executable).with_name("nats-server")
        binary = shutil.which("nats-server") or str(beside_python)
        port = free_port()
        self.url = f"nats://127.0.0.1:{port}"
        super().__init__([binary, "-a", "127.0.0.1", "-p", str(port)])
        self.wait_for("Server is ready")


@dataclass(frozen=True)
class AckWait:
    """An ack wait as the server under test can be given it, and how long it really is."""

    wire: int
    seconds: float


@dataclass(frozen=True)
class Implementation:
    """What a server under test is called with and what it is able to do."""

    argv: tuple[str, ...]
    stores: tuple[str, ...]
    persistent_store: str
    timer_flags: tuple[str, ...]

    def ack_wait(self, seconds: float) -> AckWait:
        """The ack wait nearest to `seconds`: itself with test timers, else whole seconds."""
        if self.timer_flags:
            return AckWait(-round(seconds * 1000), seconds)
        return AckWait(max(1, round(seconds)), max(1, round(seconds)))

    def store_flags(self, store: str, directory: Path) -> list[str]:
        """The flags that select a store which lives in `directory`."""
        if store == "SQL":
            return ["-st", "SQL", "--sql_source", str(directory / "stan.db")]
        if store == "FILE":
            return ["-st", "FILE", "-dir", str(directory / "store")]
        return ["-st", store]


def find_original() -> str | None:
    """The binary of the original server, where tests may compare with it."""
    return os.environ.get("STAN_ORIGINAL_SERVER") or shutil.which("nats-streaming-server")


def implementation_under_test() -> Implementation:
    """The implementation that the environment names."""
    binary = os.environ.get("STAN_TEST_SERVER")
    if binary:
        return Implementation((binary,), ("MEMORY",), "FILE", ())
    argv = (sys.executable, "-m", "stan.cli.server")
    return Implementation(argv, ("MEMORY", "SQL"), "SQL", ("--test_timers",))


@dataclass
class StreamingServer:
    """One streaming server: how it is started, and the process while it runs.

    The store outlives the process, so `start` after `kill` is a restart. Each has a cluster ID
    of its own, so that many share one NATS server without seeing each other.
    """

    implementation: Implementation
    nats_url: str
    store: str
    directory: Path
    flags: Sequence[str] = ()
    quick_timers: bool = False
    cluster: str = field(default_factory=lambda: f"c-{secrets.token_hex(6)}")
    process: LoggedProcess | None = None

    def ack_wait(self, seconds: float) -> AckWait:
        """The ack wait nearest to `seconds` that this server takes."""
        if not self.quick_timers:
            return AckWait(max(1, round(seconds)), max(1, round(seconds)))
        return self.implementation.ack_wait(seconds)

    def arguments(self) -> list[str]:
        """The command line."""
        return [
            *self.implementation.argv,
            *("-ns", self.nats_url, "-cid", self.cluster),
            *self.implementation.store_flags(self.store, self.directory),
            *(self.implementation.timer_flags if self.quick_timers else ()),
            *self.flags,
        ]

    def start(self) -> None:
        """Start, and block until ready. Raises StartFailed with what the process printed."""
        self.process = LoggedProcess(self.arguments())
        try:
            self.process.wait_for(READY)
        except StartFailed:
            self.process.stop()
            raise

    def kill(self) -> None:
        """SIGKILL; what the store had committed stays."""
        assert self.process is not None
        self.process.kill()

    def stop(self) -> None:
        """End the process if it runs."""
        if self.process is not None:
            self.process.stop()

    def start_failure(self) -> str:
        """Start a server that must refuse to; return what it printed."""
        try:
            self.start()
        except StartFailed:
            assert self.process is not None
            assert self.process.process.returncode != 0
            return self.process.output
        self.stop()
        raise AssertionError(f"started although it should not: {self.arguments()}")
