"""A group of streaming servers on one NATS server and one database, to be killed and frozen.

Nothing is judged here. Invariant: every process started is stopped by its own handle.
"""

import asyncio
import re
import secrets
import signal
import sqlite3
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.tools.crash_site import SqliteData
from tests.tools.processes import LoggedProcess, NatsServer, free_port
from tests.tools.streaming_server import READY

# A namespace in which process IDs mean something else, as on another machine.
ELSEWHERE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
STANDING_BY = "Starting in standby mode"


class Member:
    """One server of a group."""

    def __init__(self, argv: Sequence[str], folder: Path, source: str) -> None:
        self.source = source
        self.port = free_port()
        self.process = LoggedProcess([*argv, "-m", str(self.port)], folder)

    async def leads(self, times: int = 1) -> None:
        """Wait until it serves, for the nth time."""
        await asyncio.to_thread(self.process.wait_for, READY, nth=times)

    async def stands_by(self, times: int = 1) -> None:
        """Wait until it stands by, for the nth time."""
        await self.says(STANDING_BY, times)

    async def says(self, pattern: str, times: int = 1) -> str:
        """Wait until it logs a line like this."""
        return await asyncio.to_thread(self.process.wait_for, pattern, nth=times)

    def nats_port(self) -> int:
        """The port of the NATS server that it went to last."""
        said = re.findall(
            r"(?:Connected to|NATS Server at) \"?nats://[^:]*:(\d+)", self.process.output
        )
        return int(said[-1])

    async def kill(self) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self.process.kill)

    async def freeze(self) -> None:
        """SIGSTOP, at a moment when it holds no lock: nobody takes that of a SQLite file from
        a process that lives."""
        self.signal(signal.SIGSTOP)
        while await asyncio.to_thread(_is_locked, self.source):
            self.signal(signal.SIGCONT)
            await asyncio.sleep(0.01)  # a process does not tell when it is idle
            self.signal(signal.SIGSTOP)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server itself, whatever it runs under."""
        self.process.process.send_signal(number)

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page of its monitoring."""

        def fetch() -> tuple[int, str]:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()

        return await asyncio.to_thread(fetch)


def _is_locked(source: str) -> bool:
    """Whether somebody is writing into this SQLite file; of a database server, no."""
    if "://" in source:
        return False
    connection = sqlite3.connect(source, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


class Group:
    """Servers that share a database. It can be connected to, as a server can."""

    def __init__(self, source: str, folder: Path, nats: NatsServer) -> None:
        self.cluster = f"ft-{secrets.token_hex(4)}"
        self.nats_url = nats.url
        self.members: list[Member] = []
        self.source = source
        self._folder = folder

    def spawn(
        self, *flags: str, under: Sequence[str] = (), nats_url: str = "", source: str = ""
    ) -> Member:
        """Start one more member, which may go other ways to NATS and the database; do not wait
        for anything."""
        argv = (
            *under,
            *(sys.executable, "-m", "stan.cli.server", "-ns", nats_url or self.nats_url),
            *("-cid", self.cluster, "-st", "SQL", "--sql_source", source or self.source),
            *("-ft_group", "g", *flags),
        )
        member = Member(argv, self._folder, self.source)
        self.members.append(member)
        return member

    async def pair(self, *flags: str, under: Sequence[str] = ()) -> tuple[Member, Member]:
        """One that serves, and one that stands by."""
        active = self.spawn(*flags, under=under)
        await active.leads()
        standby = self.spawn(*flags, under=under)
        await standby.stands_by()
        return active, standby

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask a SQLite file behind everybody's back."""
        return await SqliteData(self._folder).query(sql)

    async def close(self) -> None:
        """Stop all."""
        for member in self.members:
            if member.process.process.poll() is None:
                member.signal(signal.SIGCONT)
            await asyncio.to_thread(member.process.stop)
