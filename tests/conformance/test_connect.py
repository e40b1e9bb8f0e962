"""Statements on connecting, pinging and closing, against the shared server."""

import asyncio

import pytest
from nats.errors import TimeoutError as NatsTimeout

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, decode, new_id
from tests.tools.streaming_server import StreamingServer

INVALID_CONNECT = "stan: invalid connection request"
INVALID_CLIENT_ID = "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed"
ALREADY = "stan: clientID already registered"
REPLACED = "client has been replaced or is no longer registered"


async def ask_to_connect(client: Client, payload: bytes) -> str:
    """Send these bytes as a connect request; the error."""
    return decode(pb.ConnectResponse, await client.request(client.discovery, payload)).error


@pytest.mark.statement(1)
async def test_garbage_is_no_connect_request(client: Client) -> None:
    assert await ask_to_connect(client, b"dummy") == INVALID_CONNECT


@pytest.mark.statement(2)
async def test_connect_needs_a_heartbeat_inbox(client: Client) -> None:
    request = pb.ConnectRequest(clientID=new_id())
    assert await ask_to_connect(client, request.SerializeToString()) == INVALID_CONNECT


@pytest.mark.statement(2)
async def test_heartbeat_inbox_is_checked_before_the_client_id(client: Client) -> None:
    request = pb.ConnectRequest(clientID="not valid")
    assert await ask_to_connect(client, request.SerializeToString()) == INVALID_CONNECT


@pytest.mark.statement(3)
@pytest.mark.parametrize("bad", ["", "a b", "a:b", "a,b", "a.b", "x!@#", "é", "a\n"])
async def test_invalid_client_id_is_refused(
    clients: Clients, server: StreamingServer, bad: str
) -> None:
    client = await clients.prepare(server)
    client.client_id = bad
    assert (await client.connect()).error == INVALID_CLIENT_ID


@pytest.mark.statement(3)
@pytest.mark.parametrize("prefix", ["id", "id_x", "id-x"])
async def test_valid_client_id_is_taken(
    clients: Clients, server: StreamingServer, prefix: str
) -> None:
    client = await clients.connect(server, new_id(prefix))
    assert client.response.error == ""


@pytest.mark.statement(4)
async def test_response_names_every_subject_and_echoes_the_pings(
    clients: Clients, server: StreamingServer
) -> None:
    client = await clients.prepare(server)
    response = await client.connect(ping_interval=1, ping_max_out=3)
    cluster = server.cluster
    assert response == pb.ConnectResponse(
        pubPrefix=f"_STAN.pub.{cluster}",
        subRequests=f"_STAN.sub.{cluster}",
        unsubRequests=f"_STAN.unsub.{cluster}",
        closeRequests=f"_STAN.close.{cluster}",
        subCloseRequests=f"_STAN.subclose.{cluster}",
        pingRequests=f"_STAN.discover.{cluster}.pings",
        pingInterval=1,
        pingMaxOut=3,
        protocol=1,
    )


@pytest.mark.statement(5)
async def test_protocol_zero_gets_no_ping_fields(clients: Clients, server: StreamingServer) -> None:
    client = await clients.prepare(server)
    response = await client.connect(protocol=0)
    assert response.error == ""
    assert (response.pingRequests, response.pingInterval, response.pingMaxOut) == ("", 0, 0)
    assert response.protocol == 1


@pytest.mark.statement(6)
async def test_live_client_keeps_its_id(clients: Clients, server: StreamingServer) -> None:
    first = await clients.connect(server)
    second = await clients.prepare(server, first.client_id)
    assert (await second.connect()).error == ALREADY
    assert await first.ping() == ""
    assert await second.ping() == REPLACED


@pytest.mark.statement(7)
async def test_dead_client_is_replaced(clients: Clients, server: StreamingServer) -> None:
    first = await clients.connect(server)
    await first.vanish()
    second = await clients.prepare(server, first.client_id)
    assert (await second.connect()).error == ""
    # The inbox that the next duplicate check probes is the new one.
    third = await clients.prepare(server, first.client_id)
    assert (await third.connect()).error == ALREADY
    assert second.heartbeats.qsize() == 1


