"""The drivers: small programs, one a language, that run a scenario with that language's client.

Each is built once into `build/` beside this file, with the published client unchanged. Here is
only how they are built and called; what they do is in their own sources.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .scenarios import Observation

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = HERE / "build"
BUILD_TIMEOUT_S = 600
RUN_TIMEOUT_S = 90


class DriverFailed(Exception):
    """The driver ended with an error; the text is what it printed."""


@dataclass(frozen=True)
class Driver:
    """One client: the tools it needs, how it is built, and the command that runs it."""

    name: str
    client: str
    tools: tuple[str, ...]
    build: Callable[[Path], None]
    command: Callable[[Path], list[str]]

    @property
    def directory(self) -> Path:
        """Where it is built."""
        return BUILD / self.name

    def missing(self) -> list[str]:
        """The tools that this machine lacks."""
        return [tool for tool in self.tools if shutil.which(tool) is None]

    def prepare(self) -> None:
        """Copy the sources and build them. Raises DriverFailed."""
        shutil.copytree(HERE / self.name, self.directory, dirs_exist_ok=True)
        self.build(self.directory)

    def run(self, scenario: str, url: str, cluster: str, prefix: str) -> list[Observation]:
        """Run one scenario; what it observed. Raises DriverFailed."""
        argv = [*self.command(self.directory), scenario, url, cluster, prefix]
        printed = call(argv, self.directory, RUN_TIMEOUT_S)
        return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def call(argv: list[str], directory: Path, timeout_s: float) -> str:
    """Run a command and return its output. Raises DriverFailed."""
    try:
        ended = subprocess.run(
            argv,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DriverFailed(f"{argv} did not end within {timeout_s:.0f} s") from None
    if ended.returncode != 0:
        raise DriverFailed(f"{argv} ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout


def build_nothing(directory: Path) -> None:
    """For what needs no building."""


def build_go(directory: Path) -> None:
    """Compile; the checksums of go.sum are verified."""
    call(["go", "build", "-o", "driver", "."], directory, BUILD_TIMEOUT_S)


def build_node(directory: Path) -> None:
    """Install exactly what the lock file says."""
    argv = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    call(argv, directory, BUILD_TIMEOUT_S)


def build_java(directory: Path) -> None:
    """Compile and gather the jars."""
    jars = "-DoutputDirectory=target/jars"
    argv = ["mvn", "-q", "-B", "compile", "dependency:copy-dependencies", jars]
    call(argv, directory, BUILD_TIMEOUT_S)


def java_command(directory: Path) -> list[str]:
    """The driver with the jars that Maven gathered."""
    target = directory / "target"
    return ["java", "-cp", f"{target / 'classes'}{os.pathsep}{target / 'jars' / '*'}", "Driver"]


DRIVERS = {
    driver.name: driver
    for driver in (
        Driver(
            "go",
            "stan.go 0.10.4",
            ("go",),
            build_go,
            lambda directory: [str(directory / "driver")],
        ),
        Driver(
            "node",
            "node-nats-streaming 0.3.2",
            ("node", "npm"),
            build_node,
            lambda directory: ["node", "driver.js"],
        ),
        Driver("java", "java-nats-streaming 2.2.3", ("java", "mvn"), build_java, java_command),
        Driver(
            "python",
            "this project's",
            (),
            build_nothing,
            lambda directory: [sys.executable, str(directory / "driver.py")],
        ),
    )
}
