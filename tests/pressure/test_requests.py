"""Large requests and worthless acks: they cost whoever sends them, not the others."""

import asyncio
import os
import re

from stan.wire import stan_pb2 as pb
from stan.wire.frames import pub
from tests.pressure.line import Line
from tests.pressure.loads import send_requests
from tests.pressure.pair import Pair
from tests.pressure.processes import PressedServer
from tests.tools.streaming_client import Clients, decode

ACKS = 300_000
# Ten in a second tell of the 75,000 for a channel that is not there; so long may it take.
MOST_LINES = 10 * 30


def connect_requests(count: int, client_id_bytes: int) -> list[bytes]:
    return [
        pb.ConnectRequest(
            clientID=f"{number:08}".ljust(client_id_bytes, "x"), heartbeatInbox=f"_HB.{number}"
        ).SerializeToString()
        for number in range(count)
    ]


async def test_client_ids_of_700_kilobytes_are_refused_and_harm_nobody(
    server: PressedServer,
) -> None:
    subject = f"_STAN.discover.{server.cluster}"
    async with Pair(server) as pair:
        await pair.finish(10)
        answers = await send_requests(server, subject, connect_requests(150, 700_000))
        await pair.finish(10)

    assert server.losses == []
    assert len(answers) == 150
    assert all(decode(pb.ConnectResponse, answer).error for answer in answers)
    assert pair.failures == []


async def test_many_client_ids_of_2_kilobytes_are_all_answered(server: PressedServer) -> None:
    subject = f"_STAN.discover.{server.cluster}"
    async with Pair(server) as pair:
        await pair.finish(10)
        answers = await send_requests(server, subject, connect_requests(5_000, 2_000))
        await pair.finish(10)

    assert server.losses == []
    assert len(answers) == 5_000
    assert pair.failures == []


async def test_acks_of_nobody_cost_nobody_a_message(
    server: PressedServer, clients: Clients
) -> None:
    """For an inbox that does not exist, such that cannot be read, for messages that were never
    sent, and for a channel that is not there. A real ack at the end, for which the second
    message waits, tells when all of them have been gone through."""
    victim = await clients.connect(server)
    subscription = await victim.subscribe("acked", maxInFlight=1)
    await victim.publish_count("acked", 2)
    first = await subscription.next()
    foreign = pb.Ack(subject="acked", sequence=4_000_000).SerializeToString()
    real = pb.Ack(subject="acked", sequence=first.sequence).SerializeToString()
    elsewhere = pb.Ack(subject="nowhere", sequence=1).SerializeToString()
    prefix = subscription.ack_inbox.rsplit(".", 1)[0]
    acks = b"".join(
        (
            pub(f"{prefix}.nobody", foreign),
            pub(subscription.ack_inbox, b"\xff\xff nothing"),
            pub(subscription.ack_inbox, foreign),
            pub(subscription.ack_inbox, elsewhere),
        )
    )
    line = await Line.open(server.nats_url, lambda _: None)

    async with Pair(server) as pair:
        await pair.finish(10)
        for _ in range(ACKS // 4 // 1000):
            line.send(acks * 1000)
            await line.drained()
            await asyncio.sleep(0)
        line.send(pub(subscription.ack_inbox, real))
        second = await subscription.next()
        await pair.finish(10)
    line.close()

    assert server.losses == []
    assert pair.failures == []
    assert second.data == b"2"
    if "STAN_TEST_SERVER" not in os.environ:  # the original has a line for each
        assert len(re.findall("channel nowhere not found", server.output)) < MOST_LINES


async def test_a_flood_of_pings_is_answered(server: PressedServer, clients: Clients) -> None:
    client = await clients.connect(server)
    ping = pb.Ping(connID=client.conn_id).SerializeToString()
    async with Pair(server) as pair:
        answers = await send_requests(server, f"{client.discovery}.pings", [ping] * 20_000)
        await asyncio.wait_for(pair.finish(10), 60)

    assert server.losses == []
    assert len(answers) == 20_000
    assert pair.failures == []
