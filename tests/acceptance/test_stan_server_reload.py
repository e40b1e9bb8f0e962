"""The running command is told to change: SIGHUP, SIGUSR1, and what systemd hears of it."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import stan
from tests.acceptance.test_stan_server import READY, WAIT_S, Process, Start, start

__all__ = ["start"]


class Supervisor:
    """What systemd would hear: one datagram a state."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    async def hear(self) -> list[str]:
        """The lines of the next state."""
        async with asyncio.timeout(WAIT_S):
            data = await asyncio.get_running_loop().sock_recv(self.socket, 1000)
        return data.decode().splitlines()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A supervisor to be named by NOTIFY_SOCKET."""
    one = Supervisor(tmp_path / "notify")
    yield one
    one.socket.close()


def write(path: Path, text: str) -> None:
    """A configuration for a server on a free port. Nobody ever finds half of it: uvloop hands a
    signal over twice when it comes right behind another one, so a reload may still be under way."""
    draft = path.with_suffix(".draft")
    draft.write_text(f"port: -1\nhost: 127.0.0.1\nstreaming {{\n{text}\n}}\n")
    draft.replace(path)


def said(server: Process, wanted: str) -> list[str]:
    """What the streaming server said about it, with the level."""
    lines = [line.partition(" [")[2] for line in server.lines if "STREAM: " in line]
    return [line for line in lines if wanted in line]


async def kept(server: Process) -> list[int]:
    """The sequences that a new subscriber finds in foo."""
    url = f"nats://127.0.0.1:{server.port}"
    async with stan.connect("test-cluster", "reader", servers=[url]) as sc:
        subscription = await sc.subscribe("foo", start_at="first")
        found = [(await anext(subscription)).sequence]
        while found[-1] < 10:
            found.append((await anext(subscription)).sequence)
    return found


async def test_limits_and_levels_are_reloaded(start: Start, tmp_path: Path) -> None:
    conf = tmp_path / "stan.conf"
    write(conf, "store_limits { max_msgs: 50 }")
    store = ("-st", "SQL", "--sql_source", str(tmp_path / "stan.db"))
    server = await start("-sc", str(conf), "-mb", "1MB", *store)
    await server.read_until(READY)
    url = f"nats://127.0.0.1:{server.port}"
    async with stan.connect("test-cluster", "writer", servers=[url]) as sc:
        for number in range(1, 11):
            await sc.publish("foo", b"%d" % number)
    write(conf, "store_limits { max_msgs: 3, max_bytes: 2MB }\nsd: true\nhb_interval: 5s")
    server.process.send_signal(signal.SIGHUP)
    await server.read_until("Reloaded the configuration")
    await server.read_until("Reloaded server configuration")  # the NATS server
    assert said(server, "Reload") == [
        "INF] STREAM: Reloaded store_limits.max_msgs: 3 (was 50)",
        "INF] STREAM: Reloaded stan_debug: true (was false)",
        "INF] STREAM: Reloaded the configuration",
    ]
    assert said(server, "restart") == [
        "WRN] STREAM: hb_interval is 5s in the configuration: it stays 30s until a restart"
    ]
    assert await kept(server) == [8, 9, 10]
    await server.read_until("[DBG] STREAM:")


async def test_a_faulty_file_changes_nothing(start: Start, tmp_path: Path) -> None:
    conf, pid_file = tmp_path / "stan.conf", tmp_path / "stan.pid"
    write(conf, "store_limits { max_msgs: 50 }")
    server = await start("-sc", str(conf), "-P", str(pid_file))
    await server.read_until(READY)
    write(conf, "sd: true\nstore_limits {\n  max_msgs: 3\n  max_age: '-1s'\n}")
    sender = await start("-sl", f"reload={pid_file}", sidecar=True)
    assert await sender.end() == 0
    line = await server.read_until("Reload")
    assert line.endswith(
        f"[ERR] STREAM: Reload failed, nothing was changed: {conf}:7: "
        'parameter "max_age": max age limit cannot be negative (-1s)'
    )
    write(conf, "store_limits { max_msgs: 50 }")
    server.process.send_signal(signal.SIGHUP)
    assert (await server.read_until("Reload")).endswith("Reloaded the configuration: no change")


async def test_a_sidecar_reloads_its_file_and_the_supervisor_follows(
    start: Start, tmp_path: Path, supervisor: Supervisor
) -> None:
    nats = await start()
    await nats.read_until(READY)
    conf = tmp_path / "stan.conf"
    conf.write_text("cid: other")
    url = f"nats://127.0.0.1:{nats.port}"
    server = await start(
        *("-ns", url, "-sc", str(conf)), sidecar=True, NOTIFY_SOCKET=supervisor.path
    )
    assert await supervisor.hear() == ["READY=1"]
    conf.write_text("cid: other\nlimits { mc: 5 }")
    server.process.send_signal(signal.SIGHUP)
    await server.read_until("Reloaded store_limits.max_channels: 5 (was 100)")
    reloading, moment = await supervisor.hear()
    assert reloading == "RELOADING=1"
    assert moment.removeprefix("MONOTONIC_USEC=").isdecimal()
    assert await supervisor.hear() == ["READY=1"]
    server.process.send_signal(signal.SIGTERM)
    assert await supervisor.hear() == ["STOPPING=1"]
    assert await server.end() == 143


async def test_the_log_moves_when_it_is_told_to(
    start: Start, tmp_path: Path, supervisor: Supervisor
) -> None:
    conf, one, two = tmp_path / "stan.conf", tmp_path / "one.log", tmp_path / "two.log"
    write(conf, f'log_file: "{one}"\nlog_format: json')
    server = await start("-sc", str(conf), "-DV", "-SDV", NOTIFY_SOCKET=supervisor.path)
    assert await supervisor.hear() == ["READY=1"]
    one.rename(tmp_path / "old.log")
    server.process.send_signal(signal.SIGUSR1)
    for text in (one, one, two):  # of two signals at once the second may be the first
        write(conf, f'log_file: "{text}"\nlog_format: json')
        server.process.send_signal(signal.SIGHUP)
        assert (await supervisor.hear())[0] == "RELOADING=1"
        assert await supervisor.hear() == ["READY=1"]
    server.process.send_signal(signal.SIGINT)
    assert await server.end() == 0
    assert server.lines == []
    old, again, new = (
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in (tmp_path / "old.log", one, two)
    )
    assert "File log re-opened" in [line["text"] for line in again]
    assert READY in [line["text"] for line in old]
    assert {"stan", "nats"} == {line["source"] for line in old}
    assert {"DBG", "INF"} <= {line["level"] for line in old}
    assert f"Reloaded log_file: {two} (was {one})" in [line["text"] for line in new]
    assert "Shutting down." in [line["text"] for line in new]
