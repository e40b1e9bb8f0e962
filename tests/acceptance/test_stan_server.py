"""The command stan-server as a process: what it prints, how it ends, what it leaves behind."""

import asyncio
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

import stan
from tests.tools.processes import descendants
from tests.tools.streaming_server import READY

WAIT_S = 20.0


class Process:
    """A running stan-server and its output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def read_until(self, wanted: str) -> str:
        """The line that contains `wanted`; all lines up to it are kept."""
        async with asyncio.timeout(WAIT_S):
            assert self.process.stdout is not None
            while raw := await self.process.stdout.readline():
                self.lines.append(raw.decode().rstrip())
                if wanted in self.lines[-1]:
                    return self.lines[-1]
        raise AssertionError(f"{wanted!r} did not come:\n" + "\n".join(self.lines))

    async def end(self) -> int:
        """The rest of the output, and the exit code."""
        async with asyncio.timeout(WAIT_S):
            assert self.process.stdout is not None
            rest = await self.process.stdout.read()
            self.lines += rest.decode().splitlines()
            return await self.process.wait()

    async def close(self) -> None:
        """End the server if it runs, and our connections to it."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        await self.end()
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    @property
    def port(self) -> int:
        text = "\n".join(self.lines)
        match = re.search(r"Listening for client connections on \S+:(\d+)", text)
        assert match is not None
        return int(match[1])

    @property
    def texts(self) -> list[str]:
        """What the streaming server said, without time and level."""
        return [line.partition("STREAM: ")[2] for line in self.lines if "STREAM: " in line]

    async def connect(self) -> asyncio.StreamReader:
        """A connection to the NATS server, to learn from its end that it is gone."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)  # dropping the writer would close the connection
        assert (await reader.readline()).startswith(b"INFO ")
        return reader


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start servers by their flags; they are gone after the test."""
    started: list[Process] = []

    async def start(*flags: str, sidecar: bool = False, **environment: str) -> Process:
        listener = [] if sidecar else ["-a", "127.0.0.1"]
        if not sidecar and "-p" not in flags:
            listener += ["-p", "-1"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stan.cli.server", *listener, *flags),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **environment},
        )
        started.append(Process(process))
        return started[-1]

    yield start
    for one in started:
        await one.close()


