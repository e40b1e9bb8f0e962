"""Statements on plain durables: what they remember, and who may resume them."""

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, Refused, Subscription, new_id
from tests.tools.streaming_server import StreamingServer

from .conftest import StartServer

DUPLICATE = r"^stan: duplicate durable registration$"


async def marks(subscription: Subscription, count: int) -> list[tuple[int, bool]]:
    """Sequence and redelivered flag of the next messages."""
    return [(message.sequence, message.redelivered) for message in await subscription.take(count)]


@pytest.mark.statement(63)
@pytest.mark.parametrize(
    "start",
    [
        {"startPosition": pb.SequenceStart, "startSequence": 1},
        {"startPosition": pb.TimeDeltaStart, "startTimeDelta": -3_600_000_000_000},
        {"startPosition": pb.NewOnly},
    ],
    ids=["sequence", "future", "new"],
)
async def test_resumes_after_the_last_acked_whatever_is_asked(
    clients: Clients, server: StreamingServer, channel: str, start: dict[str, object]
) -> None:
    first = await clients.connect(server)
    await first.publish_count(channel, 5)
    durable = await first.subscribe(channel, durableName="d", maxInFlight=3)
    await durable.ack_all(await durable.take(3))
    await durable.ack_all(await durable.take(2))
    assert await first.close() == ""
    second = await clients.connect(server, first.client_id)
    await second.publish_count(channel, 2)
    resumed = await second.subscribe(channel, durableName="d", **start)
    assert await marks(resumed, 2) == [(6, False), (7, False)]


