"""How much the server holds: `python -m bench.capacity backlog|population|recovery`.

Prints memory and times of a real server on a generated SQLite file; asserts nothing. What
it found is in docs/durability.md.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import stan
from bench.processes import peak_memory_bytes, resident_bytes
from bench.seeding import CLUSTER, add_channels, add_durables, create
from tests.tools.processes import LoggedProcess, NatsServer
from tests.tools.streaming_server import READY

_MB = 1_000_000
_READY_TIMEOUT_S = 300.0


def main(argv: list[str]) -> int:
    """Run the command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _add(
        commands, "backlog", measure_backlog, messages=1_000_000, payload=1024, readers=10,
        read=100_000,
    )  # fmt: skip
    _add(
        commands, "population", measure_population, channels=10_000, durables=100_000,
        clients=1_000,
    )  # fmt: skip
    _add(commands, "recovery", measure_recovery, messages=10_000_000, channels=100, payload=64)
    options = vars(parser.parse_args(argv))
    command: Callable[..., None] = options.pop("command")
    with tempfile.TemporaryDirectory(prefix="stan-capacity-") as folder:
        command(Path(folder), **options)
    return 0


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[..., None],
    **numbers: int,
) -> None:
    parser = commands.add_parser(name)
    parser.set_defaults(command=command)
    for key, value in numbers.items():
        parser.add_argument(f"--{key}", type=int, default=value)


def measure_backlog(folder: Path, messages: int, payload: int, readers: int, read: int) -> None:
    """The peak memory while readers go through a long backlog from different places."""
    path = folder / "stan.db"
    create(path)
    add_channels(path, 1, messages, payload)
    with serving(path) as (url, server, _):
        before = resident_bytes(server.pid)
        took_s = asyncio.run(_read(url, messages, readers, read))
        peak = peak_memory_bytes(server.pid)
    total = readers * read
    print(
        f"{messages} messages of {payload} bytes, {readers} subscribers at different places, "
        f"{read} messages each: {total / took_s:.0f} msg/s, resident before "
        f"{before / _MB:.0f} MB, peak {peak / _MB:.0f} MB"
    )


async def _read(url: str, messages: int, readers: int, read: int) -> float:
    connections = []
    finished = [asyncio.Event() for _ in range(readers)]
    began_s = time.monotonic()
    for index in range(readers):
        connection = await stan.connect(CLUSTER, f"reader-{index}", servers=url)
        connections.append(connection)
        start = index * (messages - read) // max(readers - 1, 1) + 1

        def take(
            message: stan.Message,
            end: int = start + read - 1,
            done: asyncio.Event = finished[index],
        ) -> None:
            if message.sequence >= end:
                done.set()

        await connection.subscribe("c1", take, sequence=start)
    for done in finished:
        await done.wait()
    took_s = time.monotonic() - began_s
    for connection in connections:
        await connection.close()
    return took_s


def measure_population(folder: Path, channels: int, durables: int, clients: int) -> None:
    """Memory and start-up time with many channels, and with many subscriptions on them."""
    empty, wide, full = (folder / name for name in ("empty.db", "wide.db", "full.db"))
    for path in (empty, wide, full):
        create(path)
    for path in (wide, full):
        add_channels(path, channels, 1, 100)
    add_durables(full, channels, durables, clients)
    found = []
    for path in (empty, wide, full):
        with serving(path) as (_, server, took_s):
            found.append((resident_bytes(server.pid), took_s))
    (base, base_s), (with_channels, channels_s), (with_all, all_s) = found
    print(
        f"empty: {base / _MB:.0f} MB, ready after {base_s:.2f} s\n"
        f"{channels} channels: {with_channels / _MB:.0f} MB, "
        f"{(with_channels - base) / channels:.0f} bytes a channel, ready after {channels_s:.2f} s\n"
        f"and {durables} durable subscriptions of {clients} clients: {with_all / _MB:.0f} MB, "
        f"{(with_all - with_channels) / durables:.0f} bytes a subscription, "
        f"ready after {all_s:.2f} s"
    )


def measure_recovery(folder: Path, messages: int, channels: int, payload: int) -> None:
    """The time from the start of the process until it serves, with a long history."""
    empty, full = folder / "empty.db", folder / "full.db"
    create(empty)
    create(full)
    add_channels(full, channels, messages // channels, payload)
    with serving(empty) as (_, _, base_s):
        pass
    with serving(full) as (_, server, took_s):
        resident = resident_bytes(server.pid)
    print(
        f"{messages} messages in {channels} channels ({full.stat().st_size / _MB:.0f} MB): ready "
        f"after {took_s:.2f} s, an empty store after {base_s:.2f} s; resident {resident / _MB:.0f}"
        " MB"
    )


@contextmanager
def serving(path: Path, *flags: str) -> Iterator[tuple[str, LoggedProcess, float]]:
    """A NATS server and a streaming server on this file: URL, process, seconds to ready."""
    nats = NatsServer()
    nats.start()
    try:
        began_s = time.monotonic()
        argv = [
            *(sys.executable, "-m", "stan.cli.server", "-ns", nats.url, "-cid", CLUSTER),
            *("-st", "SQL", "--sql_source", str(path)),
            *("-mc", "0", "-msu", "0", "-mm", "0", "-mb", "0", *flags),
        ]
        server = LoggedProcess(argv).ready(READY, _READY_TIMEOUT_S)
        try:
            yield nats.url, server, time.monotonic() - began_s
        finally:
            server.stop()
    finally:
        nats.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
