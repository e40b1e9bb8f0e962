"""Every command against a real server that allows changes, one server for all of them."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import stan
from tests.cli.conftest import Open, Run
from tests.tools.processes import NatsServer
from tests.tools.streaming_server import StreamingServer, implementation_under_test

MANY = 10_000
pytestmark = pytest.mark.skipif(
    find_spec("stan.server.admin") is None, reason="this server has no admin service"
)


@pytest.fixture(scope="module")
def server(
    nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StreamingServer]:
    """The server that all tests here administer."""
    flags = ("-mc", "0", "-admin", "full")
    directory = tmp_path_factory.mktemp("stan")
    server = StreamingServer(
        implementation_under_test(), nats_server.url, "MEMORY", directory, flags
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def channel(server: StreamingServer, environment: dict[str, str]) -> str:
    """A channel of one's own, on the server that the commands find."""
    environment["STAN_CLUSTER"] = server.cluster
    return f"channel-{secrets.token_hex(6)}"


@pytest.fixture
async def connection(
    server: StreamingServer, nats_server: NatsServer, channel: str
) -> AsyncIterator[stan.Connection]:
    """A client that the commands find."""
    client_id = f"client-{secrets.token_hex(6)}"
    connection = await stan.connect(server.cluster, client_id, servers=nats_server.url)
    yield connection
    try:
        await connection.close()
    except stan.StanError:
        pass  # a test freed its ID


async def fill(connection: stan.Connection, channel: str, count: int) -> None:
    for number in range(1, count + 1):
        await connection.publish_async(channel, f"message {number}".encode())
    await connection.flush()


async def answer(run: Run, *command: str) -> dict[str, object]:
    """What a command prints with --json."""
    outcome = await run(*command, "--json")
    assert (outcome.code, outcome.stderr) == (0, "")
    found: dict[str, object] = json.loads(outcome.stdout)
    return found


async def test_limits_of_its_own(run: Run, connection: stan.Connection, channel: str) -> None:
    row = await answer(run, "channel", "create", channel, "--max-msgs", "10", "--max-age", "2d")
    assert (row["name"], row["limits_source"]) == (channel, "stored")
    assert row["limits"]["max_age_s"] == 2 * 24 * 3600
    assert (await run("channel", "create", channel)).code == 1
    await fill(connection, channel, 5)
    limits = ("channel", "limits", channel)
    trial = await answer(run, *limits, "--max-msgs", "3", "--dry-run")
    assert (trial["limits"]["max_msgs"], trial["messages"]) == (3, 5)
    told = (await run(*limits, "--max-msgs", "3", "--dry-run")).stdout
    assert told.endswith("\nWould be removed\t2 messages\n")
    outcome = await run(*limits, "--max-msgs", "3")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "say -f to do it" in outcome.stderr
    row = await answer(run, *limits, "--max-msgs", "3", "-f")
    assert row["limits"] | {"max_msgs": 3, "max_age_s": 2 * 24 * 3600} == row["limits"]
    assert "Max msgs\t3\n" in (await run(*limits)).stdout
    assert (await answer(run, *limits, "--reset"))["limits_source"] == "global"
    assert (await answer(run, "channel", "info", channel))["messages"] == 3


async def test_looking_at_messages(
    run: Run, connection: stan.Connection, channel: str, tmp_path: Path
) -> None:
    await fill(connection, channel, 600)
    outcome = await run("channel", "peek", channel, "-n", "2", "--raw")
    assert outcome.stdout == "message 599\nmessage 600\n"
    outcome = await run("channel", "peek", channel, "-n", "500", "--json")
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [row["sequence"] for row in rows] == list(range(101, 601))
    assert (await run("channel", "get", channel, "7", "--raw")).stdout == "message 7"
    assert (await run("channel", "get", channel, "--last", "--raw")).stdout == "message 600"
    outcome = await run("channel", "get", channel, "--at", rows[0]["time"], "--json")
    found = json.loads(outcome.stdout)  # the first of those that were stored at that moment
    assert (found["time"], found["sequence"] <= 101) == (rows[0]["time"], True)
    outcome = await run("channel", "get", channel, "298", "-n", "300", "--raw")
    assert outcome.stdout.split("\n")[:-1] == [f"message {n}" for n in range(298, 598)]
    file = tmp_path / "payload"
    assert (await run("channel", "get", channel, "1", "-o", str(file))).code == 0
    assert file.read_bytes() == b"message 1"
    outcome = await run("channel", "get", channel, "601")
    assert (outcome.code, outcome.stdout) == (5, "")
    assert outcome.stderr == f"stan: channel {channel!r} has no message 601\n"
    outcome = await run("channel", "tail", channel, "--no-follow", "-n", "3", "--raw")
    assert outcome.stdout == "message 598\nmessage 599\nmessage 600\n"


