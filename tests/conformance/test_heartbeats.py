"""Statements on the server's heartbeats: who is given up, and what failure means meanwhile."""

import asyncio

import pytest

from tests.tools.streaming_client import TIMEOUT_S, Client, Clients, until

from .conftest import StartServer

INVALID_PUBLISH = "stan: invalid publish request"


async def heartbeats(client: Client, count: int, timeout_s: float = TIMEOUT_S) -> None:
    """Wait for this many heartbeats."""
    async with asyncio.timeout(timeout_s):
        for _ in range(count):
            await client.heartbeats.get()


async def removal(witness: Client, gone: Client) -> None:
    """Wait until the server no longer knows the connection.

    Publishing in its name tells; a ping would make the server probe it once more.
    """

    async def is_unknown() -> bool:
        return (await witness.publish("probe", connID=gone.conn_id)).error == INVALID_PUBLISH

    await until(is_unknown)


@pytest.mark.statement(9)
async def test_silent_client_is_removed_after_one_failure_too_many(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-hbi", "50ms", "-hbt", "50ms", "-hbf", "5")
    alive = await clients.connect(server)
    silent = await clients.prepare(server)
    silent.answers_heartbeats = False
    assert (await silent.connect()).error == ""
    await heartbeats(silent, 6)
    await removal(alive, silent)
    assert silent.heartbeats.empty()
    await heartbeats(alive, 12)
    assert await alive.ping() == ""


@pytest.mark.statement(9)
async def test_client_that_lost_its_connection_is_removed(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-hbi", "50ms", "-hbt", "50ms", "-hbf", "5")
    alive, dead = await clients.connect(server), await clients.connect(server)
    await dead.vanish()
    await removal(alive, dead)
    assert await alive.ping() == ""


@pytest.mark.statement(9)
async def test_one_answer_forgives_all_failures(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-hbi", "50ms", "-hbt", "300ms", "-hbf", "5")
    client = await clients.connect(server)
    for _ in range(2):
        client.answers_heartbeats = False
        await heartbeats(client, 4)
        client.answers_heartbeats = True
        await heartbeats(client, 1)
    assert await client.ping() == ""


@pytest.mark.statement(13)
async def test_ping_of_a_failing_client_is_answered_by_a_heartbeat(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-hbi", "2s", "-hbt", "300ms", "-hbf", "100")
    client = await clients.connect(server)
    client.answers_heartbeats = False
    await heartbeats(client, 1)
    await asyncio.sleep(0.5)  # the heartbeat's timeout passes, which nobody is told
    client.answers_heartbeats = True
    assert await client.ping() == ""
    await heartbeats(client, 1, timeout_s=1.0)
    await client.round_trip()
    assert client.heartbeats.empty()  # the flag is cleared: a ping is only a ping again


@pytest.mark.statement(55)
async def test_no_redelivery_while_heartbeats_fail(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-hbi", "100ms", "-hbt", "200ms", "-hbf", "1000")
    wait = server.ack_wait(0.3)
    publisher, client = await clients.connect(server), await clients.connect(server)
    subscription = await client.subscribe("foo", wait)
    client.answers_heartbeats = False
    await heartbeats(client, 3)
    await publisher.publish("foo")
    message = await subscription.next()  # what is new goes out all the same
    assert (message.sequence, message.redelivered) == (1, False)
    with pytest.raises(TimeoutError):
        await subscription.next(wait.seconds * 2)
    client.answers_heartbeats = True
    message = await subscription.next()
    assert (message.sequence, message.redelivered) == (1, True)


@pytest.mark.statement(55)
async def test_group_avoids_a_member_whose_heartbeats_fail(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-hbi", "100ms", "-hbt", "200ms", "-hbf", "1000")
    silent, alive = await clients.connect(server), await clients.connect(server)
    avoided = await silent.subscribe("foo", qGroup="g")
    chosen = await alive.subscribe("foo", qGroup="g")
    silent.answers_heartbeats = False
    await heartbeats(silent, 3)
    await alive.publish_count("foo", 10)
    assert await chosen.take_sequences(10) == list(range(1, 11))
    assert avoided.messages.empty()


@pytest.mark.statement(70)
async def test_durable_of_a_lost_client_can_be_resumed(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-hbi", "50ms", "-hbt", "50ms", "-hbf", "5")
    first, witness = await clients.connect(server), await clients.connect(server)
    durable = await first.subscribe("foo", durableName="d")
    await first.publish("foo")
    await durable.take(1, ack=True)
    await first.round_trip()
    await first.vanish()
    await removal(witness, first)
    await witness.publish("foo")
    second = await clients.connect(server, first.client_id)
    resumed = await second.subscribe("foo", durableName="d")
    message = await resumed.next()
    assert (message.sequence, message.redelivered) == (2, False)


@pytest.mark.statement(82)
async def test_messages_of_a_lost_member_go_to_the_others(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-hbi", "50ms", "-hbt", "50ms", "-hbf", "5")
    lost, alive = await clients.connect(server), await clients.connect(server)
    losing = await lost.subscribe("foo", qGroup="g")
    staying = await alive.subscribe("foo", qGroup="g")
    await alive.publish_count("foo", 4)
    left = await losing.take_sequences(2)
    await staying.take(2, ack=True)
    await lost.vanish()
    got = await staying.take(2)
    assert [(message.sequence, message.redelivered) for message in got] == [
        (sequence, True) for sequence in left
    ]
