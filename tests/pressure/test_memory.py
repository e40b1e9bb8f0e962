"""Memory keeps its word: every load fits into the container that the documentation names.

The server and its nats-server run in a control group of that size where the machine lets
us make one; everywhere their peak is read from /proc.
"""

import pytest

from stan.wire import stan_pb2 as pb
from tests.pressure.loads import Deaf, Flood, Floods, Outcome, send_requests
from tests.pressure.pair import Pair
from tests.pressure.processes import DOCUMENTED_BYTES, PressedServer
from tests.tools.streaming_client import Clients

MB = 1_000_000


@pytest.mark.parametrize(
    ("publishers", "messages", "payload_bytes"),
    [
        pytest.param(1, 300, MB, id="one of 1 MB"),
        pytest.param(3, 600, MB, id="three of 1 MB"),
        pytest.param(10, 300_000, 1000, id="ten of 1 KB"),
        pytest.param(4, 6_000, 100_000, id="four of 100 KB"),
    ],
)
async def test_floods_fit_into_the_documented_memory(
    confined_server: PressedServer,
    clients: Clients,
    publishers: int,
    messages: int,
    payload_bytes: int,
) -> None:
    floods = await Floods.open(clients, confined_server, publishers, payload_bytes)
    async with Pair(confined_server) as pair:
        outcome = await floods.run(messages)

    assert confined_server.is_alive
    assert confined_server.peak_bytes < DOCUMENTED_BYTES
    assert outcome == Outcome(sent=messages, acked=messages)
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


async def test_deaf_subscribers_fit_into_the_documented_memory(
    confined_server: PressedServer, clients: Clients
) -> None:
    """Three of them: what NATS keeps for each is bounded, what the server keeps as well."""
    flood = await Flood.open(clients, confined_server, 10_000)
    for _ in range(3):
        deaf = await Deaf.open(clients, confined_server)
        await deaf.subscribe(flood.channel, 5, max_in_flight=1_000_000, ack_wait_s=2)
    async with Pair(confined_server) as pair:
        outcome = await flood.run(10_000)

    assert confined_server.is_alive
    assert confined_server.peak_bytes < DOCUMENTED_BYTES
    assert outcome.acked == 10_000
    assert pair.failures == []