async def test_tail_goes_on_as_messages_come(
    open_terminal: Open, connection: stan.Connection, channel: str
) -> None:
    await fill(connection, channel, 2)
    terminal = await open_terminal("channel", "tail", channel)
    await terminal.until("message 2")
    await connection.publish(channel, b"later")
    await terminal.until("later")
    code, written = await terminal.interrupt()
    assert code == 130
    assert "Traceback" not in written


async def test_purging(run: Run, connection: stan.Connection, channel: str) -> None:
    await fill(connection, channel, 20)
    purge = ("channel", "purge", channel)
    assert (await answer(run, *purge, "--keep", "15", "--dry-run"))["purged"] == 5
    assert (await answer(run, "channel", "info", channel))["messages"] == 20
    outcome = await run(*purge, "--keep", "15", "-f")
    assert outcome.stdout == f"Removed 5 messages of channel {channel!r}.\n"
    assert (await answer(run, *purge, "--up-to", "10", "-f"))["first_sequence"] == 11
    assert (await answer(run, *purge, "--before", "1h", "-f"))["purged"] == 0
    assert (await run(*purge)).code == 1
    assert (await answer(run, *purge, "-f"))["purged"] == 10
    row = await answer(run, "channel", "info", channel)
    assert (row["messages"], row["last_sequence"]) == (0, 20)


async def test_deleting_one_message(run: Run, connection: stan.Connection, channel: str) -> None:
    await fill(connection, channel, 3)
    outcome = await run("channel", "rmm", channel, "2", "--dry-run")
    assert outcome.stdout == f"Would delete message 2 of channel {channel!r}.\n"
    assert (await run("channel", "rmm", channel, "2")).code == 1
    outcome = await run("channel", "rmm", channel, "2", "-f")
    assert outcome.stdout == f"Deleted message 2 of channel {channel!r}.\n"
    assert (await run("channel", "peek", channel, "--raw")).stdout == "message 1\nmessage 3\n"
    outcome = await run("channel", "rmm", channel, "2", "-f")
    assert (outcome.code, outcome.stdout) == (5, "")
    assert outcome.stderr == f'stan: channel "{channel}" has no message 2\n'


async def test_deleting_a_channel(run: Run, connection: stan.Connection, channel: str) -> None:
    await fill(connection, channel, 3)
    await connection.subscribe(channel)
    outcome = await run("channel", "rm", channel, "--dry-run")
    assert outcome.stdout == (
        f"Would delete channel {channel!r} with 3 messages and 1 subscription.\n"
    )
    assert (await run("channel", "rm", channel)).code == 1
    outcome = await run("channel", "rm", channel, "-f")
    assert outcome.stdout == f"Deleted channel {channel!r} with 3 messages.\n"
    outcome = await run("channel", "info", channel)
    assert (outcome.code, outcome.stdout) == (5, "")
    assert outcome.stderr.startswith("stan: ")


async def test_a_durable(run: Run, connection: stan.Connection, channel: str) -> None:
    received = asyncio.Event()

    def receive(message: stan.Message) -> None:
        if message.sequence == 4:
            received.set()

    subscription = await connection.subscribe(
        channel, receive, durable="d", manual_acks=True, max_in_flight=4, start_at="first"
    )
    await fill(connection, channel, 10)
    await received.wait()
    name = f"{connection.client_id}/d"
    assert (await run("durable", "ls", channel, "--names")).stdout == f"{name}\n"
    assert name in (await run("durable", "ls", "--stalled", "--names")).stdout
    outcome = await run("durable", "ls", channel)
    assert outcome.stdout.splitlines()[1].split("\t")[:5] == [channel, name, "stalled", "1", "10"]
    row = await answer(run, "durable", "info", channel, "d")
    assert (row["pending"], row["unsent"], row["lag"], row["is_stalled"]) == (4, 6, 10, True)
    assert "Members" not in (await run("durable", "info", channel, name)).stdout
    outcome = await run("durable", "resend", channel, "d")
    assert outcome.stdout == f"Sent 4 messages to {name} again.\n"
    outcome = await run("durable", "move", channel, "d", "--to", "new", "--dry-run")
    assert outcome.stdout == (
        f"Would move {name}, which would get sequence 5 next, to sequence 11: "
        "its lag from 10 to 0, 4 in flight given up.\n"
    )
    assert (await run("durable", "move", channel, "d", "--to", "new")).code == 1
    assert (await run("durable", "move", channel, "d", "--to", "new", "-f")).code == 0
    assert (await answer(run, "durable", "info", channel, "d"))["lag"] == 0
    await subscription.close()
    row = await answer(run, "durable", "info", channel, "d")
    assert row["is_online"] is False
    outcome = await run("durable", "rm", channel, "d", "-f")
    assert outcome.stdout == f"Deleted {name} of channel {channel!r}.\n"
    assert (await run("durable", "info", channel, "d")).code == 5


