"""Statements on the monitoring documents; for servers that offer them (`-m`)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.tools.processes import free_port
from tests.tools.streaming_client import Clients, until
from tests.tools.streaming_server import StreamingServer

from .conftest import StartServer


class Answer(NamedTuple):
    """An HTTP answer: status, content type and body."""

    status: int
    content_type: str
    text: str


def read(url: str) -> Answer:
    """GET; an error status is an answer like any other."""
    try:
        with urlopen(url, timeout=10) as response:
            kind = response.headers.get("Content-Type", "")
            return Answer(response.status, kind, response.read().decode())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers.get("Content-Type", ""), error.read().decode())


class Monitored(NamedTuple):
    """A server and where its documents are."""

    server: StreamingServer
    url: str

    async def get(self, path: str) -> Answer:
        """One document, as it came."""
        return await asyncio.to_thread(read, f"{self.url}/streaming/{path}")

    async def document(self, path: str) -> Any:
        """One document, parsed."""
        answer = await self.get(path)
        assert (answer.status, answer.content_type) == (200, "application/json")
        return json.loads(answer.text)


StartMonitored = Callable[..., Awaitable[Monitored]]


@pytest.fixture
async def start_monitored(start_server: StartServer, store: str) -> StartMonitored:
    """Start servers with their monitor on a free port."""

    async def start(*flags: str) -> Monitored:
        port = free_port()
        server = await start_server(store, "-m", str(port), *flags)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            pytest.skip("the server under test has no monitor")
        writer.close()
        await writer.wait_closed()
        return Monitored(server, f"http://127.0.0.1:{port}")

    return start


@pytest.fixture
async def monitored(start_monitored: StartMonitored) -> Monitored:
    """A server with its monitor and the usual limits."""
    return await start_monitored()


@pytest.mark.statement(110)
async def test_pages_of_clients(monitored: Monitored, clients: Clients) -> None:
    made = [await clients.connect(monitored.server, f"client-{n}") for n in range(5)]
    page = await monitored.document("clientsz?offset=-1")
    assert (page["offset"], page["limit"], page["count"], page["total"]) == (0, 1024, 5, 5)
    assert [one["id"] for one in page["clients"]] == [one.client_id for one in made]
    assert (await monitored.document("clientsz?limit=-1"))["limit"] == 1024
    beyond = await monitored.document("clientsz?offset=10")
    assert (beyond["offset"], beyond["count"], beyond["total"]) == (10, 0, 5)
    middle = await monitored.document("clientsz?offset=1&limit=2")
    assert [one["id"] for one in middle["clients"]] == ["client-1", "client-2"]
    missing = await monitored.get("clientsz?client=nobody")
    assert missing.status == 404
    assert "Client nobody not found" in missing.text


@pytest.mark.statement(111)
async def test_callback_wraps_the_document(monitored: Monitored) -> None:
    answer = await monitored.get("serverz?callback=x")
    assert answer.content_type == "application/javascript"
    assert answer.text.startswith("x({")
    assert answer.text.rstrip().endswith("})")
    document = json.loads(answer.text.strip()[2:-1])
    assert document["cluster_id"] == monitored.server.cluster
    assert document["state"] == "STANDALONE"


@pytest.mark.statement(112)
async def test_counters_of_messages(monitored: Monitored, clients: Clients) -> None:
    client = await clients.connect(monitored.server)
    acks = await client.subscribe("foo")
    forgets = await client.subscribe("foo", monitored.server.ack_wait(1))
    await client.publish_count("foo", 5)
    await acks.take(5, ack=True)
    await forgets.take(5)
    before = await monitored.document("serverz")
    assert (before["in_msgs"], before["out_msgs"]) == (5, 10)
    assert (before["total_msgs"], before["clients"], before["channels"]) == (5, 1, 1)
    await forgets.take(5, ack=True)
    after = await monitored.document("serverz")
    assert (after["in_msgs"], after["out_msgs"]) == (5, 15)


@pytest.mark.statement(72, 113)
async def test_offline_durable_is_shown_until_unsubscribed(
    monitored: Monitored, clients: Clients
) -> None:
    client = await clients.connect(monitored.server, "me")
    durable = await client.subscribe("foo", durableName="d")
    assert await client.close_subscription(durable) == ""
    channel = await monitored.document("channelsz?channel=foo&subs=1")
    (shown,) = channel["subscriptions"]
    assert (shown["durable_name"], shown["is_durable"]) == ("d", True)
    assert (shown["is_offline"], shown["client_id"]) == (True, "me")
    assert (await monitored.document("serverz"))["subscriptions"] == 1
    resumed = await client.subscribe("foo", durableName="d")
    assert (await monitored.document("serverz"))["subscriptions"] == 1
    assert await client.unsubscribe(resumed) == ""
    assert (await monitored.document("serverz"))["subscriptions"] == 0


@pytest.mark.statement(79)
async def test_durable_group_is_shown_by_both_names(monitored: Monitored, clients: Clients) -> None:
    client = await clients.connect(monitored.server)
    await client.subscribe("foo", qGroup="group", durableName="dur")
    channel = await monitored.document("channelsz?channel=foo&subs=1")
    (shown,) = channel["subscriptions"]
    assert shown["queue_name"] == "dur:group"
    assert "durable_name" not in shown


@pytest.mark.statement(6)
async def test_refused_duplicate_is_not_counted(monitored: Monitored, clients: Clients) -> None:
    first = await clients.connect(monitored.server)
    second = await clients.prepare(monitored.server, first.client_id)
    assert (await second.connect()).error == "stan: clientID already registered"
    assert (await monitored.document("serverz"))["clients"] == 1


@pytest.mark.statement(85)
async def test_late_ack_leaves_nothing_pending(monitored: Monitored, clients: Clients) -> None:
    wait = monitored.server.ack_wait(1)
    client = await clients.connect(monitored.server)
    first = await client.subscribe("foo", wait, qGroup="g")
    await client.publish("foo")
    await first.next()
    second = await client.subscribe("foo", wait, qGroup="g")
    assert (await second.next()).redelivered
    await first.ack(1)

    async def is_clear() -> bool:
        shown = (await monitored.document("channelsz?channel=foo&subs=1"))["subscriptions"]
        return [one["pending_count"] for one in shown] == [0, 0]

    await until(is_clear)


@pytest.mark.statement(93)
async def test_expiry_shows_in_the_bounds(
    start_monitored: StartMonitored, clients: Clients
) -> None:
    watched = await start_monitored("-ma", "300ms")
    client = await clients.connect(watched.server)
    await client.publish_count("foo", 15)

    async def is_expired() -> bool:
        channel = await watched.document("channelsz?channel=foo&subs=1")
        return bool(channel["msgs"] == 0)

    await until(is_expired)
    channel = await watched.document("channelsz?channel=foo&subs=1")
    assert (channel["first_seq"], channel["last_seq"], channel["bytes"]) == (16, 15, 0)


@pytest.mark.statement(99)
async def test_deleted_channel_is_not_shown(
    start_monitored: StartMonitored, clients: Clients
) -> None:
    watched = await start_monitored("-mi", "100ms")
    client = await clients.connect(watched.server)
    await client.publish_count("foo", 3)

    async def is_gone() -> bool:
        return (await watched.get("channelsz?channel=foo")).status == 404

    await until(is_gone)
    page = await watched.document("channelsz")
    assert (page["count"], page["total"]) == (0, 0)
