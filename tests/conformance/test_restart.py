"""Statements on what survives SIGKILL of the server, and what must not."""

import asyncio

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Clients
from tests.tools.streaming_server import StreamingServer

from .conftest import StartServer

SECOND_NS = 1_000_000_000


async def crash_and_restart(server: StreamingServer, *flags: str) -> None:
    """Kill the server and start it again on its store, perhaps with other flags."""
    await asyncio.to_thread(server.kill)
    server.flags = flags or server.flags
    await asyncio.to_thread(server.start)


@pytest.mark.statement(16)
async def test_clients_and_subscriptions_go_on(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    client = await clients.connect(server)
    plain = await client.subscribe("foo")
    durable = await client.subscribe("foo", durableName="d")
    group = await client.subscribe("foo", qGroup="g")
    everyone = (plain, durable, group)
    await client.publish_count("foo", 3)
    for subscription in everyone:
        assert await subscription.take_sequences(3, ack=True) == [1, 2, 3]
    await client.round_trip()
    await crash_and_restart(server)
    assert await client.ping() == ""
    assert (await client.publish("foo")).error == ""
    for subscription in everyone:
        # Acks are recorded lazily: what was acked just before the crash may come again.
        sequence = 0
        while sequence != 4:
            message = await subscription.next()
            sequence = message.sequence
            assert message.redelivered == (sequence != 4)
            await subscription.ack(sequence)
    assert await client.close_subscription(plain) == ""
    assert await client.close() == ""


@pytest.mark.statement(16)
async def test_acknowledged_publishes_survive_and_no_sequence_repeats(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    client = await clients.connect(server)
    for crash in range(3):
        await client.publish_count("foo", 100, first=crash * 100 + 1)
        await crash_and_restart(server)
    subscription = await client.subscribe("foo")
    got = await subscription.take(300)
    assert [message.sequence for message in got] == list(range(1, 301))
    assert [message.data for message in got] == [b"%d" % number for number in range(1, 301)]


@pytest.mark.statement(16)
async def test_closed_client_and_dropped_subscriptions_stay_gone(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    gone, client = await clients.connect(server), await clients.connect(server)
    lost = await gone.subscribe("foo")
    ended = await client.subscribe("foo", durableName="d")
    assert await gone.close() == ""
    assert await client.unsubscribe(ended) == ""
    await crash_and_restart(server)
    assert await gone.ping() != ""
    await client.publish("foo")
    anew = await client.subscribe("foo", durableName="d", startPosition=pb.NewOnly)
    await client.publish("foo")
    assert (await anew.next()).sequence == 2
    assert lost.messages.empty()
    assert ended.messages.empty()


@pytest.mark.statement(17)
async def test_memory_forgets_its_clients(start_server: StartServer, clients: Clients) -> None:
    server = await start_server("MEMORY")
    client = await clients.connect(server)
    await client.subscribe("foo")
    await crash_and_restart(server)
    assert await client.ping() == "client has been replaced or is no longer registered"
    assert (await client.publish("foo")).error == "stan: invalid publish request"
    again = await clients.connect(server, client.client_id)
    assert (await again.publish("foo")).error == ""
    assert (await (await again.subscribe("foo")).next()).sequence == 1


@pytest.mark.statement(18)
async def test_store_belongs_to_its_cluster(
    start_server: StartServer, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    created_as = server.cluster
    await asyncio.to_thread(server.stop)
    server.cluster = f"{created_as}-other"
    printed = await asyncio.to_thread(server.start_failure)
    expected = f'cluster ID "{server.cluster}" does not match recovered value of "{created_as}"'
    assert expected in printed
    assert "Traceback" not in printed


@pytest.mark.statement(19)
async def test_second_server_of_a_cluster_refuses(start_server: StartServer, store: str) -> None:
    first = await start_server(store)
    second = await start_server("MEMORY", run=False, cluster=first.cluster)
    printed = await asyncio.to_thread(second.start_failure)
    assert f'discovered another streaming server with cluster ID "{first.cluster}"' in printed
    assert "Traceback" not in printed


@pytest.mark.statement(56)
async def test_unacked_come_again_in_order_before_the_new(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    wait = server.ack_wait(0.5)
    client = await clients.connect(server)
    subscription = await client.subscribe("foo", wait)
    await client.publish_count("foo", 10)
    await subscription.take(10)
    # Redelivered once before the crash, so that a count that survived would show as 2.
    assert [message.redeliveryCount for message in await subscription.take(10)] == [1] * 10
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(wait.seconds)  # all are due before the server is back
    while not subscription.messages.empty():
        subscription.messages.get_nowait()
    await asyncio.to_thread(server.start)
    await client.publish("foo")
    got = await subscription.take(11)
    marks = [(m.sequence, m.redelivered, m.redeliveryCount) for m in got]
    assert marks == [(n, True, 1) for n in range(1, 11)] + [(11, False, 0)]


@pytest.mark.statement(71)
async def test_closed_durable_stays_closed(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    client = await clients.connect(server)
    durable = await client.subscribe("foo", durableName="d")
    assert await client.close_subscription(durable) == ""
    await crash_and_restart(server)
    await client.publish("foo")
    assert await durable.is_quiet()
    resumed = await client.subscribe("foo", durableName="d")
    message = await resumed.next()
    assert (message.sequence, message.redelivered) == (1, False)


@pytest.mark.statement(16, 65)
async def test_active_durable_stays_active(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    client = await clients.connect(server)
    await client.subscribe("foo", durableName="d")
    await crash_and_restart(server)
    response = await client.ask_to_subscribe(client.subscription_request("foo", durableName="d"))
    assert response.error == "stan: duplicate durable registration"


@pytest.mark.statement(89)
async def test_unacked_group_messages_go_back_to_the_same_members(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    wait = server.ack_wait(0.5)
    client = await clients.connect(server)
    members = [await client.subscribe("foo", wait, qGroup="g") for _ in range(2)]
    await client.publish_count("foo", 6)
    before = [await member.take_sequences(3) for member in members]
    await asyncio.sleep(0.3)  # who got what may be recorded a moment after it was sent
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(wait.seconds)  # all are due before the server is back
    await asyncio.to_thread(server.start)
    for member, sequences in zip(members, before, strict=True):
        got = await member.take(3)
        assert [message.sequence for message in got] == sequences
        assert all(message.redelivered for message in got)


@pytest.mark.statement(88, 79)
async def test_offline_durable_group_survives(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    first, second = await clients.connect(server), await clients.connect(server)
    durable = {"qGroup": "g", "durableName": "d"}
    member = await first.subscribe("foo", **durable)
    await first.publish_count("foo", 3)
    await member.take(3)
    await member.ack(1, 2)
    assert await first.close() == ""
    await crash_and_restart(server)
    later = await second.subscribe("foo", **durable)
    await second.publish("foo")
    got = await later.take(2)
    assert [(message.sequence, message.redelivered) for message in got] == [(3, True), (4, False)]


@pytest.mark.statement(94)
async def test_sequence_goes_on_after_all_has_expired(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store, "-ma", "300ms")
    client = await clients.connect(server)
    await client.publish_count("foo", 15)
    await asyncio.sleep(0.8)  # all expire while the server runs, which nobody is told
    await crash_and_restart(server)
    by_time = await client.subscribe(
        "foo", startPosition=pb.TimeDeltaStart, startTimeDelta=3600 * SECOND_NS
    )
    first = await client.subscribe("foo")
    await client.publish("foo")
    assert (await by_time.next()).sequence == 16
    assert (await first.next()).sequence == 16


@pytest.mark.statement(94)
async def test_sequence_goes_on_when_all_expires_at_the_restart(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    client = await clients.connect(server)
    await client.publish_count("foo", 15)
    await asyncio.to_thread(server.kill)
    server.flags = ("-ma", "100ms")
    await asyncio.sleep(0.2)
    await asyncio.to_thread(server.start)
    subscription = await client.subscribe("foo")
    await client.publish("foo")
    assert (await subscription.next()).sequence == 16


@pytest.mark.statement(101)
@pytest.mark.parametrize(
    ("flags", "kept"),
    [(("-mm", "3"), [8, 9, 10]), (("-mb", "1100"), [10])],
    ids=["count", "bytes"],
)
async def test_lower_limits_trim_at_the_restart(
    start_server: StartServer,
    clients: Clients,
    persistent_store: str,
    flags: tuple[str, ...],
    kept: list[int],
) -> None:
    server = await start_server(persistent_store)
    client = await clients.connect(server)
    await client.publish_all("foo", [b"x" * 1000] * 10)
    await crash_and_restart(server, *flags)
    subscription = await client.subscribe("foo")
    assert await subscription.take_sequences(len(kept)) == kept
    assert await subscription.is_quiet()


@pytest.mark.statement(101)
async def test_recovered_channels_and_subscriptions_exceed_lower_limits(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    server = await start_server(persistent_store)
    client = await clients.connect(server)
    subscriptions = [await client.subscribe("foo") for _ in range(2)]
    await client.publish("bar")
    await crash_and_restart(server, "-mc", "1", "-msu", "1")
    assert (await client.publish("foo")).error == ""
    assert (await client.publish("bar")).error == ""
    assert (await client.publish("new")).error == "too many channels"
    for subscription in subscriptions:
        assert (await subscription.next()).sequence == 1


@pytest.mark.statement(104)
async def test_both_ciphers_can_be_read_and_a_wrong_key_reads_nothing(
    start_server: StartServer, clients: Clients, persistent_store: str
) -> None:
    key = ("-encryption_key", "correct horse")
    server = await start_server(persistent_store, *key, "-encryption_cipher", "AES")
    client = await clients.connect(server)
    assert (await client.publish("foo", b"by AES")).error == ""
    await crash_and_restart(server, *key, "-encryption_cipher", "chacha")
    assert (await client.publish("foo", b"by CHACHA")).error == ""
    await crash_and_restart(server, *key)
    reading = await client.subscribe("foo")
    assert [message.data for message in await reading.take(2, ack=True)] == [
        b"by AES",
        b"by CHACHA",
    ]
    assert await client.unsubscribe(reading) == ""

    await crash_and_restart(server, "-encryption_key", "another horse")
    blocked = await client.subscribe("foo")
    assert await blocked.is_quiet()
    live = await client.subscribe("foo", startPosition=pb.NewOnly)
    assert (await client.publish("foo", b"new")).error == ""
    assert (await live.next()).data == b"new"
    assert server.process is not None
    assert await asyncio.to_thread(server.process.wait_for, r"\[ERR\] STREAM: .*foo")
