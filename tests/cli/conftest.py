"""The command `stan` as a subprocess: as a script runs it, and on a terminal of its own."""

import asyncio
import fcntl
import os
import pty
import sys
import termios
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.acceptance.conftest import heeded_sigint
from tests.tools.admin_service import AdminService
from tests.tools.processes import NatsServer
from tests.tools.servers import nats_server

__all__ = ["heeded_sigint", "nats_server"]

COMMAND = (sys.executable, "-m", "stan.cli.main")
LIMIT_S = 30.0
_OURS = ("NATS_", "STAN_", "XDG_", "NO_COLOR", "PYTHONUNBUFFERED", "COLUMNS", "LINES", "TERM")


def _control() -> None:
    """Have what is typed reach the process as signals, too."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Terminal:
    """A command on a terminal: what it wrote, and what is typed."""

    process: Process
    master: int
    written: str = ""
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def read(self) -> None:
        """What has arrived."""
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other side is gone
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.master)
        self.written += data.decode(errors="replace")
        self.grown.set()

    async def until(self, text: str) -> None:
        """Wait until it wrote this."""
        async with asyncio.timeout(LIMIT_S):
            while text not in self.written:
                self.grown.clear()
                await self.grown.wait()

    def type(self, text: str) -> None:
        """As somebody at the keyboard does."""
        os.write(self.master, text.encode())

    async def interrupt(self) -> tuple[int, str]:
        """Type Ctrl-C until it has ended: Python misses one that arrives in the moment before
        it begins to read."""
        while self.process.returncode is None:
            self.type("\x03")
            try:
                async with asyncio.timeout(2):
                    await self.process.wait()
            except TimeoutError:
                continue
        return await self.end()

    async def end(self) -> tuple[int, str]:
        """Wait for its end: the exit code, and all that it wrote."""
        async with asyncio.timeout(LIMIT_S):
            code = await self.process.wait()
        return code, self.written


Run = Callable[..., Awaitable[Outcome]]
Open = Callable[..., Awaitable[Terminal]]


@pytest.fixture
def environment(tmp_path: Path, nats_server: NatsServer) -> dict[str, str]:
    """The commands' environment: nothing of whoever runs the tests, and our NATS server."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    config = tmp_path / "config"
    config.mkdir()
    return clean | {
        "XDG_CONFIG_HOME": str(config),
        "NATS_URL": nats_server.url,
        "TERM": "xterm-256color",
        "COLUMNS": "140",
        "LINES": "40",
    }


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    """What a test started; what still runs ends with it."""
    started: list[Process] = []
    yield started
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def run(environment: dict[str, str], processes: list[Process]) -> Run:
    """Run ``stan`` to its end, as a script does: ``run("channel", "ls")``."""

    async def run_command(
        *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment | (env or {}),
        )
        processes.append(process)
        async with asyncio.timeout(LIMIT_S):
            stdout, stderr = await process.communicate(stdin)
        assert process.returncode is not None
        texts = (data.decode(errors="surrogateescape") for data in (stdout, stderr))
        return Outcome(process.returncode, *texts)

    return run_command


@pytest.fixture
async def open_terminal(
    environment: dict[str, str], processes: list[Process]
) -> AsyncIterator[Open]:
    """Run ``stan`` on a terminal."""
    opened: list[int] = []

    async def open_command(*arguments: str, env: dict[str, str] | None = None) -> Terminal:
        master, slave = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment | (env or {}),
            start_new_session=True,
            preexec_fn=_control,
        )
        os.close(slave)
        processes.append(process)
        opened.append(master)
        terminal = Terminal(process, master)
        asyncio.get_running_loop().add_reader(master, terminal.read)
        return terminal

    yield open_command
    for master in opened:
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)


@pytest.fixture
async def service(
    nats_server: NatsServer, environment: dict[str, str]
) -> AsyncIterator[AdminService]:
    """A service that answers what the test says, where the commands look for one."""
    service = await AdminService(nats_server.url).start()
    environment["STAN_CLUSTER"] = service.cluster
    yield service
    await service.stop()
