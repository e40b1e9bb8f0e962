"""Memory keeps its word: small messages, large requests and a subscriber that does not read fit
into the documented container.

The server and its nats-server run in a control group of that size where the machine lets
us make one; everywhere their peak is read from /proc.
"""

from stan.wire import stan_pb2 as pb
from tests.pressure.loads import Deaf, Flood, Floods, Outcome, send_requests
from tests.pressure.pair import Pair
from tests.pressure.processes import DOCUMENTED_BYTES, PressedServer
from tests.tools.streaming_client import Clients

MESSAGES = 150_000


async def test_a_flood_within_the_window_fits_into_the_documented_memory(
    confined_server: PressedServer, clients: Clients
) -> None:
    floods = await Floods.open(clients, confined_server, 10, 1000)
    async with Pair(confined_server) as pair:
        outcome = await floods.run(MESSAGES)

    assert confined_server.is_alive
    assert confined_server.peak_bytes < DOCUMENTED_BYTES
    assert outcome == Outcome(sent=MESSAGES, acked=MESSAGES)
    assert pair.failures == []


async def test_large_requests_fit_into_the_documented_memory(
    confined_server: PressedServer,
) -> None:
    requests = [
        pb.ConnectRequest(clientID="x" * 700_000, heartbeatInbox=f"_HB.{number}")
        for number in range(300)
    ]
    payloads = [request.SerializeToString() for request in requests]
    async with Pair(confined_server) as pair:
        await send_requests(confined_server, f"_STAN.discover.{confined_server.cluster}", payloads)

    assert confined_server.is_alive
    assert confined_server.peak_bytes < DOCUMENTED_BYTES
    assert pair.failures == []


async def test_a_deaf_subscriber_fits_into_the_documented_memory(
    confined_server: PressedServer, clients: Clients
) -> None:
    flood = await Flood.open(clients, confined_server, 10_000)
    assert (await flood.run(10_000)).acked == 10_000
    async with Pair(confined_server) as pair:
        deaf = await Deaf.open(clients, confined_server)
        await deaf.subscribe(flood.channel, 5, max_in_flight=1_000_000, ack_wait_s=1)
        await pair.finish(300)
    deaf.line.close()

    assert confined_server.is_alive
    assert confined_server.losses == []
    assert confined_server.peak_bytes < DOCUMENTED_BYTES
    assert pair.failures == []
