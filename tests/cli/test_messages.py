"""stan pub, sub and bench, and what stan-pub and stan-sub learnt, against a real server."""

import asyncio
import base64
import json
import secrets
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stan.cli.naming import explain_channel
from stan.cli.payload import quote_text, readable
from tests.cli.conftest import Open, Outcome, Run
from tests.tools.processes import NatsServer
from tests.tools.servers import stan_server
from tests.tools.streaming_server import StreamingServer

__all__ = ["stan_server"]

Old = Callable[..., Awaitable[Outcome]]
BINARY = b"\x00\xff\n"


@pytest.fixture
def channel(stan_server: StreamingServer, environment: dict[str, str]) -> str:
    """A channel of one's own, on the server that the commands find."""
    environment["STAN_CLUSTER"] = stan_server.cluster
    return f"channel-{secrets.token_hex(6)}"


@pytest.fixture
def old(
    environment: dict[str, str],
    processes: list[Process],
    stan_server: StreamingServer,
    nats_server: NatsServer,
) -> Old:
    """Run stan-pub or stan-sub."""

    async def run_command(name: str, *arguments: str, stdin: bytes = b"") -> Outcome:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"stan.cli.{name}", "-s", nats_server.url, "-c",
            stan_server.cluster, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment,
        )  # fmt: skip
        processes.append(process)
        async with asyncio.timeout(30):
            stdout, stderr = await process.communicate(stdin)
        assert process.returncode is not None
        return Outcome(process.returncode, stdout.decode(), stderr.decode())

    return run_command


async def read_all(run: Run, channel: str) -> list[bytes]:
    outcome = await run("sub", channel, "--all", "--no-follow", "--json")
    assert (outcome.code, outcome.stderr) == (0, "")
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    return [base64.b64decode(row["data"]) for row in rows]


