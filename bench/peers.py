"""The servers that are compared: how each is started fresh on each kind of store.

Ours runs a child NATS server, as the original embeds one. Settings are each server's
defaults but for the channel limits, which are raised so that nothing is dropped.
"""

import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.mariadb import BenchMariadb
from bench.postgres import BenchPostgres
from tests.tools.processes import LoggedProcess, StartFailed, free_port
from tests.tools.streaming_server import READY

# Of channels and of subscriptions.
UNLIMITED = ("-mc", "0", "-msu", "0")
CHECKOUT = Path(__file__).resolve().parent.parent
LIMITS = ["-mm", "5000000", "-mb", "4294967296"]


@dataclass(frozen=True)
class Peer:
    """A server program. `command` starts it in `folder`; `original` tells whose flags its
    store needs. Ours are named after their engines. One that only acks does not store."""

    name: str
    command: tuple[str, ...]
    original: bool
    folder: Path | None = None
    stores: bool = True


def bare() -> Peer:
    """Our server with nothing in it (`bench.bare`), from the checkout."""
    return Peer("bare", (sys.executable, "-m", "bench.bare"), False, CHECKOUT, stores=False)


def original(path: str) -> Peer | None:
    """The original server, found by path or on PATH."""
    found = shutil.which(path or "nats-streaming-server")
    return Peer("original", (found,), True) if found else None


Databases = Mapping[str, BenchPostgres | BenchMariadb]


class Running:
    """A peer running on a fresh store, as a context manager. Kinds: memory, file, or the name of
    one of these databases.

    "file" is the embedded durable store: SQLite for ours, FILE for the original. `more` are
    flags besides.
    """

    def __init__(
        self, peer: Peer, kind: str, databases: Databases, more: tuple[str, ...] = ()
    ) -> None:
        self.stores = peer.stores
        self._server = databases.get(kind)
        self.database_pid = self._server.pid if self._server is not None else 0
        self._database = ""
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="stan-bench-"))
        flags = ["-a", "127.0.0.1", "-p", str(self.port), *LIMITS, *more, *self._store(peer, kind)]
        command = [*peer.command, *flags]
        try:
            self.process = LoggedProcess(command, peer.folder).ready(READY)
        except StartFailed:
            self._clean()
            raise

    def _store(self, peer: Peer, kind: str) -> list[str]:
        if kind == "memory":
            return ["-st", "MEMORY"]
        if kind == "file" and peer.original:
            return ["-st", "FILE", "-dir", str(self._folder / "store")]
        if kind == "file":
            return ["-st", "SQL", "--sql_source", str(self._folder / "stan.db")]
        if self._server is None:
            raise RuntimeError(f"{kind} is not running")
        self._database = self._server.database(original_tables=peer.original)
        return ["-st", "SQL", *self._server.flags(self._database, peer.original)]

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
        self._clean()

    def _clean(self) -> None:
        if self._database and self._server is not None:
            self._server.drop(self._database)
        shutil.rmtree(self._folder, ignore_errors=True)
