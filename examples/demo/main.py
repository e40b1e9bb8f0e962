"""The tutorial, played for real: a server, publishers, subscribers, a crash.

Run it with `make demo`. It starts its own server on a free port with a database in a
temporary directory, runs the very commands a newcomer would type, and checks what they
print: it fails when a step does not prove what it says.
"""

import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from types import TracebackType

WAIT_S = 10.0
BOLD, DIM, GREEN, PLAIN = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("", "", "", "")
)


class DemoError(Exception):
    """A step did not show what it should."""


class Running:
    """A command that runs, its output readable line by line."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", f"stan.cli.{module}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def read_until(self, wanted: str) -> list[str]:
        """The lines up to the one that contains `wanted`."""
        seen: list[str] = []
        until = time.monotonic() + WAIT_S
        while not seen or wanted not in seen[-1]:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise DemoError("\n".join([*seen, f"... and then {wanted!r} did not come"]))
            seen.append(line)
        return seen

    def read_rest(self) -> list[str]:
        """The lines up to the end of the command."""
        lines = []
        while (line := self._lines.get(timeout=WAIT_S)) is not None:
            lines.append(line)
        return lines

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, as Ctrl-C does, and wait for the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(WAIT_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


class Server:
    """The streaming server of the demo; killed and started again on the same database."""

    def __init__(self, directory: str) -> None:
        self._arguments = ["-a", "127.0.0.1", "-p", str(find_free_port()), "-st", "SQL"]
        self._arguments += ["--sql_source", os.path.join(directory, "demo.db")]
        self.url = f"nats://127.0.0.1:{self._arguments[3]}"
        self._running: Running | None = None

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running is not None:
            self._running.end()

    def start(self) -> None:
        show_command("stan-server -st SQL --sql_source demo.db")
        self._running = Running("server", *self._arguments)
        for line in self._running.read_until("Streaming Server is ready"):
            text = line.partition("STREAM: ")[2]
            if text.startswith(("Starting", "Recovered", "No recovered", "Message", "Streaming")):
                show_output(line)

    def kill(self) -> None:
        show_command("kill -9 <the server>")
        assert self._running is not None
        self._running.end(signal.SIGKILL)


class Tutorial:
    """The steps, in order."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def play(self) -> None:
        title("A server that keeps its messages in a SQLite file")
        self._server.start()
        title("Publish three messages; each line appears when the message is on disk")
        for text in ("msg one", "msg two", "msg three"):
            self._publish(text)
        title("A subscriber that comes later chooses where to start")
        self._subscribe(["--all"], [1, 2, 3], "plain NATS would have forgotten all three")
        self._subscribe(["--last"], [3], "or only the latest one")
        self._subscribe(["--seq", "2"], [2, 3], "or from a sequence number on")
        self._subscribe(["--since", "1h"], [1, 2, 3], "or from a point in time on")
        title("A durable subscription: the server remembers how far it came")
        durable = ["--durable", "my-durable"]
        self._subscribe(durable, [1, 2, 3], "closed with Ctrl-C, its position is kept")
        self._publish("msg four")
        title("The server is killed without warning, and started again")
        self._server.kill()
        self._server.start()
        self._subscribe(durable, [4], "the durable goes on where it stopped; nothing was lost")

    def _publish(self, text: str) -> None:
        show_command(f'stan-pub foo "{text}"')
        command = Running("pub", "-s", self._server.url, "foo", text)
        lines = command.read_rest()
        show_output(*lines)
        if command.end() != 0 or lines != [f"Published [foo] : '{text}'"]:
            raise DemoError("the message was not published")

    def _subscribe(self, flags: list[str], sequences: list[int], proves: str) -> None:
        show_command(f"stan-sub {' '.join(flags)} -c test-cluster -id myID foo")
        command = Running(
            "sub", "-s", self._server.url, *flags, "-c", "test-cluster", "-id", "myID", "foo"
        )
        lines = command.read_until(f"[#{len(sequences)}] ")
        code = command.end()
        late = [line for line in command.read_rest() if line.startswith("[#")]
        show_output(*lines, *late)
        found = [line for line in lines if line.startswith("[#")] + late
        numbers = [int(line.partition("sequence:")[2].split()[0]) for line in found]
        if code != 0 or numbers != sequences:
            raise DemoError(f"expected the messages {sequences}, exit code 0; it was {code}")
        print(f"{GREEN}  -> {proves}{PLAIN}", flush=True)


def find_free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def title(text: str) -> None:
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def show_command(text: str) -> None:
    print(f"$ {text}", flush=True)


def show_output(*lines: str) -> None:
    for line in lines:
        print(f"{DIM}{line}{PLAIN}", flush=True)


def main() -> int:
    """Play the tutorial. Returns 0 when every step proved its point."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="stan-demo-") as directory,
        Server(directory) as server,
    ):
        print(f"Everything below really runs, on {server.url} (-s is left out for brevity).")
        try:
            Tutorial(server).play()
        except DemoError as error:
            print(f"\nthe demo failed: {error}", file=sys.stderr)
            return 1
    print(f"\nThat took {time.monotonic() - started:.0f} seconds. Now yours: make run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