async def test_a_durable_group(run: Run, connection: stan.Connection, channel: str) -> None:
    await connection.subscribe(channel, queue="workers", durable="d")
    await connection.subscribe(channel, queue="others")
    outcome = await run("durable", "ls", channel, "--names")
    assert sorted(outcome.stdout.split()) == ["d:workers", "others"]
    row = await answer(run, "durable", "info", channel, "d:workers")
    assert (row["queue_group"], row["is_durable"], row["members_count"]) == ("d:workers", True, 1)
    assert (await run("durable", "rm", channel, "d:workers", "-f")).code == 0
    assert (await run("durable", "ls", channel, "--names")).stdout == "others\n"


async def test_a_client(run: Run, connection: stan.Connection, channel: str) -> None:
    me = connection.client_id
    await connection.subscribe(channel)
    assert (await run("client", "ls", me, "--names")).stdout == f"{me}\n"
    assert f"{me}\t1\t" in (await run("client", "ls")).stdout
    outcome = await run("client", "info", me)
    assert outcome.stdout.startswith(f"Client\t{me}\nSubscriptions\t1\n")
    assert f"\n{channel}\t" in outcome.stdout
    outcome = await run("client", "kick", me, "--dry-run")
    assert outcome.stdout == f"Would disconnect {me} with 1 subscription.\n"
    assert (await run("client", "kick", me)).code == 1
    lost = asyncio.ensure_future(anext(aiter(connection.events())))
    assert (await run("client", "kick", me, "-f")).code == 0
    lost.cancel()
    outcome = await run("client", "kick", "nobody", "-f")
    assert (outcome.code, outcome.stdout) == (5, "")


async def test_the_server(run: Run, server: StreamingServer, channel: str) -> None:
    row = await answer(run, "server", "info")
    assert (row["cluster_id"], row["mode"], row["state"]) == (server.cluster, "full", "STANDALONE")
    assert f"Cluster\t{server.cluster}\n" in (await run("server", "info")).stdout
    outcome = await run("server", "limits")
    assert outcome.stdout.splitlines()[1].startswith("*\t")
    outcome = await run("server", "config", "--changed")
    assert "admin\tfull\tflag\n" in outcome.stdout
    assert (await run("server", "report")).code == 0
    outcome = await run("server", "reload")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == "stan: this server has no configuration to read again\n"
    outcome = await run("server", "handover", "-f")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("stan: ")


async def test_top(run: Run, connection: stan.Connection, channel: str) -> None:
    await fill(connection, channel, 10)
    found = await answer(run, "top", "--once", "--interval", "50ms")
    assert isinstance(found["channels"], list)
    assert channel in [row["name"] for row in found["channels"]]


async def test_a_server_for_readers(
    run: Run, nats_server: NatsServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    for mode, code in (("read", 4), ("off", 3)):
        server = StreamingServer(
            implementation_under_test(), nats_server.url, "MEMORY", tmp_path, ("-admin", mode)
        )
        server.start()
        try:
            environment["STAN_CLUSTER"] = server.cluster
            outcome = await run("channel", "create", "a")
        finally:
            server.stop()
        assert (outcome.code, outcome.stdout) == (code, "")
        assert "-admin full" in outcome.stderr
        assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["a b", "naïve.☕", "[red]x", "--dash", "-f", "'\"\\$(x)`"])
async def test_odd_names(run: Run, channel: str, name: str) -> None:
    outcome = await run("channel", "create", "--", name)
    assert (outcome.code, outcome.stderr) == (0, "")
    assert name in (await run("channel", "ls", "--names")).stdout.splitlines()
    outcome = await run("channel", "info", "--json", "--", name)
    assert json.loads(outcome.stdout)["name"] == name
    assert (await run("channel", "rm", "-f", "--", name)).code == 0


async def test_ten_thousand_channels(
    run: Run, open_terminal: Open, server: StreamingServer, channel: str
) -> None:
    async with stan.connect(server.cluster, "many", servers=server.nats_url) as connection:
        for number in range(MANY):
            await connection.publish_async(f"{channel}.{number:05}", b"x")
        await connection.flush()
    outcome = await run("channel", "ls", f"{channel}.*", "--names")
    assert outcome.stdout.split() == [f"{channel}.{number:05}" for number in range(MANY)]
    outcome = await run("channel", "ls", f"{channel}.*")
    assert len(outcome.stdout.splitlines()) == MANY + 1
    code, written = await (await open_terminal("channel", "ls", channel)).end()
    assert code == 0
    assert "--limit 0 lists all." in written
