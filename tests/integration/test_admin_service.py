"""The operations by plain NATS requests, as any language makes them."""

import asyncio
import base64
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import nats
import nats.errors
import pytest
from nats.aio.client import Client

import stan
from stan.server.admin.schema import ANSWERS, ERROR
from stan.server.admin.service import write_answer
from tests.tools.processes import NatsServer
from tests.tools.streaming_client import until
from tests.tools.streaming_server import StreamingServer, implementation_under_test

Ask = Callable[..., Awaitable[dict[str, Any]]]
FULL = ("-admin", "full")


def serve(url: str, directory: Path, store: str, *flags: str) -> Iterator[StreamingServer]:
    server = StreamingServer(implementation_under_test(), url, store, directory, flags)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["MEMORY", "SQL"])
def server(
    request: pytest.FixtureRequest,
    nats_server: NatsServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StreamingServer]:
    directory = tmp_path_factory.mktemp("stan")
    yield from serve(nats_server.url, directory, request.param, *FULL)


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_server.url)
    yield connection
    await connection.close()


@pytest.fixture
async def ask(server: StreamingServer, client: Client) -> Ask:
    return asking(server, client)


@pytest.fixture
async def publisher(
    server: StreamingServer, nats_server: NatsServer, request: pytest.FixtureRequest
) -> AsyncIterator[stan.Connection]:
    name = f"client-{abs(hash(request.node.name))}"
    async with stan.connect(server.cluster, name, servers=nats_server.url) as connection:
        yield connection


