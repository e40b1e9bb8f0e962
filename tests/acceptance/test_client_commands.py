"""stan-pub, stan-sub and stan-bench as a user runs them."""

import asyncio
import re
import secrets
import signal
from pathlib import Path

import pytest

import stan
from tests.acceptance.conftest import Run, Running, Start
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer

INTERRUPTED = "Received an interrupt, unsubscribing and closing connection..."
EXAMPLES = Path(__file__).parents[2] / "examples"
At = tuple[str, ...]


def fresh_id() -> str:
    return f"id-{secrets.token_hex(6)}"


async def leave(running: Running) -> None:
    """Interrupt stan-sub and see that it says good-bye."""
    running.process.send_signal(signal.SIGINT)
    outcome = await running.end()
    assert (outcome.code, outcome.stderr) == (0, "")
    assert INTERRUPTED in outcome.stdout


async def test_the_tutorial(run: Run, start: Start, at: At, channel: str) -> None:
    for text in ("msg one", "msg two", "msg three"):
        outcome = await run("pub", *at, channel, text)
        assert (outcome.code, outcome.stderr) == (0, "")
        assert outcome.stdout == f"Published [{channel}] : '{text}'\n"
    url, cluster = at[1], at[3]
    running = await start("sub", "--all", *at, "-id", "myID", channel)
    expected = [
        rf"Connected to {re.escape(url)} clusterID: \[{cluster}\] clientID: \[myID\]",
        "subscribing with DeliverAllAvailable",
        rf"Listening on \[{channel}\], clientID=\[myID\], qgroup=\[\] durable=\[\]",
    ]
    expected += [
        rf"\[#{n}\] Received on \[{channel}\]: 'sequence:{n} subject:\"{channel}\" "
        rf"data:\"{text}\" timestamp:\d{{19}} '"
        for n, text in enumerate(("msg one", "msg two", "msg three"), 1)
    ]
    for pattern in expected:
        line = await running.line()
        assert re.fullmatch(pattern, line), line
    await leave(running)


@pytest.mark.parametrize(
    ("flags", "first"),
    [
        ((), 1),
        (("-last",), 3),
        (("--seq", "2"), 2),
        (("--since=1h",), 1),
        (("--since", "1h", "--new_only"), 1),
        (("--new_only",), 4),
        (("--all=false",), 4),
    ],
)
async def test_where_stan_sub_begins(
    run: Run, start: Start, at: At, channel: str, flags: tuple[str, ...], first: int
) -> None:
    for number in range(1, 4):
        await run("pub", *at, "-id", fresh_id(), channel, f"msg {number}")
    running = await start("sub", *at, "-id", fresh_id(), *flags, channel)
    while not (line := await running.line()).startswith("Listening"):
        assert line
    await run("pub", *at, "-id", fresh_id(), channel, "msg 4")
    assert f"[#1] Received on [{channel}]: 'sequence:{first} " in await running.line()
    await leave(running)


async def test_a_durable_goes_on_where_it_was_until_it_is_unsubscribed(
    run: Run, start: Start, at: At, channel: str
) -> None:
    me = ("-id", fresh_id(), "--durable", "d")
    await run("pub", *at, channel, "one")
    for flags, received in (((), ["one"]), (("--unsub",), ["two"]), ((), ["one", "two"])):
        running = await start("sub", *at, *me, *flags, channel)
        while not (line := await running.line()).startswith("Listening"):
            assert line
        assert line.endswith("qgroup=[] durable=[d]")
        for text in received:
            assert f'data:"{text}"' in await running.line()
        await leave(running)
        if received == ["one"]:
            await run("pub", *at, channel, "two")