@pytest.mark.statement(7)
async def test_silent_client_is_replaced(clients: Clients, server: StreamingServer) -> None:
    first = await clients.connect(server)
    first.answers_heartbeats = False
    second = await clients.prepare(server, first.client_id)
    assert (await second.connect()).error == ""
    assert first.heartbeats.qsize() == 1


@pytest.mark.statement(8)
async def test_third_connect_fails_while_the_first_is_probed(
    clients: Clients, server: StreamingServer
) -> None:
    first = await clients.connect(server)
    first.answers_heartbeats = False
    second = await clients.prepare(server, first.client_id)
    third = await clients.prepare(server, first.client_id)
    other = await clients.prepare(server)
    waiting = asyncio.create_task(second.connect())
    await first.heartbeats.get()  # the probe is under way
    assert (await third.connect()).error == ALREADY
    assert (await other.connect()).error == ""
    assert not waiting.done()
    assert (await waiting).error == ""


@pytest.mark.statement(10)
async def test_known_connection_gets_an_empty_pong(client: Client) -> None:
    ping = pb.Ping(connID=client.conn_id).SerializeToString()
    assert await client.request(client.response.pingRequests, ping) == b""


@pytest.mark.statement(10)
async def test_unknown_connection_is_told_so(client: Client) -> None:
    assert await client.ping(b"nobody") == REPLACED


@pytest.mark.statement(10)
@pytest.mark.parametrize("payload", [b"", b"dummy"])
async def test_meaningless_ping_gets_no_reply(client: Client, payload: bytes) -> None:
    silent = client.request(client.response.pingRequests, payload, timeout_s=0.2)
    with pytest.raises(NatsTimeout):
        await silent


@pytest.mark.statement(11)
async def test_replaced_client_is_told_by_its_ping(
    clients: Clients, server: StreamingServer
) -> None:
    first = await clients.connect(server)
    first.answers_heartbeats = False
    second = await clients.connect(server, first.client_id)
    assert await first.ping() == REPLACED
    assert await second.ping() == ""


@pytest.mark.statement(12)
async def test_replaced_client_cannot_publish(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    first = await clients.connect(server)
    first.answers_heartbeats = False
    second = await clients.connect(server, first.client_id)
    assert (await first.publish(channel)).error == "stan: invalid publish request"
    assert (await second.publish(channel)).error == ""


@pytest.mark.statement(7)
async def test_subscriptions_of_a_replaced_client_end(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    first = await clients.connect(server)
    ended = [await first.subscribe(channel), await first.subscribe(channel, qGroup="g")]
    first.answers_heartbeats = False
    second = await clients.connect(server, first.client_id)
    await second.publish(channel)
    for subscription in ended:
        assert await second.unsubscribe(subscription) == "stan: invalid subscription"
        assert subscription.messages.empty()


@pytest.mark.statement(14)
async def test_close_of_nobody_and_garbage(client: Client) -> None:
    assert await client.close(new_id()) == "stan: unknown clientID"
    assert await client.close("") == "stan: unknown clientID"
    answer = await client.request(client.response.closeRequests, b"dummy")
    assert decode(pb.CloseResponse, answer).error == "stan: invalid close request"


@pytest.mark.statement(14)
async def test_close_answers_with_nothing_and_forgets(client: Client) -> None:
    request = pb.CloseRequest(clientID=client.client_id).SerializeToString()
    assert await client.request(client.response.closeRequests, request) == b""
    assert await client.ping() == REPLACED
    assert await client.close() == "stan: unknown clientID"


@pytest.mark.statement(15)
async def test_publishes_sent_before_close_are_stored(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    publisher = await clients.connect(server)
    for number in range(1000):
        await publisher.send(publisher.message(channel, b"%d" % number))
    assert await publisher.close() == ""
    reader = await clients.connect(server)
    subscription = await reader.subscribe(channel)
    messages = await subscription.take(1000)
    assert [message.data for message in messages] == [b"%d" % number for number in range(1000)]
