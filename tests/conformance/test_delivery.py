"""Statements on delivery, acks and redelivery to plain subscriptions."""

import asyncio
import itertools
import time

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients
from tests.tools.streaming_server import StreamingServer

from .conftest import StartServer


@pytest.fixture
async def quick_client(clients: Clients, quick_server: StreamingServer) -> Client:
    """A registered client of the server with the short ack waits."""
    return await clients.connect(quick_server)


@pytest.mark.statement(49)
async def test_never_more_than_max_in_flight(client: Client, channel: str) -> None:
    await client.publish_count(channel, 101)
    subscription = await client.subscribe(channel, maxInFlight=10)
    got = await subscription.take(10)
    assert await subscription.is_quiet()
    await subscription.ack_all(got[:3])
    assert await subscription.take_sequences(3) == [11, 12, 13]
    assert await subscription.is_quiet()
    await subscription.ack(*range(4, 14))
    assert await subscription.take_sequences(88, ack=True) == list(range(14, 102))


@pytest.mark.statement(50)
async def test_one_in_flight_waits_for_its_ack(client: Client, channel: str) -> None:
    subscription = await client.subscribe(channel, maxInFlight=1)
    await client.publish_count(channel, 2)
    assert (await subscription.next()).sequence == 1
    assert await subscription.is_quiet()
    await subscription.ack(1)
    assert (await subscription.next()).sequence == 2


@pytest.mark.statement(51)
async def test_unacked_message_is_redelivered_and_counted(
    quick_client: Client, channel: str, quick_server: StreamingServer
) -> None:
    wait = quick_server.ack_wait(0.3)
    subscription = await quick_client.subscribe(channel, wait)
    await quick_client.publish(channel, b"again")
    arrivals = []
    for count in range(4):
        message = await subscription.next()
        arrivals.append(time.monotonic())
        assert (message.sequence, message.data) == (1, b"again")
        assert (message.redelivered, message.redeliveryCount) == (count > 0, count)
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert all(gap > wait.seconds * 0.8 for gap in gaps), gaps


@pytest.mark.statement(49, 51)
async def test_redelivery_does_not_wait_for_a_place(
    quick_client: Client, channel: str, quick_server: StreamingServer
) -> None:
    wait = quick_server.ack_wait(0.4)
    subscription = await quick_client.subscribe(channel, wait, maxInFlight=2)
    await quick_client.publish_count(channel, 3)
    got = await subscription.take(4)
    assert [(m.sequence, m.redeliveryCount) for m in got] == [(1, 0), (2, 0), (1, 1), (2, 1)]
    await subscription.ack(1)
    message = await subscription.next()
    assert (message.sequence, message.redelivered) == (3, False)


@pytest.mark.statement(52)
async def test_redelivery_to_one_is_first_delivery_to_another(
    quick_client: Client, channel: str, quick_server: StreamingServer
) -> None:
    first = await quick_client.subscribe(channel, quick_server.ack_wait(0.2))
    await quick_client.publish(channel)
    assert [message.redeliveryCount for message in await first.take(2)] == [0, 1]
    second = await quick_client.subscribe(channel)
    message = await second.next()
    assert (message.sequence, message.redelivered, message.redeliveryCount) == (1, False, 0)


@pytest.mark.statement(53)
async def test_each_message_has_its_own_expiry(
    quick_client: Client, channel: str, quick_server: StreamingServer
) -> None:
    subscription = await quick_client.subscribe(channel, quick_server.ack_wait(1.0))
    await quick_client.publish(channel)
    await asyncio.sleep(0.4)
    await quick_client.publish(channel)
    assert await subscription.take_sequences(2) == [1, 2]
    assert (await subscription.next()).sequence == 1
    first_at = time.monotonic()
    assert (await subscription.next()).sequence == 2
    assert time.monotonic() - first_at > 0.1


@pytest.mark.statement(54)
async def test_acked_messages_do_not_return(
    quick_client: Client, channel: str, quick_server: StreamingServer
) -> None:
    wait = quick_server.ack_wait(0.2)
    subscription = await quick_client.subscribe(channel, wait)
    await quick_client.publish_count(channel, 5)
    await subscription.take(5, ack=True)
    assert await subscription.is_quiet(wait.seconds * 1.5)


