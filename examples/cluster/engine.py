"""The stage of the cluster demo in a container engine: the services of docker-compose.yml.

The same parts as in `stage`, each a container; the load of the file itself is left out, as the
demo brings its own. Nothing is judged here. Invariant: what was started is taken down again,
with its volume, so that the next demo begins with an empty database.
"""

import signal
import subprocess
import time
from pathlib import Path

from stage import Cast, StageError, read_state

FILE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
PROJECT = "stan-demo"
# Three NATS servers, and the monitoring of two streaming servers, as the file publishes them.
NATS = {"nats-1": 4222, "nats-2": 4223, "nats-3": 4224}
STREAMING = {"stan-1": 8222, "stan-2": 8223}
DATABASE = "database"
START_S = 90.0
ANSWER_S = 10.0


def find_compose() -> list[str] | None:
    """The command of a usable engine with compose; None where there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            for asked in (["docker", "info"], [*command, "version"]):
                subprocess.run(asked, check=True, capture_output=True, timeout=ANSWER_S)
        except (OSError, subprocess.SubprocessError):
            continue
        return command
    return None


class Compose:
    """The command, for this project. Raises StageError with what the engine says."""

    def __init__(self, command: list[str]) -> None:
        self._command = [*command, "-p", PROJECT, "-f", str(FILE)]

    def run(self, *words: str) -> str:
        done = subprocess.run([*self._command, *words], capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise StageError(f"compose {' '.join(words)}: {said[-1] if said else 'failed'}")
        return done.stdout


class Container:
    """A service that can be killed and started again."""

    def __init__(self, name: str, compose: Compose) -> None:
        self.name = name
        self.runs = True
        self._compose = compose

    def start(self) -> None:
        self._compose.run("start", self.name)
        self.runs = True

    def end(self, number: signal.Signals) -> None:
        self._compose.run("kill", "-s", number.name, self.name)
        self.runs = False


class StreamingContainer(Container):
    """A member of the group."""

    def __init__(self, name: str, compose: Compose) -> None:
        super().__init__(name, compose)
        self._url = f"http://127.0.0.1:{STREAMING[name]}"

    @property
    def state(self) -> str:
        return read_state(self._url) if self.runs else "gone"

    def hand_over(self) -> None:
        """Let the other one lead: in its container it is the first process."""
        self._compose.run("exec", "-T", self.name, "stan-server", "-sl", "handover=1")


class DatabaseContainer:
    """PostgreSQL."""

    def __init__(self, compose: Compose) -> None:
        self._compose = compose

    def stop(self) -> None:
        self._compose.run("stop", DATABASE)

    def start(self) -> None:
        self._compose.run("start", DATABASE)


class EngineStage(Cast):
    """All of it. Raises StageError when the engine cannot build or start it."""

    place = "in containers"

    def __init__(self, command: list[str]) -> None:
        super().__init__()
        self._compose = Compose(command)
        self.urls = [f"nats://127.0.0.1:{port}" for port in NATS.values()]
        self.nats = [Container(name, self._compose) for name in NATS]
        self.servers = [StreamingContainer(name, self._compose) for name in STREAMING]
        self.database = DatabaseContainer(self._compose)

    def __enter__(self) -> "EngineStage":
        try:
            self._compose.run("up", "-d", *NATS, DATABASE, *STREAMING)
            if not self.wait_for_a_pair(time.monotonic() + START_S):
                raise StageError(self._compose.run("logs", "--tail", "5", *STREAMING))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._compose.run("down", "-v", "-t", "3")
