"""How commands end: one line for each thing that can go wrong, and a code of its own."""

import asyncio
import signal
from asyncio.subprocess import PIPE

import pytest

from tests.cli.conftest import COMMAND, Open, Run
from tests.cli.test_tables import channel_row
from tests.tools.admin_service import AdminService, page
from tests.tools.processes import NatsServer

ASKING = (
    ("channel", "ls"),
    ("channel", "peek", "a"),
    ("channel", "purge", "a", "-f"),
    ("durable", "info", "a", "b"),
    ("client", "kick", "a", "-f"),
    ("server", "report"),
    ("top", "--once"),
)


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
async def test_no_nats_server(run: Run, command: tuple[str, ...]) -> None:
    outcome = await run(*command, "-s", "nats://me:secret@127.0.0.1:1")
    line = "stan: nats: no servers available for connection (nats://127.0.0.1:1)\n"
    assert (outcome.code, outcome.stdout, outcome.stderr) == (3, "", line)


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
async def test_no_admin_service(run: Run, command: tuple[str, ...]) -> None:
    outcome = await run(*command, "--cluster", "nobody")
    assert (outcome.code, outcome.stdout) == (3, "")
    assert outcome.stderr == (
        'stan: no admin service answers for cluster "nobody": is the server running, '
        "with -admin read or -admin full?\n"
    )


@pytest.mark.parametrize("command", [("pub", "a", "x"), ("sub", "a"), ("bench", "a")], ids=" ".join)
async def test_no_streaming_server(run: Run, command: tuple[str, ...]) -> None:
    outcome = await run(*command, "-c", "nobody", "--timeout", "100ms")
    assert outcome.stdout == ""
    assert outcome.code == (1 if command[0] == "bench" else 3)
    assert "connect request timeout (possibly wrong cluster ID?)" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


async def test_what_the_service_refuses(run: Run, service: AdminService) -> None:
    service.refuse("channel.create", 403, "changes are not allowed")
    outcome = await run("channel", "create", "a")
    assert (outcome.code, outcome.stdout) == (4, "")
    assert outcome.stderr == (
        "stan: changes are not allowed: changes need a server started with -admin full\n"
    )
    service.refuse("channel.info", 404, 'channel "a" does not exist')
    outcome = await run("channel", "info", "a")
    assert (outcome.code, outcome.stderr) == (5, 'stan: channel "a" does not exist\n')
    service.refuse("channel.create", 409, 'channel "a" exists')
    outcome = await run("channel", "create", "a")
    assert (outcome.code, outcome.stderr) == (1, 'stan: channel "a" exists\n')


async def test_a_durable_that_is_not_there(run: Run, service: AdminService) -> None:
    rows = [{"channel": "a", "client_id": "me", "durable": "d", "queue_group": ""}]
    service.answers["durable.list"] = lambda fields: page(fields, "durables", rows)
    outcome = await run("durable", "info", "a", "e")
    assert outcome.code == 5
    assert outcome.stderr == 'stan: channel "a" has no durable or group "e" (there are: me/d)\n'
    rows.append(rows[0] | {"client_id": "you"})
    outcome = await run("durable", "info", "a", "d")
    assert outcome.code == 2
    assert outcome.stderr.startswith('stan: "d" is not the name of one only: me/d, you/d\n')
    rows.clear()
    service.refuse("channel.info", 404, 'channel "b" does not exist')
    outcome = await run("durable", "info", "b", "d")
    assert (outcome.code, outcome.stderr) == (5, 'stan: channel "b" does not exist\n')


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("chanel",), "there is no command 'chanel'. Did you mean 'channel'?"),
        (("channel", "info"), "Missing argument 'CHANNEL'."),
        (("channel", "ls", "--bogus"), "No such option"),
        (("channel", "purge", "a", "--keep", "1", "--up-to", "2"), "give only one of"),
        (("channel", "purge", "a", "--before", "soon"), "'soon' is no time: write 2026-01-31T12"),
        (("channel", "create", "a", "--max-age", "long"), "invalid duration 'long'"),
        (("channel", "create", "a", "--max-bytes", "-1"), "it is negative"),
        (("channel", "get", "a"), "say which message: a SEQUENCE, --at TIME or --last"),
        (("durable", "move", "a", "b"), "say where to: --to first|last|new, --seq N or --at"),
        (("pub", "a..b", "x"), '"a..b": an empty token'),
        (("pub", "a.>", "x"), '"a.>": wildcards cannot be published to'),
        (("sub", "a.*"), '"a.*": wildcards cannot be subscribed to'),
        (("sub", "a", "--last", "--all"), "give only one of --all, --last"),
        (("channel", "ls", "--timeout", "x"), "--timeout: invalid duration 'x'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_a_line_that_cannot_be_understood(
    run: Run, command: tuple[str, ...], words: str
) -> None:
    outcome = await run(*command)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("stan: ")
    assert words in outcome.stderr
    assert outcome.stderr.count("\n") <= 2


