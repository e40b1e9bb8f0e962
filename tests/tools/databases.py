"""Database servers for the tests: started on free ports in a temporary folder, once a run.

Nothing here knows the store. Invariant: every process started is stopped by its id.
"""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.tools.processes import free_port


def find_program(name: str, *patterns: str) -> str | None:
    """A program on PATH, or where Debian keeps it."""
    found = [path for pattern in patterns for path in glob.glob(f"{pattern}/{name}")]
    return sorted(found)[-1] if found else shutil.which(name)


def run_as(account: str) -> dict[str, Any]:
    """Options of subprocess that drop root, which no database server accepts."""
    if os.getuid() != 0:
        return {}
    entry = pwd.getpwnam(account)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class DatabaseServer:
    """A server process, a folder, a port, and databases numbered as they are asked for."""

    name = ""
    account = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"stan-{self.name}-", dir="/tmp"))
        self.port = free_port()
        self._count = 0
        if os.getuid() == 0:
            entry = pwd.getpwnam(self.account)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)

    def run(self, *command: str) -> None:
        """Run a program of the server's to its end; its output only matters when it fails."""
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            check=False,
            **run_as(self.account),
        )
        assert done.returncode == 0, f"{command[0]} failed: {done.stdout.decode()}"

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    async def execute(self, sql: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    async def create_database(self) -> str:
        """An empty database of its own; its name."""
        self._count += 1
        name = f"stan{self._count}"
        await self.execute(f"CREATE DATABASE {name}")
        return name

    def source(self, database: str, *, port: int = 0, login: str = "") -> str:
        """The data source string of a database, as people have it from the original."""
        raise NotImplementedError

    def remove(self) -> None:
        """Stop and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresServer(DatabaseServer):
    name = "postgres"
    account = "postgres"
    bin_folder = "/usr/lib/postgresql/*/bin"
    settings = "-c fsync=off"

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be started here; empty when it can."""
        if not find_program("initdb", cls.bin_folder):
            return "PostgreSQL is not installed (Debian: postgresql)"
        try:
            import asyncpg  # noqa: F401
        except ImportError:
            return "asyncpg is not installed (the extra postgres)"
        return ""

    def __init__(self) -> None:
        super().__init__()
        self._ctl = find_program("pg_ctl", self.bin_folder) or ""
        data = str(self.folder / "data")
        self.run(
            find_program("initdb", self.bin_folder) or "",
            *("-D", data, "-A", "trust", "-U", "stan", "-E", "UTF8", "--locale=C", "-N"),
        )
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -h 127.0.0.1 {self.settings}"
        log = str(self.folder / "log")
        data = str(self.folder / "data")
        self.run(self._ctl, "-D", data, "-o", options, "-l", log, "-w", "start")

    @property
    def pid(self) -> int:
        """The process that all others of the server are children of."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def stop(self) -> None:
        self.run(self._ctl, "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    async def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        import asyncpg

        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="stan", database=database
        )
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    def source(self, database: str, *, port: int = 0, login: str = "stan") -> str:
        return f"postgres://{login}@127.0.0.1:{port or self.port}/{database}?sslmode=disable"


class MysqlServer(DatabaseServer):
    name = "mysql"
    account = "mysql"

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be started here; empty when it can."""
        if not (find_program("mariadbd", "/usr/sbin") and find_program("mariadb-install-db")):
            return "MariaDB is not installed (Debian: mariadb-server)"
        try:
            import asyncmy  # noqa: F401
        except ImportError:
            return "asyncmy is not installed (the extra mysql)"
        return ""

    def __init__(self) -> None:
        super().__init__()
        self._process: subprocess.Popen[bytes] | None = None
        self.run(
            find_program("mariadb-install-db") or "",
            "--no-defaults",
            f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
        self.start()

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    find_program("mariadbd", "/usr/sbin") or "",
                    "--no-defaults",
                    f"--datadir={self.folder}/data",
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    f"--socket={self.folder}/socket",
                    f"--pid-file={self.folder}/pid",
                    "--innodb-flush-log-at-trx-commit=1",
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **run_as(self.account),
            )
        self._wait_until_ready()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid if self._process is not None else 0

    def _wait_until_ready(self) -> None:
        self.run(
            find_program("mariadb-admin") or "",
            *("--no-defaults", f"--socket={self.folder}/socket", "-u", "root"),
            *("--wait=60", "--connect-timeout=60", "ping"),
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def execute(self, sql: str, database: str = "") -> list[tuple[Any, ...]]:
        import asyncmy

        connection = await asyncmy.connect(
            host="127.0.0.1", port=self.port, user="root", database=database or None
        )
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(sql)
                rows = await cursor.fetchall()
            await connection.commit()
            return [tuple(row) for row in rows or ()]
        finally:
            await connection.ensure_closed()

    def source(self, database: str, *, port: int = 0, login: str = "root") -> str:
        return f"{login}@tcp(127.0.0.1:{port or self.port})/{database}"
