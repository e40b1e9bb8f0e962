"""A throw-away PostgreSQL cluster, and the tables that the original server expects.

The cluster lives in a temporary directory and listens on loopback only. PostgreSQL refuses
to run as root, so root runs it as the user `postgres` that the package creates.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.processes import free_port

# The original creates no tables; their columns are a matter of record.
_TABLES = """
CREATE TABLE IF NOT EXISTS ServerInfo (uniquerow INT DEFAULT 1, id VARCHAR(1024), proto BYTEA,
    version INTEGER, PRIMARY KEY (uniquerow));
CREATE TABLE IF NOT EXISTS Clients (id VARCHAR(1024), hbinbox TEXT, proto BYTEA, PRIMARY KEY (id));
CREATE TABLE IF NOT EXISTS Channels (id INTEGER, name VARCHAR(1024) NOT NULL,
    maxseq BIGINT DEFAULT 0, maxmsgs INTEGER DEFAULT 0, maxbytes BIGINT DEFAULT 0,
    maxage BIGINT DEFAULT 0, deleted BOOL DEFAULT FALSE, PRIMARY KEY (id));
CREATE INDEX Idx_ChannelsName ON Channels (name);
CREATE TABLE IF NOT EXISTS Messages (id INTEGER, seq BIGINT, timestamp BIGINT, size INTEGER,
    data BYTEA, CONSTRAINT PK_MsgKey PRIMARY KEY (id, seq));
CREATE INDEX Idx_MsgsTimestamp ON Messages (timestamp);
CREATE TABLE IF NOT EXISTS Subscriptions (id INTEGER, subid BIGINT, lastsent BIGINT DEFAULT 0,
    proto BYTEA, deleted BOOL DEFAULT FALSE, CONSTRAINT PK_SubKey PRIMARY KEY (id, subid));
CREATE TABLE IF NOT EXISTS SubsPending (subid BIGINT, row BIGINT, seq BIGINT DEFAULT 0,
    lastsent BIGINT DEFAULT 0, pending BYTEA, acks BYTEA,
    CONSTRAINT PK_MsgPendingKey PRIMARY KEY (subid, row));
CREATE INDEX Idx_SubsPendingSeq ON SubsPending (seq);
CREATE TABLE IF NOT EXISTS StoreLock (id VARCHAR(30), tick BIGINT DEFAULT 0);
"""


def find_binaries() -> Path | None:
    """Where `initdb` and `postgres` are: on PATH or where Debian puts them."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Postgres:
    """A running cluster; `database` gives the name of a fresh, empty database."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="stan-bench-pg-"))
        self._data = self._folder / "data"
        self._count = 0
        self.port = free_port()
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
        self._run("initdb", "-D", str(self._data), "-U", "stan", "-A", "trust", "--no-sync")
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder} "
            "-c shared_buffers=256MB -c max_wal_size=4GB"
        )
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-o", options, "-l", log, "-w", "start")

    @property
    def pid(self) -> int:
        """The process that all others of the cluster are children of."""
        return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])

    def database(self, original_tables: bool) -> str:
        self._count += 1
        name = f"bench{self._count}"
        self._sql("postgres", f"CREATE DATABASE {name}")
        if original_tables:
            self._sql(name, _TABLES)
        return name

    def drop(self, name: str) -> None:
        self._sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _sql(self, database: str, sql: str) -> None:
        self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "stan", "-d", database,
                  "-v", "ON_ERROR_STOP=1", "-qc", sql)  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        path = self._binaries / program
        command = [str(path) if path.exists() else program, *arguments]
        if os.geteuid() == 0:
            command = [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                *command,
            ]
        done = subprocess.run(
            command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace').strip()}")
