"""Statements on partitioning: servers of one cluster ID, each with channels of its own."""

import asyncio

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, decode

from .conftest import StartServer


def partition(*channels: str) -> str:
    """A configuration file of a server of these channels."""
    listed = "\n".join(f'"{name}": {{}}' for name in channels)
    return "streaming {\n partitioning: true\n store_limits { channels {\n" + listed + "\n } }\n}\n"


async def first_answer(client: Client, kind: str, *requests: bytes) -> pb.SubscriptionResponse:
    """Send these, one behind the other; the first answer to any of them."""
    inbox = client.nc.new_inbox()
    answers = await client.nc.subscribe(inbox)
    for request in requests:
        await client.nc.publish(f"_STAN.{kind}.{client.server.cluster}", request, inbox)
    answer = await answers.next_msg(timeout=10)
    return decode(pb.SubscriptionResponse, answer.data)


@pytest.mark.statement(107)
async def test_nothing_is_said_of_the_channels_of_others(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, config=partition("foo"))
    client = await clients.connect(server)
    await client.send(client.message("bar"))
    ours_sent = client.message("foo")
    await client.send(ours_sent)
    ack = await client.next_ack()
    if not ack.guid:  # NATS itself says that nobody listens
        ack = await client.next_ack()
    assert (ack.guid, ack.error) == (ours_sent.guid, "")

    ours = client.subscription_request("foo").SerializeToString()
    theirs = client.subscription_request("bar", maxInFlight=7).SerializeToString()
    response = await first_answer(client, "sub", theirs, ours)
    assert (response.error, bool(response.ackInbox)) == ("", True)

    for kind in ("unsub", "subclose"):
        theirs = pb.UnsubscribeRequest(clientID=client.client_id, subject="bar", inbox="x")
        gone = pb.UnsubscribeRequest(clientID=client.client_id, subject="foo", inbox="x")
        response = await first_answer(
            client, kind, theirs.SerializeToString(), gone.SerializeToString()
        )
        assert response.error == "stan: invalid subscription"


@pytest.mark.statement(108)
async def test_partitions_that_overlap_do_not_start(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    first = await start_server(store, config=partition("foo.*"))
    second = await start_server(
        store, config=partition("bar", "foo.bar"), run=False, cluster=first.cluster
    )
    output = await asyncio.to_thread(second.start_failure)
    assert 'channel "foo.bar" causes conflict with channels on server "' in output
    assert "Traceback" not in output
    client = await clients.connect(first)
    assert (await client.publish("foo.bar")).error == ""


@pytest.mark.statement(108)
async def test_a_partition_without_channels_does_not_start(
    start_server: StartServer, store: str
) -> None:
    server = await start_server(store, config="streaming { partitioning: true }", run=False)
    assert "stan: no configured channel" in await asyncio.to_thread(server.start_failure)


@pytest.mark.statement(107)
async def test_a_client_publishes_to_and_hears_from_all_partitions(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    foos = await start_server(store, config=partition("foo.>"))
    await start_server(store, config=partition("bar.*", "baz"), cluster=foos.cluster)
    client = await clients.connect(foos)
    for channel in ("foo.a", "bar.a", "baz"):
        assert (await client.publish(channel, channel.encode())).error == ""
        subscription = await client.subscribe(channel)
        message = await subscription.next()
        assert (message.sequence, message.data) == (1, channel.encode())
    assert await client.ping() == ""


@pytest.mark.statement(109)
async def test_a_partition_of_a_pattern(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, config=partition("foo.*"))
    client = await clients.connect(server)
    await client.subscribe("foo.bar")
    deeper = client.subscription_request("foo.bar.baz").SerializeToString()
    pattern = client.subscription_request("foo.*").SerializeToString()
    response = await first_answer(client, "sub", deeper, pattern)
    assert response.error == "stan: invalid subject"