async def gone(reader: asyncio.StreamReader) -> None:
    """Return when the other side of a connection is gone."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                if not await reader.read(4096):
                    return
            except ConnectionError:
                return


def command_lines(pid: int) -> list[bytes]:
    """What `ps` shows of the processes below one."""
    lines = [Path(f"/proc/{each}/cmdline").read_bytes() for each in descendants(pid)]
    assert lines
    return lines


async def test_the_banner_has_the_originals_order_and_interrupt_is_a_clean_end_115(
    start: Start,
) -> None:
    server = await start("--welcome")
    await server.read_until("stan-sub")
    nats = await server.connect()
    server.process.send_signal(signal.SIGINT)
    assert await server.end() == 0
    await gone(nats)
    expected = [
        r"Starting stan-server\[test-cluster\] version \S+",
        r"ServerID: [0-9A-Za-z]{22}",
        r"Python version: 3\.\S+",
        r"Git commit: \[.*\]",
        r"Engine: (pure|compiled)",
        r"Recovering the state\.\.\.",
        r"No recovered state",
        r"Message store is MEMORY",
        r"-+ Store Limits -+",
        *[r".*"] * 7,
        r"-+",
        r"Streaming Server is ready",
        r".*stan-pub -s nats://127\.0\.0\.1:\d+ foo \"msg one\"",
        r".*stan-sub -s nats://127\.0\.0\.1:\d+ --all foo",
        r"Shutting down\.",
    ]
    assert len(server.texts) == len(expected)
    for text, pattern in zip(server.texts, expected, strict=True):
        assert re.fullmatch(pattern, text)
    line = r"\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[(INF|WRN)\] .*"
    assert all(re.fullmatch(line, each) for each in server.lines)
    assert any(each.endswith("[INF] Server is ready") for each in server.lines)


async def test_terminate_exits_with_143_115(start: Start) -> None:
    server = await start()
    await server.read_until(READY)
    server.process.send_signal(signal.SIGTERM)
    assert await server.end() == 143


async def test_a_killed_server_leaves_no_nats_server_behind(start: Start) -> None:
    server = await start()
    await server.read_until(READY)
    nats = await server.connect()
    server.process.kill()
    await gone(nats)
    assert await server.end() == -signal.SIGKILL


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
async def test_a_nats_server_that_dies_ends_the_server(start: Start) -> None:
    server = await start()
    await server.read_until(READY)
    os.kill(descendants(server.process.pid)[-1], signal.SIGKILL)
    assert await server.end() == 1
    assert "The NATS server ended unexpectedly (exit code 137)" in server.texts


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("frozen", [False, True])
async def test_a_killed_guard_ends_the_server_and_leaves_no_nats_server(
    start: Start, frozen: bool
) -> None:
    server = await start()
    await server.read_until(READY)
    connection = await server.connect()
    guard, nats = descendants(server.process.pid)
    if frozen:  # it cannot end then, and must not be waited for either
        os.kill(nats, signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    try:
        assert await server.end() == 1
    finally:
        if frozen:
            os.kill(nats, signal.SIGCONT)
    await gone(connection)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs files without a name")
async def test_a_killed_guard_leaves_no_password_behind(start: Start, tmp_path: Path) -> None:
    server = await start("-user", "me", STAN_PASS="secret-word", TMPDIR=str(tmp_path))
    await server.read_until(READY)
    os.kill(descendants(server.process.pid)[0], signal.SIGKILL)
    assert await server.end() == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
async def test_a_password_opens_the_nats_server_and_shows_nowhere(start: Start) -> None:
    server = await start("-user", "me", STAN_PASS="secret-word")
    await server.read_until(READY)
    assert not any(b"secret-word" in line for line in command_lines(server.process.pid))
    url = f"nats://127.0.0.1:{server.port}"
    async with stan.connect(
        "test-cluster", "me", servers=[url], user="me", password="secret-word"
    ) as sc:
        await sc.publish("foo", b"hello")
    server.process.send_signal(signal.SIGINT)
    await server.end()
    assert not any("secret-word" in line for line in server.lines)


async def test_a_taken_port_is_one_clear_line(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = await start("-p", str(port))
        assert await server.end() == 1
    assert server.texts[-1] == (
        f"Failed to start: port {port} is already in use: choose another with -p, or use the"
        f" NATS server that runs there with -ns nats://127.0.0.1:{port}"
    )


async def test_a_missing_nats_server_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    # A Python that has no nats-server beside it, and a PATH without one.
    script = "import sys, runpy, sysconfig; sys.executable = '/nowhere/python';" + (
        "sysconfig.get_path = lambda name: '/nowhere';"
        "sys.argv[1:] = ['-p', '-1']; runpy.run_module('stan.cli.server', run_name='__main__')"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    server = Process(process)
    assert await server.end() == 1
    assert server.texts[-1].startswith("Failed to start: no nats-server program found")


async def test_an_unreachable_nats_server_is_one_clear_line(start: Start) -> None:
    server = await start("-ns", "nats://me:word@127.0.0.1:1", sidecar=True)
    assert await server.end() == 1
    assert server.texts[-1].startswith("Failed to start: cannot connect to nats://127.0.0.1:1")
    assert not any("word" in line for line in server.lines)


async def test_an_unusable_database_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "not-a-database.db"
    path.write_text("this is a diary, not a database; " * 100)
    server = await start("-st", "SQL", "--sql_source", str(path))
    assert await server.end() == 1
    assert server.lines[-1].count("Failed to start") <= 1
    failures = [text for text in server.texts if text.startswith("Failed to start")]
    assert len(failures) == 1
    assert "Traceback" not in "\n".join(server.lines)


async def test_a_newer_schema_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "stan.db"
    server = await start("-st", "SQL", "--sql_source", str(path))
    await server.read_until(READY)
    server.process.send_signal(signal.SIGINT)
    assert await server.end() == 0
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE stan_revision SET version_num = '9999'")
    database.close()
    server = await start("-st", "SQL", "--sql_source", str(path))
    assert await server.end() == 1
    failures = [text for text in server.texts if text.startswith("Failed to start")]
    assert len(failures) == 1
    assert "newer" in failures[0]


async def test_a_store_of_another_cluster_is_refused_018(start: Start, tmp_path: Path) -> None:
    store = ["-st", "SQL", "--sql_source", str(tmp_path / "stan.db")]
    server = await start(*store, "-cid", "a")
    await server.read_until(READY)
    server.process.send_signal(signal.SIGINT)
    await server.end()
    server = await start(*store, "-cid", "b")
    assert await server.end() == 1
    assert server.texts[-1] == (
        'Failed to start: cluster ID "b" does not match recovered value of "a"'
    )


async def test_a_second_server_of_a_cluster_is_refused_019(start: Start) -> None:
    first = await start()
    await first.read_until(READY)
    url = f"nats://127.0.0.1:{first.port}"
    second = await start("-ns", url, sidecar=True)
    assert await second.end() == 1
    assert second.texts[-1] == (
        'Failed to start: discovered another streaming server with cluster ID "test-cluster"'
    )
    other = await start("-ns", url, "-cid", "other", sidecar=True)
    await other.read_until(READY)
    other.process.send_signal(signal.SIGINT)
    assert await other.end() == 0


async def test_messages_survive_a_kill(start: Start, tmp_path: Path) -> None:
    store = ["-st", "SQL", "--sql_source", str(tmp_path / "stan.db")]
    server = await start(*store)
    await server.read_until(READY)
    sc = await stan.connect("test-cluster", "me", servers=[f"nats://127.0.0.1:{server.port}"])
    for number in range(10):
        await sc.publish("foo", b"%d" % number)
    server.process.kill()
    await server.end()
    server = await start(*store)
    await server.read_until("Recovered 1 channel(s)")
    await server.read_until(READY)
    url = f"nats://127.0.0.1:{server.port}"
    async with stan.connect("test-cluster", "other", servers=[url]) as again:
        subscription = await again.subscribe("foo", start_at="first")
        received = [(await anext(subscription)).data for _ in range(10)]
    assert received == [b"%d" % number for number in range(10)]


async def test_tracing_shows_the_protocol_and_no_payload(start: Start) -> None:
    server = await start("-SV")
    await server.read_until(READY)
    url = f"nats://127.0.0.1:{server.port}"
    async with stan.connect("test-cluster", "me", servers=[url]) as sc:
        await sc.subscribe("foo")
        await sc.publish("foo", b"a secret")
    line = await server.read_until("Received PubMsg")
    assert "[TRC] STREAM: Received PubMsg on _STAN.pub.test-cluster.foo: clientID=me" in line
    assert "data=8 bytes" in line
    await server.read_until("Sent MsgProto")
    await server.read_until("Received CloseRequest")
    server.process.send_signal(signal.SIGINT)
    await server.end()
    assert "a secret" not in "\n".join(server.lines)


async def test_reload_concerns_the_child_only(start: Start) -> None:
    server = await start()
    await server.read_until(READY)
    server.process.send_signal(signal.SIGHUP)
    await server.read_until("Reloaded server configuration")
    sidecar = await start("-ns", f"nats://127.0.0.1:{server.port}", "-cid", "other", sidecar=True)
    await sidecar.read_until(READY)
    sidecar.process.send_signal(signal.SIGHUP)
    line = await sidecar.read_until("Reload")
    assert line.endswith(
        "[WRN] STREAM: Reload supported only for embedded NATS Server's configuration"
    )


async def test_a_signal_is_sent_by_pid_file(start: Start, tmp_path: Path) -> None:
    pid_file = tmp_path / "stan.pid"
    server = await start("-P", str(pid_file))
    await server.read_until(READY)
    assert int(pid_file.read_text()) == server.process.pid
    sender = await start("-sl", f"quit={pid_file}")
    assert await sender.end() == 0
    assert await server.end() == 0
    assert not pid_file.exists()


async def test_a_pid_file_that_cannot_be_written_is_one_clear_line(
    start: Start, tmp_path: Path
) -> None:
    server = await start("-P", str(tmp_path / "missing" / "stan.pid"))
    assert await server.end() == 1
    assert [text for text in server.texts if "Failed" in text] == [
        f"Failed to start: cannot write the PID file {tmp_path}/missing/stan.pid:"
        " No such file or directory"
    ]


async def test_the_start_names_the_nats_server_connected_to(start: Start) -> None:
    nats = await start()
    await nats.read_until(READY)
    url = f"nats://127.0.0.1:{nats.port}"
    flags = ("-ns", f"nats://me:word@127.0.0.1:1,{url}", "-cid", "other")
    server = await start(*flags, sidecar=True)
    assert (await server.read_until("Connected to")).endswith(f"Connected to {url}")


@pytest.mark.parametrize(
    ("flags", "code", "output"),
    [
        (["-cidd", "x"], 1, "flag provided but not defined: -cidd (did you mean -cid?)"),
        (["-st", "FILE", "-dir", "x"], 1, "this server has no FILE store"),
        (["-clustered"], 1, "clustering by Raft is not offered"),
        (["-sc", "/nonexistent"], 1, "cannot read /nonexistent: No such file or directory"),
        (["-sl", "dance=1"], 1, 'unknown signal "dance"'),
        (["-sl", "quit"], 1, "which process?"),
        (["-help"], 0, "Streaming Server Options:"),
        (["-help_tls"], 0, "-tlscert"),
        (["-version"], 0, "stan-server version"),
        (["-check_config", "-mm", "5"], 0, "store_limits.max_msgs: 5"),
        (["-check_config", "-file_sync"], 0, "-file_sync has no effect"),
        (["-help"], 0, "Recognized; clustering is not offered (refused: not available)"),
        (["-check_config", "-encrypt"], 1, "encryption key required"),
        (["-check_config", "-mm", "-5"], 1, "max messages limit cannot be negative (-5)"),
    ],
)
async def test_what_is_not_serving_ends_at_once(
    start: Start, flags: list[str], code: int, output: str
) -> None:
    server = await start(*flags)
    assert await server.end() == code
    assert output in "\n".join(server.lines)
    assert code == 0 or len(server.lines) == 1
