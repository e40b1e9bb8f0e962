"""Types a transcript, as a reader would, on ports that are free, and says what appeared.

The chapter's files are copied into a folder of its own, so that nothing is left behind. Every
process is ended by its own handle.
"""

import re
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from stan.server.child.nats_server import find_nats_server
from tests.tools.processes import LoggedProcess, free_port
from tests.tutorial.transcript import CTRL_C, Command

LINE_TIMEOUT_S = 30.0
_STANDIN = Path(__file__).with_name("standin.py")
_PORTS = re.compile(r"(?<![\d.])(?:[46]22[2-7]|822[2-4])(?!\d)")
_READY = {"stan-server": "Streaming Server is ready", "nats-server": "Server is ready"}
_COMMANDS = {
    "stan-server": "stan.cli.server",
    "stan-pub": "stan.cli.pub",
    "stan-sub": "stan.cli.sub",
}


class Process(LoggedProcess):
    """A typed command whose lines can be waited for by their number."""

    def wait_for_lines(self, count: int) -> list[str]:
        """The first `count` lines, or fewer when it ended before."""
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: self._ended or len(self._lines) >= count, LINE_TIMEOUT_S
            )
            assert arrived, f"only {len(self._lines)} of {count} lines:\n{self.output}"
            return self._lines[:count]


class Desk:
    """A folder, terminals, and the ports that stand in for the usual ones."""

    def __init__(self, chapter: Path, folder: Path) -> None:
        self._chapter, self._folder = chapter, folder / "desk"
        self._bin = folder / "bin"
        self._ports: dict[str, str] = {}
        self._servers: list[tuple[str, Process]] = []
        self._bin.mkdir(parents=True)
        self._folder.mkdir()

    def __enter__(self) -> "Desk":
        self._copy(self._chapter)
        self._write_commands()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _, process in reversed(self._servers):
            process.stop()

    def _copy(self, chapter: Path) -> None:
        for source in chapter.iterdir():
            if source.suffix in (".py", ".conf", ".proto"):
                (self._folder / source.name).write_text(self._elsewhere(source.read_text()))

    def _write_commands(self) -> None:
        """What a reader has on PATH; our programs do not find it there themselves."""
        run = shlex.join([sys.executable, "-u", str(_STANDIN), self._port("4222")])
        nats = shlex.join([find_nats_server(), "-a", "127.0.0.1", "-p", self._port("4222")])
        url = f"NATS_URL=nats://127.0.0.1:{self._port('4222')}"
        words = {
            **{name: f"{run} {module}" for name, module in _COMMANDS.items()},
            "python": run,
            "nats-server": nats,
            "stan": shlex.join(["env", url, sys.executable, "-m", "stan.cli.main"]),
        }
        for name, command in words.items():
            script = self._bin / name
            script.write_text(f'#!/bin/sh\nPATH=${{PATH#*:}} exec {command} "$@"\n')
            script.chmod(0o755)

    def _port(self, usual: str) -> str:
        while usual not in self._ports:
            free = str(free_port())
            if free not in self._ports.values():
                self._ports[usual] = free
        return self._ports[usual]

    def _elsewhere(self, text: str) -> str:
        return _PORTS.sub(lambda found: self._port(found[0]), text)

    def _back(self, line: str) -> str:
        for usual, port in self._ports.items():
            line = re.sub(rf"(?<!\d){port}(?!\d)", usual, line)
        return line

    def start(self, text: str) -> Process:
        """Type a command."""
        plain = "exec " if not set("|>") & set(text) else ""
        line = f"PATH={shlex.quote(str(self._bin))}:$PATH; {plain}{self._elsewhere(text)}"
        return Process(["sh", "-c", line], self._folder)

    def play(self, command: Command) -> Command:
        """Type a command and what is typed meanwhile; returns it with what appeared."""
        if command.text.startswith("pkill "):
            self._kill(shlex.split(command.text)[1:])
            return command
        if command.is_server:
            return self._serve(command)
        process = self.start(command.text)
        try:
            return self._follow(command, process)
        finally:
            process.stop()

    def _serve(self, command: Command) -> Command:
        process = self.start(command.text)
        self._servers.append((command.text, process))
        if not command.lines:
            process.ready(_READY[command.text.split()[0]])
            return command
        process.ready(re.escape(command.lines[-1].partition("] ")[2].split("] ")[-1]))
        shown = [self._back(line) for line in process.output.splitlines()]
        return Command(command.text, list(shown[: len(command.lines)]))

    def _follow(self, command: Command, process: Process) -> Command:
        played = Command(command.text)
        count = 0
        for part in command.body:
            if isinstance(part, str) and part != CTRL_C:
                count += 1
                continue
            self._take(played, process, count)
            if isinstance(part, Command):
                played.body.append(self.play(part))
            else:
                played.body.append(CTRL_C)
                process.process.send_signal(signal.SIGINT)
        with suppress(Exception):
            process.process.wait(LINE_TIMEOUT_S)
        self._take(played, process, sys.maxsize)
        return played

    def _take(self, played: Command, process: Process, count: int) -> None:
        """Put down the lines that came since; all of them once there are `count`."""
        had = len(played.lines)
        lines = process.wait_for_lines(count)
        played.body.extend(self._back(line) for line in lines[had:])

    def _kill(self, words: list[str]) -> None:
        """`pkill [-9] [-o] NAME`, among the servers of this desk."""
        wanted = [entry for entry in self._servers if entry[0].startswith(words[-1])]
        for entry in wanted[:1] if "-o" in words else wanted:
            self._servers.remove(entry)
            if "-9" in words:
                entry[1].kill()
            else:
                entry[1].stop()


def play(commands: list[Command], desk: Desk) -> list[Command]:
    """Type all of them; returns what appeared."""
    return [desk.play(command) for command in commands]
