"""Programs that run beside a test or a measurement: started, waited for, ended, reaped.

Nothing here knows what the programs are for, except that one of them is a NATS server.
Invariant: every process is ended by its own handle and waited for, also when it never
becomes ready.
"""

import re
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from stan.server.child.nats_server import find_nats_server
from tests.tools.reaper import forget, watch

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0


class StartFailed(RuntimeError):
    """The process ended before it was ready; the text is what it printed."""


def free_port() -> int:
    """A loopback TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def descendants(pid: int) -> list[int]:
    """The processes below one that are alive, as Linux tells."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    children = [int(word) for word in words]
    return children + [below for child in children for below in descendants(child)]


class LoggedProcess:
    """A child process whose output is read by a thread, so that a line can be waited for.

    It has a session of its own: Ctrl-C at the terminal ends the test, and the test ends it; when
    the test is killed, the reaper does.
    """

    def __init__(self, argv: Sequence[str], folder: Path | None = None) -> None:
        self.argv = list(argv)
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            cwd=folder,
        )
        watch(self.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process ID."""
        return self.process.pid

    @property
    def output(self) -> str:
        """All that the process has printed so far."""
        return "\n".join(self._lines)

    def wait_for(self, pattern: str, timeout_s: float = START_TIMEOUT_S, nth: int = 1) -> str:
        """Block until a line matches, for the nth time, and return it. Raises StartFailed at
        the end of the output or after the timeout."""

        def found() -> str | None:
            matching = [line for line in self._lines if re.search(pattern, line)]
            return matching[nth - 1] if len(matching) >= nth else None

        with self._changed:
            self._changed.wait_for(lambda: self._ended or found() is not None, timeout_s)
            line = found()
        if line is None:
            raise StartFailed(f"no line matches {pattern!r} from {self.argv}:\n{self.output}")
        return line

    def ready(self, pattern: str, timeout_s: float = START_TIMEOUT_S) -> "LoggedProcess":
        """Block until a line matches; a process that does not come to it is ended.
        Raises StartFailed."""
        try:
            self.wait_for(pattern, timeout_s)
        except StartFailed:
            self.stop()
            raise
        return self

    def wait(self, timeout_s: float = START_TIMEOUT_S) -> int:
        """Block until the process has ended; return its exit status."""
        status = self.process.wait(timeout_s)
        forget(self.pid)
        self._reader.join(timeout_s)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def stop(self) -> None:
        """End the process: politely, then not. No-op when it has ended."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
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


class NatsServer:
    """A nats-server on a free loopback port, to which it comes back when started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: LoggedProcess | None = None

    def start(self, *flags: str) -> "NatsServer":
        """Start with these flags besides, and block until ready. Raises StartFailed."""
        argv = [find_nats_server(), "-a", "127.0.0.1", "-p", str(self.port), *flags]
        self._process = LoggedProcess(argv).ready("Server is ready")
        return self

    @property
    def process(self) -> LoggedProcess:
        """The process, once started."""
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def stop(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            self._process.stop()
