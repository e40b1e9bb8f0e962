"""Statements on where a new subscription starts, whatever the channel holds."""

import asyncio
import time

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, Subscription

from .conftest import StartServer

MS = 1_000_000
SECOND = 1_000 * MS


async def start_at(client: Client, channel: str, sequence: int) -> Subscription:
    """Subscribe from a sequence."""
    return await client.subscribe(channel, startPosition=pb.SequenceStart, startSequence=sequence)


async def start_back(client: Client, channel: str, delta_ns: int) -> Subscription:
    """Subscribe from `delta_ns` ago."""
    return await client.subscribe(channel, startPosition=pb.TimeDeltaStart, startTimeDelta=delta_ns)


@pytest.mark.statement(40)
async def test_new_only_skips_what_is_there(client: Client, channel: str) -> None:
    await client.publish_count(channel, 2)
    subscription = await client.subscribe(channel, startPosition=pb.NewOnly)
    await client.publish(channel)
    assert (await subscription.next()).sequence == 3


@pytest.mark.statement(41)
async def test_last_received_starts_with_the_last(client: Client, channel: str) -> None:
    await client.publish_count(channel, 2)
    subscription = await client.subscribe(channel, startPosition=pb.LastReceived)
    await client.publish(channel)
    assert await subscription.take_sequences(2) == [2, 3]


@pytest.mark.statement(41)
async def test_last_received_on_an_empty_channel(client: Client, channel: str) -> None:
    subscription = await client.subscribe(channel, startPosition=pb.LastReceived)
    await client.publish(channel)
    assert (await subscription.next()).sequence == 1


@pytest.mark.statement(42)
async def test_first_starts_with_the_first(client: Client, channel: str) -> None:
    await client.publish_count(channel, 2)
    assert await (await client.subscribe(channel)).take_sequences(2) == [1, 2]


@pytest.mark.statement(43)
async def test_sequence_start_within_the_channel(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mm", "10")
    client = await clients.connect(server)
    await client.publish_count("foo", 20)
    for asked, got in ((1, 11), (11, 11), (14, 14), (20, 20)):
        assert (await (await start_at(client, "foo", asked)).next()).sequence == got


@pytest.mark.statement(43)
@pytest.mark.parametrize("asked", [21, 100])
async def test_sequence_start_beyond_the_last_is_the_next(
    client: Client, channel: str, asked: int
) -> None:
    await client.publish_count(channel, 20)
    subscription = await start_at(client, channel, asked)
    await client.publish(channel)
    assert (await subscription.next()).sequence == 21


@pytest.mark.statement(44)
async def test_sequence_zero_is_the_first(client: Client, channel: str) -> None:
    await client.publish_count(channel, 3)
    assert (await (await start_at(client, channel, 0)).next()).sequence == 1


@pytest.mark.statement(45)
async def test_sequence_start_on_an_empty_channel(client: Client, channel: str) -> None:
    subscription = await start_at(client, channel, 10)
    await client.publish(channel)
    assert (await subscription.next()).sequence == 1


@pytest.mark.statement(46)
async def test_time_delta_selects_by_age(client: Client, channel: str) -> None:
    await client.publish(channel, b"old")
    old_at = time.time_ns()
    await asyncio.sleep(0.5)
    await client.publish(channel, b"young")
    halfway = time.time_ns() - old_at - 250 * MS
    assert (await (await start_back(client, channel, 10 * SECOND)).next()).sequence == 1
    assert (await (await start_back(client, channel, halfway)).next()).sequence == 2
    await asyncio.sleep(0.25)
    recent = await start_back(client, channel, 100 * MS)
    await client.publish(channel)
    assert (await recent.next()).sequence == 3


@pytest.mark.statement(47)
async def test_future_time_is_new_only(client: Client, channel: str) -> None:
    await client.publish(channel)
    subscription = await start_back(client, channel, -10 * SECOND)
    await client.publish(channel)
    assert (await subscription.next()).sequence == 2


@pytest.mark.statement(47)
async def test_time_on_an_empty_channel(client: Client, channel: str) -> None:
    past = await start_back(client, channel, SECOND)
    future = await start_back(client, channel, -SECOND)
    await client.publish(channel)
    assert (await past.next()).sequence == 1
    assert (await future.next()).sequence == 1


@pytest.mark.statement(48)
async def test_every_position_of_an_expired_channel_is_the_next(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    starts: list[dict[str, object]] = [
        {"startPosition": pb.NewOnly},
        {"startPosition": pb.LastReceived},
        {"startPosition": pb.First},
        {"startPosition": pb.SequenceStart, "startSequence": 1},
        {"startPosition": pb.SequenceStart, "startSequence": 100},
        {"startPosition": pb.TimeDeltaStart, "startTimeDelta": 10 * SECOND},
        {"startPosition": pb.TimeDeltaStart, "startTimeDelta": -10 * SECOND},
    ]
    server = await start_server(store, "-ma", "200ms")
    client = await clients.connect(server)
    await client.publish_count("foo", 3)
    await asyncio.sleep(0.5)  # nothing tells a client that messages expired
    subscriptions = [await client.subscribe("foo", **start) for start in starts]
    await client.publish("foo")
    for subscription in subscriptions:
        assert (await subscription.next()).sequence == 4
