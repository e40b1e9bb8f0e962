"""Fixtures: servers from tests.tools.servers, and the commands as subprocesses."""

import asyncio
import os
import secrets
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.tools.processes import NatsServer
from tests.tools.servers import nats_server, stan_server, start_server
from tests.tools.streaming_server import StreamingServer

__all__ = ["nats_server", "stan_server", "start_server"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Running:
    """A command that runs."""

    process: Process

    async def line(self) -> str:
        """The next line of its stdout, without the line end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(15):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def end(self) -> Outcome:
        """Wait for its end."""
        async with asyncio.timeout(15):
            stdout, stderr = await self.process.communicate()
        assert self.process.returncode is not None
        return Outcome(self.process.returncode, stdout.decode(), stderr.decode())


Start = Callable[..., Awaitable[Running]]
Run = Callable[..., Awaitable[Outcome]]


@pytest.fixture(scope="session", autouse=True)
def heeded_sigint() -> Iterator[None]:
    """A shell starts what runs in its background with SIGINT ignored, and children inherit
    that; the commands are to be stopped by it as in a terminal."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a command: ``start("pub", "-s", url, ...)``."""
    started: list[Process] = []

    async def start_command(name: str, *arguments: str) -> Running:
        target = (name,) if name.endswith(".py") else ("-m", f"stan.cli.{name}")
        # As a pipe of a user's: no help from an unbuffered interpreter.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *target, *arguments, stdout=PIPE, stderr=PIPE, env=environment
        )
        started.append(process)
        return Running(process)

    yield start_command
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
def run(start: Start) -> Run:
    """Run a command to its end."""

    async def run_command(name: str, *arguments: str) -> Outcome:
        return await (await start(name, *arguments)).end()

    return run_command


@pytest.fixture
def at(stan_server: StreamingServer, nats_server: NatsServer) -> tuple[str, ...]:
    """The flags that lead to the shared server."""
    return ("-s", nats_server.url, "-c", stan_server.cluster)


@pytest.fixture
def channel() -> str:
    """A channel of one's own."""
    return f"channel-{secrets.token_hex(6)}"
