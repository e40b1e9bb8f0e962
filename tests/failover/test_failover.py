"""One server of a group serves; when it is gone another one does, and clients see a pause.

The client here is nothing but the protocol: it retries nothing, and knows of no failover.
"""

import json

from tests.failover.group import Group
from tests.failover.publisher import Publisher
from tests.tools.streaming_client import Clients


async def test_one_serves_and_the_others_stand_by(group: Group) -> None:
    active, standby = await group.pair()
    assert (await active.get("/streaming/isFTActive"))[0] == 200
    assert (await standby.get("/streaming/isFTActive"))[0] == 204
    for member, state, role in (
        (active, "FT_ACTIVE", "active"),
        (standby, "FT_STANDBY", "standby"),
    ):
        _, text = await member.get("/streaming/serverz")
        assert json.loads(text)["state"] == state
        status, text = await member.get("/healthz/ready")
        assert (status, json.loads(text)) == (200, {"status": "ok", "role": role})
    _, metrics = await standby.get("/metrics")
    assert "nss_ft_standby{" in metrics
    assert "nss_ft_takeovers_total{" in metrics


async def test_an_active_that_is_killed_is_replaced_and_nothing_is_lost(
    group: Group, clients: Clients
) -> None:
    active, standby = await group.pair()
    subscriber = await clients.connect(group)
    subscription = await subscriber.subscribe("foo")
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    await active.kill()
    await standby.leads()
    await publisher.acked(20)
    count = await publisher.stop()
    assert [ack.error for ack in publisher.acks] == [""] * count
    seen: dict[int, bytes] = {}
    while len(seen) < count:
        message = await subscription.next()
        await subscription.ack(message.sequence)
        assert seen.setdefault(message.sequence, message.data) == message.data
    assert [seen[number + 1] for number in range(count)] == [b"%d" % n for n in range(count)]
    assert await subscription.is_quiet()