def close(schema: Any) -> Any:
    """The same schema, which admits no field that it does not name."""
    if isinstance(schema, list):
        return [close(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: close(one) for name, one in schema.items()}
    return closed | ({"additionalProperties": False} if "properties" in schema else {})


def asking(server: StreamingServer, client: Client) -> Ask:
    async def ask(endpoint: str, payload: bytes | None = None, **fields: Any) -> dict[str, Any]:
        """The answer; an error has its code, which the headers must repeat."""
        data = json.dumps(fields).encode() if payload is None else payload
        subject = f"_STAN.admin.{server.cluster}.{endpoint}"
        async with asyncio.timeout(15):
            while True:
                try:
                    answer = await client.request(subject, data, timeout=5)
                    break
                except nats.errors.NoRespondersError:  # the service comes after the server
                    await asyncio.sleep(0.05)
        found: dict[str, Any] = json.loads(answer.data)
        if "error" in found:
            assert answer.headers is not None
            assert answer.headers["Nats-Service-Error-Code"] == str(found["error"]["code"])
            assert answer.headers["Nats-Service-Error"]
            jsonschema.validate(found, ERROR)
        else:
            assert answer.headers is None
            jsonschema.validate(found, close(ANSWERS[endpoint]))
        return found

    return ask


async def fill(publisher: stan.Connection, channel: str, count: int = 5) -> None:
    for number in range(1, count + 1):
        await publisher.publish(channel, b"message %d" % number)


async def test_the_service_says_what_it_is(ask: Ask, client: Client) -> None:
    info = await ask("server.info")
    assert (info["mode"], info["state"]) == ("full", "STANDALONE")
    found = await client.request("$SRV.INFO.stan-admin", b"", timeout=5)
    described = json.loads(found.data)
    assert described["metadata"]["cluster_id"] == info["cluster_id"]
    subjects = {endpoint["subject"] for endpoint in described["endpoints"]}
    assert f"_STAN.admin.{info['cluster_id']}.channel.purge" in subjects


async def test_the_schemas_are_published(ask: Ask) -> None:
    published = await ask("server.schema")
    info = json.loads(json.dumps(ANSWERS["channel.info"]))
    assert published["endpoints"]["channel.info"]["answer"] == info
    for one in published["endpoints"].values():
        for schema in ("request", "answer", "error"):
            jsonschema.Draft202012Validator.check_schema(one[schema])
    request = published["endpoints"]["channel.create"]["request"]
    jsonschema.validate({"channel": "a", "limits": {"max_msgs": None, "max_age_s": 1.5}}, request)
    for wrong in ({"limits": {"max_msgs": -1}}, {"more": 1}, {"channel": 5}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, request)


READS = [
    ("server.limits", {}),
    ("server.config", {}),
    ("channel.list", {}),
    ("durable.list", {}),
    ("client.list", {}),
]


@pytest.mark.parametrize(("endpoint", "fields"), READS)
async def test_a_list_is_as_its_schema_has_it(
    ask: Ask, publisher: stan.Connection, endpoint: str, fields: dict[str, Any]
) -> None:
    await publisher.subscribe("listed", durable="d")
    assert await ask(endpoint, **fields)
    me = publisher.client_id
    client = await ask("client.info", client_id=me)
    assert client["last_heard"]
    assert [one["durable"] for one in client["subscriptions"]] == ["d"]
    name = {"channel": "listed", "client_id": me, "durable": "d"}
    assert (await ask("durable.info", **name))["oversize"] == 0
    assert (await ask("durable.resend", **name))["resent"] == 0
    assert (await ask("client.disconnect", client_id=me, dry_run=True))["subscriptions"] == 1


async def test_a_purge_is_true_when_it_is_told(ask: Ask, publisher: stan.Connection) -> None:
    await fill(publisher, "purged")
    trial = await ask("channel.purge", channel="purged", keep=2, dry_run=True)
    assert (trial["purged"], trial["first_sequence"]) == (3, 1)
    told = await ask("channel.purge", channel="purged", keep=2)
    assert (told["purged"], told["first_sequence"], told["last_sequence"]) == (3, 4, 5)
    messages = (await ask("message.get", channel="purged", sequence=1, count=9))["messages"]
    assert [message["sequence"] for message in messages] == [4, 5]
    before = messages[1]["time"]
    assert (await ask("channel.purge", channel="purged", before=before))["purged"] == 1
    assert (await ask("channel.purge", channel="purged", all=True))["purged"] == 1
    await fill(publisher, "purged", 1)
    assert (await ask("channel.info", channel="purged"))["first_sequence"] == 6


async def test_a_durable_is_moved_while_it_receives(ask: Ask, publisher: stan.Connection) -> None:
    await fill(publisher, "moved")
    subscription = await publisher.subscribe("moved", durable="d", start_at="first")
    assert [message.sequence for message in await subscription.fetch(5, timeout=10)] == [
        *range(1, 6)
    ]
    name = {"channel": "moved", "client_id": publisher.client_id, "durable": "d"}
    moved = await ask("durable.move", **name, sequence=3)
    assert moved["sequence"] == 3
    assert [message.sequence for message in await subscription.fetch(3, timeout=10)] == [3, 4, 5]
    assert (await ask("durable.delete", **name))["error"]["code"] == 409
    assert (await ask("durable.delete", **name, force=True))["members"] == 1
    assert (await ask("durable.info", **name))["error"]["code"] == 404


async def test_a_client_id_is_freed(
    ask: Ask, server: StreamingServer, nats_server: NatsServer
) -> None:
    connection = await stan.connect(server.cluster, "stuck", servers=nats_server.url, resume=False)
    assert (await ask("client.disconnect", client_id="stuck"))["client_id"] == "stuck"
    assert (await ask("client.info", client_id="stuck"))["error"]["code"] == 404
    async with stan.connect(server.cluster, "stuck", servers=nats_server.url) as other:
        await other.publish("freed", b"x")
    with pytest.raises(stan.StanError):
        await connection.publish("freed", b"y")
    await connection.nats.close()


async def test_channels_come_and_go(ask: Ask, publisher: stan.Connection) -> None:
    assert (await ask("channel.create", channel="made"))["messages"] == 0
    assert (await ask("channel.create", channel="made"))["error"]["code"] == 409
    await publisher.subscribe("made")
    assert (await ask("channel.delete", channel="made"))["error"]["code"] == 409
    assert (await ask("channel.delete", channel="made", force=True))["subscriptions"] == 1
    assert (await ask("channel.info", channel="made"))["error"]["code"] == 404


async def test_a_channel_under_load_is_purged_and_nothing_acked_is_lost(
    ask: Ask, publisher: stan.Connection
) -> None:
    receipts = [await publisher.publish_async("busy", b"x" * 100) for _ in range(5000)]
    purged = [(await ask("channel.purge", channel="busy", keep=10))["purged"] for _ in range(5)]
    for receipt in receipts:
        await receipt
    channel = await ask("channel.info", channel="busy")
    assert channel["last_sequence"] == 5000
    assert channel["messages"] == 5000 - sum(purged)


@pytest.mark.parametrize(
    ("endpoint", "payload"),
    [
        ("channel.info", b"{"),
        ("channel.info", b"[1]"),
        ("channel.info", b'"a"'),
        ("channel.info", b"\xff\xfe"),
        ("channel.info", b"[" * 50_000),
        ("channel.info", b'{"channel": "' + b"x" * 70_000 + b'"}'),
        ("channel.info", b'{"channel": 5}'),
        ("channel.create", b'{"channel": "\\ud800"}'),
        ("channel.info", b'{"channel": "a", "more": 1}'),
        ("channel.list", b'{"limit": -1}'),
        ("channel.list", b'{"limit": true}'),
        ("channel.purge", b'{"channel": "a"}'),
        ("channel.purge", b'{"channel": "a", "all": true, "keep": 1}'),
        ("channel.create", b'{"channel": "a..b"}'),
        ("durable.move", b'{"channel": "a", "to": "elsewhere"}'),
        ("channel.limits", b'{"channel": "purged"}'),
        ("channel.limits", b'{"channel": "purged", "limits": {}}'),
        ("channel.limits", b'{"channel": "purged", "limits": []}'),
        ("channel.create", b'{"channel": "never", "limits": {"max_messages": 1}}'),
        ("channel.create", b'{"channel": "never", "limits": {"max_msgs": true}}'),
        ("channel.create", b'{"channel": "never", "limits": {"max_msgs": 1.5}}'),
        ("channel.create", b'{"channel": "never", "limits": {"max_msgs": -1}}'),
        ("channel.create", b'{"channel": "never", "limits": {"max_msgs": 9223372036854775808}}'),
        ("channel.create", b'{"channel": "never", "limits": {"max_age_s": 1e300}}'),
        ("channel.create", b'{"channel": "never", "limits": {"max_age_s": NaN}}'),
        ("message.publish", b'{"channel": "never"}'),
        ("message.publish", b'{"channel": "never", "data": "?"}'),
        ("message.publish", b'{"channel": "ne..er", "data": ""}'),
        ("message.delete", b'{"channel": "purged"}'),
    ],
)
async def test_nonsense_is_refused(ask: Ask, endpoint: str, payload: bytes) -> None:
    error = (await ask(endpoint, payload))["error"]
    assert error["code"] == 400
    assert error["description"]


@pytest.mark.parametrize("endpoint", ["channel.info", "channel.purge", "channel.delete"])
async def test_what_does_not_exist_is_not_found(ask: Ask, endpoint: str) -> None:
    more = {"all": True} if endpoint == "channel.purge" else {}
    assert (await ask(endpoint, channel="nowhere", **more))["error"]["code"] == 404


async def test_a_channel_has_limits_of_its_own(ask: Ask, publisher: stan.Connection) -> None:
    made = await ask("channel.create", channel="own", limits={"max_msgs": 4, "max_age_s": 0.5e6})
    assert (made["limits"]["max_msgs"], made["limits"]["max_age_s"]) == (4, 500_000)
    assert made["limits_source"] == "stored"
    await fill(publisher, "own", 6)
    assert (await ask("channel.info", channel="own"))["first_sequence"] == 3
    wanted = {"channel": "own", "limits": {"max_msgs": 2, "max_subs": 0}}
    trial = await ask("channel.limits", **wanted, dry_run=True)
    assert (trial["limits"]["max_msgs"], trial["messages"]) == (2, 4)
    told = await ask("channel.limits", **wanted)
    assert told["limits"] == trial["limits"]
    assert (told["limits"]["max_age_s"], told["limits"]["max_subs"]) == (500_000, 0)

    async def is_shorter() -> bool:
        return bool((await ask("channel.info", channel="own"))["first_sequence"] == 5)

    await until(is_shorter)
    told = await ask("channel.limits", channel="own", limits={"max_msgs": None})
    assert (told["limits"]["max_msgs"], told["limits"]["max_age_s"]) == (1_000_000, 500_000)
    assert (await ask("channel.limits", channel="own", limits=None))["limits_source"] == "global"


async def test_one_message_is_deleted_and_readers_go_past_it(
    ask: Ask, publisher: stan.Connection
) -> None:
    await fill(publisher, "holed")
    name = {"channel": "holed", "sequence": 3}
    assert (await ask("message.delete", **name, dry_run=True))["deleted"] == 1
    assert (await ask("message.delete", **name)) == {**name, "deleted": 1}
    assert (await ask("message.delete", **name))["error"]["code"] == 404
    for sequence in (0, 6):
        error = (await ask("message.delete", channel="holed", sequence=sequence))["error"]
        assert error["code"] == 404
    assert (await ask("channel.info", channel="holed"))["messages"] == 4
    subscription = await publisher.subscribe("holed", start_at="first")
    received = [message.sequence for message in await subscription.fetch(4, timeout=10)]
    assert received == [1, 2, 4, 5]


async def test_an_operator_publishes(ask: Ask, publisher: stan.Connection) -> None:
    subscription = await publisher.subscribe("posted")
    data = base64.b64encode(b"\x00\xff" * 300_000).decode()  # more than other requests may have
    wanted = {"channel": "posted", "data": data, "reply": "answer.here"}
    assert "sequence" not in await ask("message.publish", **wanted, dry_run=True)
    assert await ask("message.publish", **wanted) == {"channel": "posted", "sequence": 1}
    (message,) = await subscription.fetch(1, timeout=10)
    assert (message.data, message.reply) == (b"\x00\xff" * 300_000, "answer.here")


async def test_a_change_is_a_line_without_what_a_message_holds(
    ask: Ask, server: StreamingServer
) -> None:
    data = base64.b64encode(b"a secret of theirs").decode()
    await ask("message.publish", channel="logged", data=data)
    assert server.process is not None
    # A second change's line comes after all that the first one had to say.
    await ask("channel.create", channel="after")
    line = server.process.wait_for("channel=logged")
    server.process.wait_for("channel=after")
    assert f"data={len(data)} characters" in line
    assert server.process.output.count("channel=logged") == 1
    assert data not in server.process.output


async def test_a_server_that_may_only_be_read_changes_nothing(
    nats_server: NatsServer, client: Client, tmp_path: Path
) -> None:
    for server in serve(nats_server.url, tmp_path, "MEMORY", "-admin", "read"):
        ask = asking(server, client)
        assert (await ask("channel.create", channel="a"))["error"]["code"] == 403
        assert (await ask("channel.list"))["total"] == 0


@pytest.mark.parametrize(("flags", "mode"), [((), "read"), (("-admin", "off"), "")])
async def test_looking_is_offered_from_the_start_unless_it_is_off(
    nats_server: NatsServer, client: Client, tmp_path: Path, flags: tuple[str, ...], mode: str
) -> None:
    for server in serve(nats_server.url, tmp_path, "MEMORY", *flags):
        asking = client.request(f"_STAN.admin.{server.cluster}.server.info", b"", timeout=5)
        if mode:
            assert json.loads((await asking).data)["mode"] == mode
        else:
            with pytest.raises(nats.errors.NoRespondersError):
                await asking


# The outbox of the server's own database.


async def write_outbox(server: StreamingServer, *rows: tuple[str, bytes]) -> None:
    """Rows as any program writes them."""

    def insert() -> None:
        database = sqlite3.connect(server.directory / "stan.db", timeout=10)
        with contextlib.closing(database), database:
            database.executemany("INSERT INTO stan_outbox (channel, data) VALUES (?, ?)", rows)

    await asyncio.to_thread(insert)


async def test_parked_rows_are_told_moved_back_and_dropped(
    ask: Ask, server: StreamingServer
) -> None:
    if server.store == "MEMORY":
        for endpoint in ("outbox.list", "outbox.wake"):
            assert (await ask(endpoint))["error"]["code"] == 409
        assert (await ask("outbox.retry", all=True))["error"]["code"] == 409
        return
    await write_outbox(server, ("bad..one", b"1"), ("bad..two", b"22"), ("good", b"3"))
    assert await ask("outbox.wake") == {}

    async def are_parked() -> bool:
        return bool((await ask("outbox.list"))["total"] == 2)

    await until(are_parked)
    one, two = (await ask("outbox.list"))["rows"]
    assert (one["channel"], one["size_bytes"]) == ("bad..one", 1)
    assert "no valid channel name" in two["reason"]
    assert (await ask("outbox.list", offset=1))["rows"] == [two]
    assert await ask("outbox.drop", id=one["id"], dry_run=True) == {"dropped": 1, "dry_run": True}
    assert await ask("outbox.drop", id=one["id"]) == {"dropped": 1}
    assert (await ask("outbox.drop", id=one["id"]))["error"]["code"] == 404
    assert (await ask("outbox.retry"))["error"]["code"] == 400
    assert await ask("outbox.retry", all=True) == {"moved": 1}

    async def is_parked_again() -> bool:
        rows = (await ask("outbox.list"))["rows"]
        return [row["channel"] for row in rows] == ["bad..two"] and rows[0]["id"] != two["id"]

    await until(is_parked_again)
    assert (await ask("message.get", channel="good", last=1))["messages"][0]["data"] == "Mw=="


async def test_the_client_looks_after_parked_rows(
    ask: Ask, server: StreamingServer, client: Client
) -> None:
    admin = stan.admin(client, server.cluster)
    await ask("server.info")  # it is there
    if server.store == "MEMORY":
        with pytest.raises(stan.AdminError, match="needs a SQL store"):
            await admin.wake_outbox()
        return
    await admin.drop_parked()
    await write_outbox(server, ("a..b", b"1"))
    await admin.wake_outbox()

    async def is_parked() -> bool:
        return [row.channel async for row in admin.parked_rows()] == ["a..b"]

    await until(is_parked)
    [row] = [row async for row in admin.parked_rows()]
    assert row.parked_time is not None
    with pytest.raises(stan.AdminError, match="is not parked"):
        await admin.retry_parked(row.id + 1000)
    assert await admin.retry_parked(row.id, dry_run=True) == 1
    assert await admin.drop_parked() == 1


def test_a_list_that_nats_does_not_carry_is_cut_and_goes_on() -> None:
    rows = [{"name": f"channel-{number:05}"} for number in range(1000)]
    found: list[Any] = []
    while len(found) < len(rows):
        page = rows[len(found) : len(found) + 500]
        answer = {"total": len(rows), "offset": len(found), "channels": page}
        data = write_answer(answer, 4096)
        assert len(data) <= 4096
        found += json.loads(data)["channels"]
    assert found == rows
    with pytest.raises(stan.AdminError, match="larger than NATS carries"):
        write_answer({"channels": [{"name": "x" * 5000}]}, 4096)