@pytest.mark.statement(57)
async def test_evicted_message_is_not_redelivered(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mm", "1")
    wait = server.ack_wait(0.8)
    client = await clients.connect(server)
    subscription = await client.subscribe("foo", wait, maxInFlight=2)
    for sequence in (1, 2):
        await client.publish("foo")
        assert (await subscription.next()).sequence == sequence
    again = await subscription.take(2)
    assert [(message.sequence, message.redeliveryCount) for message in again] == [(2, 1), (2, 2)]
    # The evicted one no longer fills a place.
    await client.publish("foo")
    assert 3 in [message.sequence for message in await subscription.take(2)]


@pytest.mark.statement(58)
async def test_subscription_behind_the_limits_jumps_to_the_first(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mm", "3")
    client = await clients.connect(server)
    subscription = await client.subscribe("foo", maxInFlight=1)
    await client.publish("foo")
    assert (await subscription.next()).sequence == 1
    await client.publish_count("foo", 4)
    await subscription.ack(1)
    assert await subscription.take_sequences(3, ack=True) == [3, 4, 5]


@pytest.mark.statement(59)
async def test_meaningless_acks_change_nothing(client: Client, channel: str) -> None:
    await client.publish_count(channel, 2)
    subscription = await client.subscribe(channel, maxInFlight=1)
    assert (await subscription.next()).sequence == 1
    await subscription.ack(2, 100, 0)
    for payload in (b"", b"dummy", pb.Ack(subject="nowhere", sequence=1).SerializeToString()):
        await client.nc.publish(subscription.ack_inbox, payload)
    assert await subscription.is_quiet()
    await subscription.ack(1, 1)
    assert (await subscription.next()).sequence == 2


@pytest.mark.statement(60)
async def test_acks_before_a_close_count(client: Client, channel: str) -> None:
    await client.publish_count(channel, 100)
    durable = await client.subscribe(channel, durableName="d")
    messages = await durable.take(100)
    await durable.ack_all(messages)
    assert await client.close_subscription(durable) == ""
    resumed = await client.subscribe(channel, durableName="d")
    await client.publish(channel)
    message = await resumed.next()
    assert (message.sequence, message.redelivered) == (101, False)


@pytest.mark.statement(60)
async def test_acks_before_a_client_close_count(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    first = await clients.connect(server)
    await first.publish_count(channel, 100)
    durable = await first.subscribe(channel, durableName="d")
    await durable.ack_all(await durable.take(100))
    assert await first.close() == ""
    second = await clients.connect(server, first.client_id)
    resumed = await second.subscribe(channel, durableName="d")
    await second.publish(channel)
    message = await resumed.next()
    assert (message.sequence, message.redelivered) == (101, False)


@pytest.mark.statement(61)
async def test_expired_middle_does_not_stall(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-ma", "300ms")
    client = await clients.connect(server)
    subscription = await client.subscribe("foo", maxInFlight=1)
    await client.publish("foo")
    assert (await subscription.next()).sequence == 1
    await client.publish_count("foo", 4)
    await asyncio.sleep(0.7)  # sequences 2 to 5 expire while the subscription is stalled
    await subscription.ack(1)
    await client.publish("foo")
    assert (await subscription.next()).sequence == 6


@pytest.mark.statement(62)
async def test_ack_then_unsubscribe_at_once(client: Client, channel: str) -> None:
    await client.publish_count(channel, 2)
    subscription = await client.subscribe(channel, maxInFlight=1)
    message = await subscription.next()
    await subscription.ack(message.sequence)
    assert await client.unsubscribe(subscription) == ""


@pytest.mark.statement(49)
async def test_a_subscriber_that_never_acks_costs_the_others_nothing(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    lazy = await clients.connect(server)
    idle = await lazy.subscribe(channel, maxInFlight=1)
    busy = await clients.connect(server)
    subscription = await busy.subscribe(channel, maxInFlight=5)
    await busy.publish_count(channel, 500)
    assert await subscription.take_sequences(500, ack=True) == list(range(1, 501))
    assert (await idle.next()).sequence == 1
    assert await idle.is_quiet()


@pytest.mark.statement(49)
async def test_a_subscriber_that_never_reads_costs_the_others_nothing(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    busy = await clients.connect(server)
    inbox = busy.nc.new_inbox()
    host, port = server.nats_url.removeprefix("nats://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"CONNECT {}\r\nSUB %b 1\r\nPING\r\n" % inbox.encode())
    await reader.readuntil(b"PONG\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    deaf = busy.subscription_request(channel, inbox=inbox, maxInFlight=100_000)
    assert (await busy.ask_to_subscribe(deaf)).error == ""
    subscription = await busy.subscribe(channel, maxInFlight=100)
    payloads = [b"%d" % number + bytes(8000) for number in range(1000)]
    await busy.publish_all(channel, payloads)
    got = await subscription.take(1000, ack=True)
    assert [message.data for message in got] == payloads
    writer.close()
