"""The site of a crash: a NATS server that lives on, a server to kill, a database.

The database is read behind the server's back, by plain SQL, once nothing can change any
more. Nothing is judged here. Invariant: every process started is stopped by its own handle.
"""

import asyncio
import json
import secrets
import signal
import sqlite3
import sys
import urllib.request
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tests.tools.databases import DatabaseServer
from tests.tools.processes import LoggedProcess, NatsServer, StartFailed, free_port
from tests.tools.streaming_server import READY

_SUBSCRIPTIONS = (
    "SELECT c.name, s.client_id, s.durable_name, s.queue_group, s.last_sent, s.in_flight "
    "FROM stan_subscriptions s JOIN stan_channels c ON c.channel_id = s.channel_id"
)
# epoll_wait, epoll_pwait and epoll_pwait2, as x86-64 and arm64 number them.
_EPOLL_WAITS = ("232", "281", "22", "441")


class Data(Protocol):
    """A database that a server keeps its store in."""

    source: str

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query on a connection of its own."""
        ...

    async def settled(self) -> None:
        """Wait until nothing that a killed server began can become true any more."""
        ...


class SqliteData:
    def __init__(self, folder: Path) -> None:
        self.source = str(folder / "stan.db")

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        def run() -> list[tuple[Any, ...]]:
            connection = sqlite3.connect(self.source, timeout=30)
            try:
                return connection.execute(sql).fetchall()
            finally:
                connection.close()

        return await asyncio.to_thread(run)

    async def settled(self) -> None:
        return None


class ServedData:
    """A database on a PostgreSQL or MariaDB server."""

    def __init__(self, server: DatabaseServer, database: str) -> None:
        self.source = server.source(database)
        self._server = server
        self._database = database

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        return await self._server.execute(sql, self._database)  # type: ignore[call-arg]

    async def settled(self) -> None:
        if self._server.name == "postgres":
            sql = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
        else:
            sql = (
                "SELECT count(*) FROM information_schema.processlist "
                "WHERE db = database() AND id <> connection_id()"
            )
        while (await self.query(sql))[0][0]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a database tells nobody when a session ends


@dataclass(frozen=True)
class StoredSubscription:
    channel: str
    client_id: str
    durable_name: str
    queue_group: str
    last_sent: int
    in_flight: frozenset[int]


class CrashSite:
    """The processes of one crash test."""

    def __init__(self, data: Data, flags: tuple[str, ...] = (), encryption_key: str = "") -> None:
        self.data = data
        self.cluster = f"crash-{secrets.token_hex(4)}"
        self.nats = NatsServer()
        self._monitor_port = free_port()
        self._key = encryption_key
        self._flags = flags + (
            ("-encryption_cipher", "CHACHA", "-encryption_key", encryption_key)
            if encryption_key
            else ()
        )
        self.process: LoggedProcess | None = None
        self.nonces: set[tuple[str, int, bytes]] = set()
        """Channel, sequence and nonce of every encrypted row that was read."""
        # Where the server finds both; a test may put a proxy in between.
        self.source = data.source
        self.nats_url = self.nats.url

    async def open(self) -> None:
        await asyncio.to_thread(self.nats.start, "-m", str(self._monitor_port))

    async def close(self) -> None:
        if self.process is not None:
            await asyncio.to_thread(self.process.stop)
        await asyncio.to_thread(self.nats.stop)

    def spawn(self) -> None:
        """Start the streaming server; do not wait for anything."""
        argv = (
            *(sys.executable, "-m", "stan.cli.server", "-ns", self.nats_url),
            *("-cid", self.cluster, "-mc", "0", "-mm", "0", "-mb", "0"),
            *("-st", "SQL", "--sql_source", self.source),
            *self._flags,
        )
        self.process = LoggedProcess(argv)

    async def ready(self) -> None:
        """Wait until the server serves. Raises StartFailed with what it printed."""
        assert self.process is not None
        await asyncio.to_thread(self.process.ready, READY)

    async def kill(self) -> None:
        """SIGKILL; then wait until all that the server had sent is at the NATS server, and
        nothing that it asked of the database is under way."""
        assert self.process is not None
        if self.process.process.poll() is not None:
            raise StartFailed(f"the server ended by itself:\n{self.process.output}")
        await asyncio.to_thread(self.process.kill)
        await self._forgotten_by_nats()
        await self.data.settled()

    async def freeze(self) -> LoggedProcess:
        """SIGSTOP at a moment when the server waits for something to happen: what it had
        decided before has left. Between a decision and its last system call nobody can keep
        a process from going on where it was stopped."""
        former = self.process
        assert former is not None
        former.process.send_signal(signal.SIGSTOP)
        while not _waits_for_events(former.process.pid):
            former.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.001)  # a process does not tell when it is idle
            former.process.send_signal(signal.SIGSTOP)
        return former

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.process.terminate()
        return await asyncio.to_thread(self.process.wait, 30)

    @property
    def output(self) -> str:
        """What the current server printed."""
        return self.process.output if self.process is not None else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def _forgotten_by_nats(self) -> None:
        """The NATS server closes a connection after it has read the last byte of it."""
        name = f"stan-server-{self.cluster}"
        url = f"http://127.0.0.1:{self._monitor_port}/connz?limit=4096"

        def names() -> list[str]:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return [each.get("name", "") for each in json.load(answer)["connections"]]

        while name in await asyncio.to_thread(names):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the monitoring port answers, it does not call

    # Reading behind the server's back.

    async def read_channels(self) -> dict[str, tuple[int, int, int, int]]:
        """By name: the ID, the first and the last sequence, and the count."""
        rows = await self.data.query(
            "SELECT name, channel_id, first_sequence, last_sequence, count FROM stan_channels"
        )
        return {name: (int(a), int(b), int(c), int(d)) for name, a, b, c, d in rows}

    async def read_messages(
        self, channel: str, channel_id: int, from_sequence: int
    ) -> list[tuple[int, bytes]]:
        """The rows of a channel from this sequence on. Raises InvalidTag for one that is not
        encrypted although it should be."""
        rows = await self.data.query(
            f"SELECT sequence, data FROM stan_messages WHERE channel_id={channel_id} "
            f"AND sequence>={from_sequence} ORDER BY sequence"
        )
        found = [(int(sequence), bytes(data)) for sequence, data in rows]
        if not self._key:
            return found
        self.nonces.update((channel, sequence, data[1:13]) for sequence, data in found)
        cipher = ChaCha20Poly1305(_channel_key(self._key, channel))
        return [(sequence, cipher.decrypt(data[1:13], data[13:], None)) for sequence, data in found]

    async def read_subscriptions(self) -> list[StoredSubscription]:
        """What is recorded about every subscription."""
        return [
            StoredSubscription(channel, client, durable, group, int(last), _expand(in_flight))
            for channel, client, durable, group, last, in_flight in await self.data.query(
                _SUBSCRIPTIONS
            )
        ]


def _waits_for_events(pid: int) -> bool:
    """Whether a process that is being stopped was in epoll_wait or its like. Where the system
    does not show it, the question cannot be asked and the answer is yes."""
    process = Path(f"/proc/{pid}")
    while (process / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
        pass
    try:
        number = (process / "syscall").read_text().split()[0]
    except OSError:
        return True
    return number in _EPOLL_WAITS


def _expand(text: str) -> frozenset[int]:
    """ "12-14,42" as numbers. Written anew here, so that the test does not trust the store."""
    numbers: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _channel_key(key: str, channel: str) -> bytes:
    """The original's way from the operator's key to a channel's, written anew as well."""
    text = sha256(key.encode()).digest() + b"." + channel.encode()
    return sha256(bytes(len(text)) + text).digest()
