"""Statements on what a subscribe request may say and in which order it is checked."""

import asyncio
from typing import cast

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, Refused, decode, new_id
from tests.tools.streaming_server import StreamingServer

from .conftest import StartServer

ACK_WAIT = "stan: invalid ack wait time, should be >= 1s"
MAX_IN_FLIGHT = "stan: invalid MaxInflight, should be >= 1"
START_POSITION = "stan: invalid start position"
SUBJECT = "stan: invalid subject"
UNKNOWN = "stan: unknown clientID"
DURABLE_NAME = "stan: durable name of a durable queue subscriber can't contain the character ':'"
TOO_MANY = "too many subscriptions per channel"


async def refusal(client: Client, request: pb.SubscriptionRequest) -> str:
    """The error that this request gets."""
    return (await client.ask_to_subscribe(request)).error


@pytest.mark.statement(33)
async def test_empty_and_garbage_requests(client: Client) -> None:
    assert await refusal(client, pb.SubscriptionRequest()) == "stan: clientID missing"
    answer = await client.request(client.response.subRequests, b"dummy")
    assert decode(pb.SubscriptionResponse, answer).error == "stan: invalid subscription request"


@pytest.mark.statement(34)
async def test_fields_are_checked_in_their_order(client: Client) -> None:
    request = client.subscription_request(
        "foo*.bar", 0, maxInFlight=0, startPosition=-1, clientID=new_id()
    )
    for seconds in (0, -1):
        request.ackWaitInSecs = seconds
        assert await refusal(client, request) == ACK_WAIT
    request.ackWaitInSecs = 1
    for count in (0, -1):
        request.maxInFlight = count
        assert await refusal(client, request) == MAX_IN_FLIGHT
    request.maxInFlight = 1
    for position in (-1, 5):
        request.startPosition = cast("pb.StartPosition", position)
        assert await refusal(client, request) == START_POSITION
    request.startPosition = pb.First
    for name in ("foo*.bar", "foo.>.*", "foo.*", ">", "", ".foo", "foo.", "foo..bar", "a/b"):
        request.subject = name
        assert await refusal(client, request) == SUBJECT
    request.subject = "foo"
    assert await refusal(client, request) == UNKNOWN


@pytest.mark.statement(35)
async def test_unknown_client_cannot_subscribe(clients: Clients, server: StreamingServer) -> None:
    stranger = await clients.prepare(server)
    assert await refusal(stranger, stranger.subscription_request("foo")) == UNKNOWN


@pytest.mark.statement(36)
async def test_colon_in_a_queue_durable_is_refused_yet_makes_the_channel(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mc", "1")
    client = await clients.connect(server)
    request = client.subscription_request("foo", qGroup="group", durableName="dur:name")
    assert await refusal(client, request) == DURABLE_NAME
    assert (await client.publish("bar")).error == "too many channels"
    assert (await client.publish("foo")).error == ""


@pytest.mark.statement(36)
async def test_colon_in_a_plain_durable_is_fine(client: Client, channel: str) -> None:
    subscription = await client.subscribe(channel, durableName="dur:name")
    assert subscription.ack_inbox


@pytest.mark.statement(37)
async def test_subscription_over_the_limit_is_refused(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-msu", "1")
    client = await clients.connect(server)
    kinds: tuple[dict[str, str], ...] = (
        {},
        {"durableName": "d"},
        {"qGroup": "g"},
        {"qGroup": "g", "durableName": "d"},
    )
    for number, kind in enumerate(kinds):
        channel = f"channel-{number}"
        first = await client.subscribe(channel)
        with pytest.raises(Refused, match=f"^{TOO_MANY}$"):
            await client.subscribe(channel, **kind)
        await client.publish(channel)
        assert (await first.next()).sequence == 1
        assert await client.unsubscribe(first) == ""
        assert (await (await client.subscribe(channel, **kind)).next()).sequence == 1


@pytest.mark.statement(37)
async def test_offline_durable_counts_and_its_resumption_does_not(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-msu", "1")
    client = await clients.connect(server)
    durable = await client.subscribe("foo", durableName="d")
    assert await client.close_subscription(durable) == ""
    with pytest.raises(Refused, match=f"^{TOO_MANY}$"):
        await client.subscribe("foo")
    assert await client.subscribe("foo", durableName="d")


@pytest.mark.statement(38)
async def test_subscribe_cannot_exceed_the_channels(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mc", "1")
    client = await clients.connect(server)
    await client.subscribe("foo")
    with pytest.raises(Refused, match=r"^too many channels$"):
        await client.subscribe("bar")


@pytest.mark.statement(39)
async def test_response_comes_before_the_first_message(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    publisher = await clients.connect(server)
    subscriber = await clients.connect(server)
    done = asyncio.Event()

    async def publish_on() -> None:
        while not done.is_set():
            await publisher.publish(channel)

    publishing = asyncio.create_task(publish_on())
    arrivals: list[str] = []
    # One NATS subscription gets both, so their order is the order on the wire.
    seen = asyncio.Event()

    async def note(message: object) -> None:
        arrivals.append(message.subject)  # type: ignore[attr-defined]
        if len(arrivals) == 2:
            seen.set()

    for _ in range(20):
        prefix = subscriber.nc.new_inbox()
        arrivals.clear()
        seen.clear()
        both = await subscriber.nc.subscribe(f"{prefix}.*", cb=note)
        request = subscriber.subscription_request(
            channel, inbox=f"{prefix}.inbox", maxInFlight=1, startPosition=pb.First
        )
        subject = subscriber.response.subRequests
        await subscriber.nc.publish(subject, request.SerializeToString(), f"{prefix}.response")
        async with asyncio.timeout(10):
            await seen.wait()
        assert arrivals == [f"{prefix}.response", f"{prefix}.inbox"]
        await both.unsubscribe()
    done.set()
    await publishing