async def test_payloads_from_everywhere(run: Run, channel: str, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(BINARY)
    outcome = await run("pub", channel, "naïve ☕")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout == f'Published 10 B to "{channel}"\n'
    assert (await run("pub", channel, "--file", str(file), "-q")).stdout == ""
    assert (await run("pub", channel, stdin=b"piped\n")).code == 0
    assert (await run("pub", channel, "-", stdin=b"dash")).code == 0
    outcome = await run("pub", channel, "--lines", stdin=b"one\r\ntwo\n\nlast")
    assert outcome.stdout.startswith("Published 4 messages, 10 B, to ")
    file.write_bytes(b"a\nb\n")
    assert (await run("pub", channel, "--lines", "-i", str(file))).code == 0
    assert (await run("pub", channel, "again", "-n", "2")).code == 0
    assert await read_all(run, channel) == [
        "naïve ☕".encode(), BINARY, b"piped\n", b"dash", b"one", b"two", b"", b"last", b"a", b"b",
        b"again", b"again",
    ]  # fmt: skip


async def test_what_cannot_be_published(run: Run, channel: str, tmp_path: Path) -> None:
    outcome = await run("pub", channel, "-i", str(tmp_path / "nothing"))
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == f"stan: {tmp_path / 'nothing'}: No such file or directory\n"
    outcome = await run("pub", channel, stdin=b"x" * (2 << 20))
    assert outcome.code == 1
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.startswith("stan: ")


async def test_a_message_id_is_stored_once(run: Run, channel: str) -> None:
    for _ in range(2):
        assert (await run("pub", channel, "x", "--msg-id", "one")).code == 0
    assert await read_all(run, channel) == [b"x"]


async def test_the_forms(run: Run, channel: str) -> None:
    for data in ("naïve \x1b[1m".encode(), BINARY):
        await run("pub", channel, stdin=data)
    read = ("sub", channel, "--all", "-n", "2")
    outcome = await run(*read)
    first, second = (line.split("\t") for line in outcome.stdout.splitlines())
    assert (first[0], first[2]) == ("#1", "naïve \\x1b[1m")
    assert (second[0], second[2]) == ("#2", "\\000\\377\\n")
    outcome = await run(*read, "--quote")
    assert [line.split("\t")[2] for line in outcome.stdout.splitlines()] == [
        '"na\\303\\257ve \\033[1m"',
        '"\\000\\377\\n"',
    ]
    outcome = await run(*read, "--json")
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [row.get("text") for row in rows] == ["naïve \x1b[1m", None]
    outcome = await run(*read, "--raw")
    assert outcome.stdout.encode(errors="surrogateescape") == (
        "naïve \x1b[1m\n".encode() + BINARY + b"\n"
    )


async def test_a_count_acknowledges_what_was_shown_and_no_more(run: Run, channel: str) -> None:
    await run("pub", channel, "--lines", stdin=b"1\n2\n3\n4\n5\n")
    me = ("sub", channel, "--durable", "d", "--all", "--raw", "-n", "2")
    assert (await run(*me)).stdout == "1\n2\n"
    assert (await run(*me)).stdout == "3\n4\n"
    outcome = await run(*me[:-2], "--no-follow", "--unsubscribe")
    assert (outcome.code, outcome.stdout) == (0, "5\n")
    assert (await run(*me)).stdout == "1\n2\n"


async def test_an_interrupt_ends_stan_sub(open_terminal: Open, run: Run, channel: str) -> None:
    terminal = await open_terminal("sub", channel)
    await terminal.until("Ctrl-C ends.")
    await run("pub", channel, "hello")
    await terminal.until("hello")
    terminal.process.send_signal(signal.SIGINT)
    code, written = await terminal.end()
    assert code == 130
    assert "Traceback" not in written


async def test_bench(run: Run, channel: str, tmp_path: Path) -> None:
    flags = ("--pubs", "2", "--subs", "1", "--msgs", "1000", "--csv", str(tmp_path / "out.csv"))
    outcome = await run("bench", channel, *flags, "--json")
    assert (outcome.code, outcome.stderr) == (0, "")
    numbers = json.loads(outcome.stdout)
    assert (numbers["publish"]["messages"], numbers["receive"]["messages"]) == (1000, 1000)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4
    outcome = await run("bench", channel, "--msgs", "10")
    assert outcome.stdout.startswith("Pub stats: ")


# stan-pub and stan-sub


async def test_stan_sub_shows_utf8_as_text(old: Old, channel: str) -> None:
    assert (await old("pub", channel, "naïve ☕")).stdout == f"Published [{channel}] : 'naïve ☕'\n"
    outcome = await old("sub", "-n", "1", channel)
    assert outcome.code == 0
    assert 'data:"naïve ☕" timestamp:' in outcome.stdout
    outcome = await old("sub", "-n", "1", "--quote", channel)
    assert 'data:"na\\303\\257ve \\342\\230\\225" ' in outcome.stdout


async def test_stan_sub_raw_and_json_have_stdout_for_themselves(old: Old, channel: str) -> None:
    await old("pub", "-n", "3", channel, "x")
    outcome = await old("sub", "-follow=false", "--raw", channel)
    assert (outcome.code, outcome.stdout) == (0, "x\nx\nx\n")
    assert "Listening on" in outcome.stderr
    outcome = await old("sub", "-n", "2", "--json", channel)
    assert [json.loads(line)["text"] for line in outcome.stdout.splitlines()] == ["x", "x"]


async def test_stan_pub_reads_files_and_standard_input(
    old: Old, run: Run, channel: str, tmp_path: Path
) -> None:
    file = tmp_path / "payload"
    file.write_bytes(BINARY)
    outcome = await old("pub", "-file", str(file), channel)
    assert outcome.stdout == f"Published [{channel}] : 3 bytes\n"
    assert (await old("pub", channel, "-", stdin=b"piped")).code == 0
    assert await read_all(run, channel) == [BINARY, b"piped"]
    outcome = await old("pub", "-file", str(tmp_path / "nothing"), channel)
    assert outcome.code == 1
    assert outcome.stderr == f"Can't read {tmp_path / 'nothing'}: No such file or directory\n"


async def test_two_terminals_do_not_collide(old: Old, channel: str) -> None:
    received = asyncio.gather(*(old("sub", "-n", "1", channel) for _ in range(2)))
    published = asyncio.gather(*(old("pub", channel, "x") for _ in range(3)))
    for outcome in [*await received, *await published]:
        assert (outcome.code, outcome.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        ("pub", ("a..b", "x"), 'Can\'t publish: "a..b": an empty token'),
        ("pub", ("a.>", "x"), 'Can\'t publish: "a.>": wildcards cannot be published to'),
        ("sub", (".a",), 'Can\'t subscribe: ".a": an empty token'),
        ("pub", ("a",), "missing argument: <message>"),
        ("pub", ("a", "b", "c"), "unexpected argument: 'c' (quote what has spaces)"),
    ],
)
async def test_errors_name_what_is_wrong(
    old: Old, name: str, arguments: tuple[str, ...], line: str
) -> None:
    outcome = await old(name, *arguments)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr.splitlines()[0].startswith(line)


@pytest.mark.parametrize("name", ["pub", "sub", "bench"])
async def test_an_unknown_flag_points_to_help(old: Old, name: str) -> None:
    outcome = await old(name, "--bogus")
    assert outcome.code == 2
    first, usage, last = outcome.stderr.splitlines()
    assert first == "flag provided but not defined: -bogus"
    assert usage.startswith(f"Usage: stan-{name} [options] ")
    assert last == f"stan-{name} -help lists the options."


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ("", "is empty"),
        ("a.", "an empty token"),
        ("a.*.b", "wildcards cannot be published to"),
        ("a/b", "holds no /"),
        ("a b", "white space"),
        ("x" * 2000, "longer than 1024 bytes"),
        ("naïve.\udcff", None),
    ],
)
def test_channel_names(channel: str, words: str | None) -> None:
    found = explain_channel(channel, "published to")
    assert found is None if words is None else found is not None and words in found


def test_quoting() -> None:
    assert quote_text('é"\\\n\x1b'.encode()) == '"é\\"\\\\\\n\\033"'
    assert quote_text(b"plain") == '"plain"'
    assert quote_text(b"\xff") == '"\\377"'
    assert readable("é\n".encode()) == "é\\n"
