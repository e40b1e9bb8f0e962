"""A subscriber that stops reading its socket costs itself, not the others."""

from tests.pressure.loads import Deaf, Flood
from tests.pressure.pair import Pair
from tests.pressure.processes import PressedServer
from tests.tools.streaming_client import Clients

BACKLOG = 30_000
PAYLOAD_BYTES = 1000


async def test_neighbours_of_a_subscriber_that_stops_reading_are_acked(
    server: PressedServer, clients: Clients
) -> None:
    """Five subscriptions to which everything may be sent at once, and again every two seconds."""
    flood = await Flood.open(clients, server, PAYLOAD_BYTES)
    assert (await flood.run(BACKLOG)).acked == BACKLOG

    async with Pair(server) as pair:
        await pair.finish(10)
        deaf = await Deaf.open(clients, server)
        await deaf.subscribe(flood.channel, 5, max_in_flight=1_000_000, ack_wait_s=2)
        await pair.finish(300)
    deaf.line.close()

    assert server.losses == []
    assert pair.failures == []


async def test_publishers_of_the_channel_of_a_deaf_subscriber_are_acked(
    server: PressedServer, clients: Clients
) -> None:
    flood = await Flood.open(clients, server, PAYLOAD_BYTES, window=1000)
    deaf = await Deaf.open(clients, server)
    await deaf.subscribe(flood.channel, 5, max_in_flight=1_000_000, ack_wait_s=2)
    async with Pair(server) as pair:
        outcome = await flood.run(BACKLOG)
        await pair.finish(10)
    reader = await clients.connect(server)
    subscription = await reader.subscribe(flood.channel)
    sequences = await subscription.take_sequences(BACKLOG, ack=True)
    deaf.line.close()

    assert server.losses == []
    assert outcome.acked == BACKLOG
    assert sequences == list(range(1, BACKLOG + 1))
    assert pair.failures == []