async def test_timestamps(start: Start, at: At, channel: str) -> None:
    running = await start("sub", "-t", *at, "-id", fresh_id(), channel)
    assert re.match(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d Connected to ", await running.line())


async def test_asynchronous_publish(run: Run, at: At, channel: str) -> None:
    outcome = await run("pub", "--async", *at, "-id", fresh_id(), channel, "hi")
    assert (outcome.code, outcome.stderr) == (0, "")
    first, second = outcome.stdout.splitlines()
    found = re.fullmatch(rf"Published \[{channel}\] : 'hi' \[guid: (\w{{22}})\]", first)
    assert found
    assert second == f"Received ACK for guid {found[1]}"


@pytest.mark.parametrize("command", ["pub", "sub"])
async def test_no_server(run: Run, command: str) -> None:
    url = "nats://127.0.0.1:1"
    outcome = await run(command, "-s", url, "foo", *(["x"] if command == "pub" else []))
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == (
        "Can't connect: nats: no servers available for connection.\n"
        f"Make sure a NATS Streaming Server is running at: {url}\n"
    )


async def test_no_streaming_server(run: Run, nats_server: NatsServer) -> None:
    outcome = await run("pub", "-s", nats_server.url, "-c", "nobody", "foo", "x")
    assert outcome.code == 1
    assert outcome.stderr.startswith(
        "Can't connect: stan: connect request timeout (possibly wrong cluster ID?).\n"
    )


async def test_refusals_are_one_line(run: Run, at: At) -> None:
    outcome = await run("pub", *at, "-id", fresh_id(), "foo.*", "x")
    assert outcome.code == 1
    assert outcome.stderr == "Error during publish: stan: invalid publish request\n"
    outcome = await run("sub", *at, "-id", fresh_id(), "foo.*")
    assert (outcome.code, outcome.stderr) == (1, "stan: invalid subject\n")


@pytest.mark.parametrize("command", ["pub", "sub", "bench"])
async def test_usage(run: Run, command: str) -> None:
    outcome = await run(command)
    assert outcome.code == (1 if command == "bench" else 0)
    assert outcome.stderr.startswith(f"Usage: stan-{command} [options]")
    outcome = await run(command, "-h")
    assert (outcome.code, outcome.stderr) == (0, "")
    outcome = await run(command, "-bogus")
    assert outcome.code == 2
    assert outcome.stderr.startswith("flag provided but not defined: -bogus\nUsage:")


async def test_stan_sub_outlives_a_server_that_forgot_it(
    run: Run, start_server: StartServer, nats_server: NatsServer, start: Start
) -> None:
    server = start_server(nats_url=nats_server.url)
    at = ("-s", nats_server.url, "-c", server.cluster)
    running = await start("sub", *at, "-id", "me", "foo")
    for _ in range(3):
        line = await running.line()
    assert line.startswith("Listening")
    server.kill()
    server.start()  # with an empty store: the next ping is answered by a stranger
    assert (await run("pub", *at, "foo", "later")).code == 0
    assert "[#1] Received on [foo]: 'sequence:1 " in await running.line()
    running.process.send_signal(signal.SIGINT)
    outcome = await running.end()
    assert outcome.code == 0
    first, second = outcome.stderr.splitlines()
    reason = "client has been replaced or is no longer registered"
    assert first == f"connection me interrupted: {reason}"
    assert second.startswith("connection me resumed after ")


async def test_an_interruption_ends_stan_bench_with_one_line(
    start_server: StartServer, nats_server: NatsServer, start: Start
) -> None:
    server = start_server(nats_url=nats_server.url)
    at = ("-s", nats_server.url, "-c", server.cluster)
    listener = await stan.connect(server.cluster, "listener", servers=nats_server.url)
    sub = await listener.subscribe("foo")
    running = await start("bench", *at, "-np", "1", "-ns", "1", "-n", "100000000", "foo")
    await sub.next_msg(20)
    server.kill()
    outcome = await running.end()
    assert outcome.code == 1
    assert "Traceback" not in outcome.stderr
    assert outcome.stderr.splitlines()[-1].endswith("stan: no streaming server listens")
    await asyncio.gather(listener.close(), return_exceptions=True)


async def test_a_reader_that_goes_away_ends_stan_sub_quietly(
    run: Run, start: Start, at: At, channel: str
) -> None:
    running = await start("sub", *at, "-id", fresh_id(), channel)
    for _ in range(3):
        await running.line()
    assert running.process.stdout is not None
    transport = running.process._transport  # type: ignore[attr-defined]
    transport.get_pipe_transport(1).close()
    await run("pub", *at, "-id", fresh_id(), channel, "x")
    assert running.process.stderr is not None
    errors = await running.process.stderr.read()
    assert await running.process.wait() == 1
    assert errors == b""


async def test_bench_reports_and_saves(run: Run, at: At, channel: str, tmp_path: Path) -> None:
    csv = tmp_path / "out.csv"
    flags = ("-np", "2", "-ns", "2", "-n", "1001", "-ms", "16", "-csv", str(csv))
    outcome = await run("bench", *at, "-id", fresh_id(), *flags, channel)
    assert outcome.code == 0
    assert outcome.stderr == "Starting benchmark [msgs=1001, msgsize=16, pubs=2, subs=2]\n"
    rate = r"[\d,]+ msgs/sec ~ [\d.]+ [KMG]?B/sec"
    client = rf"  \[\d\] {rate} \((\d+) msgs\)"
    spread = r"  min [\d,]+ \| avg [\d,]+ \| max [\d,]+ \| stddev [\d,]+ msgs"
    patterns = [rf"NATS Streaming Pub/Sub stats: {rate}", rf" Pub stats: {rate}"]
    patterns += [client, client, spread, rf" Sub stats: {rate}", client, client, spread]
    patterns += [f"Saved metric data in csv file {re.escape(str(csv))}"]
    found = [
        re.fullmatch(p, line) for p, line in zip(patterns, outcome.stdout.splitlines(), strict=True)
    ]
    assert all(found), outcome.stdout
    assert [m[1] for m in found if m and m.re.groups] == ["501", "500", "1001", "1001"]
    rows = csv.read_text().splitlines()
    assert rows[0] == "#RunID,ClientID,MsgCount,MsgBytes,MsgsPerSec,BytesPerSec,DurationSecs"
    assert [row.split(",")[1] for row in rows[1:]] == ["S0", "S1", "P0", "P1"]


async def test_bench_synchronous_and_with_a_queue_group(run: Run, at: At, channel: str) -> None:
    me = ("-id", fresh_id())
    outcome = await run("bench", *at, *me, "-sync", "-np", "1", "-n", "20", channel)
    assert outcome.code == 0
    assert outcome.stdout.startswith("Pub stats: ")
    group = ("-ns", "3", "-np", "1", "-qgroup", "g", "-io", "-n", "300")
    outcome = await run("bench", *at, *me, *group, channel)
    assert outcome.code == 0
    received = re.findall(r"\[\d\] .* \((\d+) msgs\)", outcome.stdout)
    assert sum(map(int, received)) == 300


async def test_bench_without_a_server(run: Run) -> None:
    outcome = await run("bench", "-s", "nats://127.0.0.1:1", "foo")
    assert outcome.code == 1
    assert outcome.stderr.splitlines()[1] == (
        "Publisher benchmark-pub-0 can't connect: nats: no servers available for connection"
    )


async def test_the_examples(run: Run, start: Start, at: At, channel: str) -> None:
    url, cluster = at[1], at[3]
    arguments = ("--server", url, "--cluster", cluster)
    outcome = await run(str(EXAMPLES / "stan-pub" / "main.py"), *arguments, channel, "hello")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout == f"Published [{channel}] : 'hello'\n"
    running = await start(str(EXAMPLES / "stan-sub" / "main.py"), *arguments, channel)
    assert (await running.line()).startswith(f"Listening on [{channel}]")
    assert 'data:"hello"' in await running.line()
    running.process.send_signal(signal.SIGINT)
    outcome = await running.end()
    assert "Traceback" not in outcome.stderr
