"""The streaming server under test: which program it is, what it can do, one that runs.

Which streaming server is chosen by the environment: ours by default, or the binary named by
STAN_TEST_SERVER (the original, against which this suite was written). Everything that differs
between the two is here; no test asks which one it is talking to, only what it can do.
"""

import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools.processes import LoggedProcess, StartFailed

READY = "Streaming Server is ready"


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
    of its own, so that many share one NATS server without seeing each other. Without a NATS URL
    it starts a NATS server by itself; without a store the flags name one.
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
            *(("-ns", self.nats_url) if self.nats_url else ()),
            *("-cid", self.cluster),
            *(self.implementation.store_flags(self.store, self.directory) if self.store else ()),
            *(self.implementation.timer_flags if self.quick_timers else ()),
            *self.flags,
        ]

    def start(self) -> None:
        """Start, and block until ready. Raises StartFailed with what the process printed."""
        self.process = LoggedProcess(self.arguments())
        self.process.ready(READY)

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