async def test_a_missing_message_is_called_by_its_name(open_terminal: Open) -> None:
    code, written = await (await open_terminal("pub", "a")).end()
    assert code == 2
    assert "MESSAGE is missing: give it, or --file, or - for standard input" in written


async def test_a_reader_that_has_enough_is_no_trouble(
    environment: dict[str, str], service: AdminService
) -> None:
    rows = [channel_row(f"c{number:05}") for number in range(10_000)]
    service.answers["channel.list"] = lambda fields: page(fields, "channels", rows)
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", '"$@" | head -n 2', "sh", *COMMAND, "channel", "ls", "--names",
        stdout=PIPE, stderr=PIPE, env=environment,
    )  # fmt: skip
    assert await shell.communicate() == (b"c00000\nc00001\n", b"")


async def test_an_interrupt_while_it_watches(
    environment: dict[str, str], service: AdminService
) -> None:
    message = {"sequence": 1, "time": "2026-01-02T03:04:05Z", "data": "aGk=", "reply": ""}
    service.answers["channel.info"] = channel_row("a", last_sequence=1)
    service.answers["message.get"] = lambda fields: {
        "messages": [message] if fields["sequence"] == 1 else []
    }
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "channel", "tail", "a", stdout=PIPE, stderr=PIPE, env=environment
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"#1\t2026-01-02T03:04:05.000000000Z\thi\n"
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"\n")
    assert process.returncode == 130


async def test_an_option_may_stand_anywhere(run: Run, nats_server: NatsServer) -> None:
    for line in (
        ("-c", "nobody", "channel", "ls"),
        ("channel", "-c", "nobody", "ls"),
        ("channel", "ls", "-c", "nobody"),
        ("-c", "somebody", "channel", "ls", "-c", "nobody"),
    ):
        assert 'cluster "nobody"' in (await run(*line)).stderr


async def test_an_answer_of_another_version(run: Run, service: AdminService) -> None:
    service.answers["channel.purge"] = {"channel": "a"}
    outcome = await run("channel", "purge", "a", "-f")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == "stan: the server's answer has no 'purged': is it an older one?\n"
    service.answers["channel.info"] = channel_row("a", last_sequence=1)
    service.answers["message.get"] = {"error": {"code": 404, "description": "no message 5"}}
    outcome = await run("channel", "get", "a", "5")
    assert (outcome.code, outcome.stderr) == (5, "stan: channel 'a' has no message 5\n")


@pytest.mark.parametrize("cluster", ["a b", "*", "", "a..b"])
async def test_a_cluster_that_cannot_be(run: Run, cluster: str) -> None:
    outcome = await run("channel", "ls", "--cluster", cluster)
    assert outcome.code in (2, 3)
    assert outcome.stderr.startswith("stan: ")
    assert outcome.stderr.count("\n") == 1
