"""Publishers who send as much as their libraries let them, and their neighbours.

A window of 16,384 is what stan.go has by default: whoever keeps to it is never refused, and
a neighbour who publishes one at a time is served all the time.
"""

import pytest

from tests.pressure.loads import Floods, Outcome
from tests.pressure.pair import Pair
from tests.pressure.processes import PressedServer
from tests.tools.streaming_client import Clients

MB = 1_000_000
# How much of a flood is stored while one message of a neighbour waits, on average: a commit
# that is under way, the next one, and what sockets and NATS hold, which on a busy machine is
# most of it: 13 to 18 MB on a quiet one, 33 beside a compiler. Without lanes it is 75 and more.
FAIR_BYTES = 48 * MB


@pytest.mark.parametrize(
    ("publishers", "messages", "payload_bytes"),
    [
        pytest.param(1, 300, MB, id="one of 1 MB"),
        pytest.param(10, 300_000, 1000, id="ten of 1 KB"),
        pytest.param(4, 20_000, 10_000, id="four of 10 KB"),
        pytest.param(4, 3_000, 100_000, id="four of 100 KB"),
    ],
)
async def test_a_flood_within_the_window_is_taken_and_neighbours_do_not_wait(
    server: PressedServer,
    clients: Clients,
    publishers: int,
    messages: int,
    payload_bytes: int,
) -> None:
    floods = await Floods.open(clients, server, publishers, payload_bytes)
    async with Pair(server, lambda: floods.acked_bytes) as pair:
        await pair.finish(10)
        pair.overtaken.clear()
        outcome = await floods.run(messages)
        overtaken = list(pair.overtaken)
        await pair.finish(10)

    assert server.losses == []
    assert outcome == Outcome(sent=messages, acked=messages)
    assert pair.failures == []
    assert len(overtaken) > messages * payload_bytes // FAIR_BYTES
