"""Throughput: publish, publish and deliver, and one at a time, on memory and on disk.

`make bench` runs it. Each number is one run of stan-bench against a fresh server in its own
process, with 128-byte messages. When the original's server or bench program is on PATH the
same is run with them, in turns, and shown as ratios; `--compare` insists on the server.
Beside each rate stands the processor time that the server's process spent on a message;
the original's includes its NATS server, which is a process of its own with ours.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY = "Streaming Server is ready"
START_TIMEOUT_S = 30.0
RUN_TIMEOUT_S = 300.0
_LISTENING = re.compile(r"Listening for client connections on \S+:(\d+)")
_RATE = re.compile(r"(Pub|Sub) stats: ([\d,]+) msgs/sec")


@dataclass(frozen=True)
class Case:
    """One kind of load; `share` of the messages asked for are sent."""

    name: str
    flags: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Program:
    """Something to measure, or to measure with."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """What one run gave; `cpu_us` is per message, 0 when the system does not tell."""

    rates: dict[str, int]
    cpu_us: float

    def __str__(self) -> str:
        rates = " / ".join(f"{rate:>7,}" for rate in self.rates.values())
        return f"{rates:>17} msg/s" + (f" {self.cpu_us:>6.1f} us" if self.cpu_us else " " * 10)


CASES = (
    Case("publish", ("-np", "1", "-ns", "0"), 1.0),
    Case("publish / deliver", ("-np", "1", "-ns", "1"), 1.0),
    Case("one at a time", ("-np", "1", "-ns", "0", "-sync"), 0.02),
)
OUR_SERVER = Program("stan-server", (sys.executable, "-m", "stan.cli.server"))
OUR_BENCH = Program("stan-bench", (sys.executable, "-m", "stan.cli.bench"))


def main(argv: list[str]) -> int:
    """Run all cases. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="throughput", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--compare", action="store_true", help="fail without the original")
    options = parser.parse_args(argv)
    original = find_program("nats-streaming-server", "nats-streaming-server")
    if options.compare and original is None:
        print("nats-streaming-server is not on PATH: nothing to compare with", file=sys.stderr)
        return 1
    go_bench = find_program("stan-bench", "Go's stan-bench")
    for bench in (OUR_BENCH, go_bench):
        if bench is not None:
            print(f"\nmeasured with {bench.name}, {options.messages:,} messages of 128 bytes")
            measure_all(bench, original, options.messages)
    return 0


def measure_all(bench: Program, original: Program | None, messages: int) -> None:
    """Print a line for each store and case."""
    for store, original_store in (("memory", "MEMORY"), ("SQLite", "FILE")):
        for case in CASES:
            count = max(100, int(messages * case.share))
            ours = measure(OUR_SERVER, _our_flags(store), bench, case, count)
            line = f"  {store:<7} {case.name:<18} {ours}"
            if original is not None:
                flags = ["-st", original_store]
                theirs = measure(original, flags, bench, case, count)
                ratios = (ours.rates[kind] / rate for kind, rate in theirs.rates.items())
                line += f"   {original_store:<6} {theirs}   " + " / ".join(
                    f"{ratio:.2f}x" for ratio in ratios
                )
            print(line, flush=True)


def measure(server: Program, flags: list[str], bench: Program, case: Case, count: int) -> Figures:
    """One run against a fresh server."""
    with tempfile.TemporaryDirectory(prefix="stan-bench-") as directory:
        filled = [flag.replace("DIRECTORY", directory) for flag in flags]
        if "FILE" in flags:
            filled += ["-dir", directory]
        with serving(server, filled) as (url, pid):
            before = cpu_seconds(pid)
            done = subprocess.run(
                [*bench.command, "-s", url, "-n", str(count), "-ms", "128", *case.flags, "foo"],
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_S,
                check=False,
            )
            spent = cpu_seconds(pid) - before
    rates = {kind: int(rate.replace(",", "")) for kind, rate in _RATE.findall(done.stdout)}
    if not rates:
        raise SystemExit(f"{bench.name} failed: {done.stdout}{done.stderr}")
    return Figures(rates, spent * 1e6 / count)


@contextmanager
def serving(server: Program, flags: list[str]) -> Iterator[tuple[str, int]]:
    """A running server: its URL and process ID."""
    process = subprocess.Popen(
        [*server.command, "-a", "127.0.0.1", "-p", "-1", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(START_TIMEOUT_S, process.kill)
    watchdog.start()
    try:
        url = _await_ready(process)
        watchdog.cancel()
        yield url, process.pid
    finally:
        watchdog.cancel()
        process.send_signal(signal.SIGINT)
        process.communicate()


def _await_ready(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    url, said = "", []
    for line in process.stdout:
        said.append(line)
        match = _LISTENING.search(line)
        if match is not None:
            url = f"nats://127.0.0.1:{match[1]}"
        if READY in line:
            return url
    raise SystemExit("the server did not start:\n" + "".join(said))


def cpu_seconds(pid: int) -> float:
    """Processor time of one process so far; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def find_program(file: str, name: str) -> Program | None:
    """A compiled program on PATH. A script of that name is ours, installed beside Python."""
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        path = shutil.which(file, path=directory)
        if path is not None and Path(path).read_bytes()[:2] != b"#!":
            return Program(name, (path,))
    return None


def _our_flags(store: str) -> list[str]:
    if store == "memory":
        return ["-st", "MEMORY"]
    return ["-st", "SQL", "--sql_source", "DIRECTORY/stan.db"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