@pytest.mark.statement(64)
async def test_same_name_of_another_client_is_another_durable(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    one, two = await clients.connect(server), await clients.connect(server)
    await one.publish_count(channel, 3)
    first = await one.subscribe(channel, durableName="d")
    assert await first.take_sequences(3, ack=True) == [1, 2, 3]
    second = await two.subscribe(channel, durableName="d")
    assert await marks(second, 3) == [(1, False), (2, False), (3, False)]


@pytest.mark.statement(65)
async def test_active_durable_cannot_be_taken(client: Client, channel: str) -> None:
    durable = await client.subscribe(channel, durableName="d")
    with pytest.raises(Refused, match=DUPLICATE):
        await client.subscribe(channel, durableName="d")
    await client.publish(channel)
    assert (await durable.next()).sequence == 1


@pytest.mark.statement(66)
async def test_replace_durable_moves_it_to_the_newcomer(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-replace_durable")
    client = await clients.connect(server)
    first = await client.subscribe("foo", durableName="d")
    second = await client.subscribe("foo", durableName="d")
    await client.publish("foo")
    assert (await second.next()).sequence == 1
    assert await first.is_quiet()
    assert await client.close_subscription(first) == "stan: invalid subscription"
    await second.ack(1)
    assert await client.close_subscription(second) == ""


@pytest.mark.statement(66, 68)
async def test_replace_durable_brings_the_unacked(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-replace_durable")
    client = await clients.connect(server)
    first = await client.subscribe("foo", durableName="d")
    await client.publish_count("foo", 3)
    await first.take(3)
    await first.ack(2)
    assert await first.is_quiet()  # nothing says that an ack has arrived
    second = await client.subscribe("foo", durableName="d")
    assert await marks(second, 2) == [(1, True), (3, True)]
    await first.ack(1, 3)  # to an ack inbox that is no more
    third = await client.subscribe("foo", durableName="d")
    again = await third.take(2)
    assert [(m.sequence, m.redeliveryCount) for m in again] == [(1, 2), (3, 2)]


@pytest.mark.statement(67)
async def test_close_keeps_and_unsubscribe_forgets(client: Client, channel: str) -> None:
    durable = await client.subscribe(channel, durableName="d")
    await client.publish(channel)
    await durable.take(1, ack=True)
    assert await client.close_subscription(durable) == ""
    await client.publish(channel)
    resumed = await client.subscribe(channel, durableName="d")
    message = await resumed.next()
    assert (message.sequence, message.redelivered) == (2, False)
    await resumed.ack(2)
    assert await client.unsubscribe(resumed) == ""
    anew = await client.subscribe(channel, durableName="d")
    assert await marks(anew, 2) == [(1, False), (2, False)]


@pytest.mark.statement(68)
async def test_unacked_come_first_and_flagged_then_new(client: Client, channel: str) -> None:
    durable = await client.subscribe(channel, durableName="d")
    await client.publish_count(channel, 50)
    await durable.take(50)
    assert await client.close_subscription(durable) == ""
    sent = [client.message(channel, b"new") for _ in range(50)]
    for message in sent[:25]:
        await client.send(message)
    resumed = await client.subscribe(channel, durableName="d")
    for message in sent[25:]:
        await client.send(message)
    expected = [(n, True) for n in range(1, 51)] + [(n, False) for n in range(51, 101)]
    assert await marks(resumed, 100) == expected


@pytest.mark.statement(68)
async def test_only_the_unacked_return(client: Client, channel: str) -> None:
    durable = await client.subscribe(channel, durableName="d")
    await client.publish_count(channel, 6)
    await durable.take(6)
    await durable.ack(1, 3, 5)
    assert await client.close_subscription(durable) == ""
    resumed = await client.subscribe(channel, durableName="d")
    assert await marks(resumed, 3) == [(2, True), (4, True), (6, True)]
    assert await resumed.is_quiet()


@pytest.mark.statement(69)
async def test_all_unacked_return_beyond_max_in_flight(client: Client, channel: str) -> None:
    durable = await client.subscribe(channel, durableName="d", maxInFlight=10)
    await client.publish_count(channel, 11)
    await durable.take(10)
    assert await client.close_subscription(durable) == ""
    resumed = await client.subscribe(channel, durableName="d", maxInFlight=5)
    assert await marks(resumed, 10) == [(n, True) for n in range(1, 11)]
    assert await resumed.is_quiet()
    await resumed.ack(*range(1, 6))
    assert await resumed.is_quiet()  # five are still out, and five is the most
    await resumed.ack(6)
    assert await marks(resumed, 1) == [(11, False)]


@pytest.mark.statement(69)
async def test_resume_takes_the_new_inbox_and_max_in_flight(client: Client, channel: str) -> None:
    durable = await client.subscribe(channel, durableName="d", maxInFlight=1)
    assert await client.close_subscription(durable) == ""
    resumed = await client.subscribe(channel, durableName="d", maxInFlight=3)
    await client.publish_count(channel, 5)
    assert await resumed.take_sequences(3) == [1, 2, 3]
    assert await resumed.is_quiet()
    assert durable.messages.empty()


@pytest.mark.statement(70)
async def test_replaced_client_leaves_its_durable_to_its_successor(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    first = await clients.connect(server)
    await first.publish_count(channel, 3)
    durable = await first.subscribe(channel, durableName="d")
    await durable.take(3)
    await durable.ack(1)
    await first.round_trip()
    await first.vanish()
    second = await clients.connect(server, first.client_id)
    resumed = await second.subscribe(channel, durableName="d")
    assert await marks(resumed, 2) == [(2, True), (3, True)]


@pytest.mark.statement(73)
async def test_resume_needs_a_registered_client(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    first = await clients.connect(server)
    await first.publish_count(channel, 2)
    durable = await first.subscribe(channel, durableName="d")
    await durable.take(1, ack=True)
    await durable.take(1)
    assert await first.close() == ""
    with pytest.raises(Refused, match=r"^stan: unknown clientID$"):
        await first.subscribe(channel, durableName="d")
    second = await clients.connect(server, first.client_id)
    resumed = await second.subscribe(channel, durableName="d")
    assert await marks(resumed, 1) == [(2, True)]


@pytest.mark.statement(74)
async def test_each_resume_has_another_ack_inbox(client: Client, channel: str) -> None:
    inboxes = []
    for _ in range(3):
        durable = await client.subscribe(channel, durableName="d")
        inboxes.append(durable.ack_inbox)
        assert await client.close_subscription(durable) == ""
    assert len(set(inboxes)) == 3
    assert all(inbox.startswith("_INBOX.") for inbox in inboxes)


@pytest.mark.statement(74)
async def test_ack_to_an_old_inbox_is_lost(client: Client, channel: str) -> None:
    await client.publish_count(channel, 2)
    durable = await client.subscribe(channel, durableName="d", maxInFlight=1)
    await durable.take(1)
    assert await client.close_subscription(durable) == ""
    resumed = await client.subscribe(channel, durableName="d", maxInFlight=1)
    assert await marks(resumed, 1) == [(1, True)]
    await durable.ack(1)
    assert await resumed.is_quiet()
    await resumed.ack(1)
    assert await marks(resumed, 1) == [(2, False)]


@pytest.mark.statement(67)
async def test_unsubscribed_name_is_free_at_once(client: Client, channel: str) -> None:
    durable = await client.subscribe(channel, durableName=new_id())
    assert await client.unsubscribe(durable) == ""
    assert await client.unsubscribe(durable) == "stan: invalid subscription"
