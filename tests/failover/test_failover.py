"""One server of a group serves; when it is gone another one does, and clients see a pause.

The client here is nothing but the protocol: it retries nothing, and knows of no failover.
"""

import json
import signal

import stan
from tests.failover.group import Group
from tests.failover.publisher import Publisher
from tests.tools.streaming_client import Clients, until


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


async def test_the_admin_service_is_that_of_whoever_serves(
    sqlite_group: Group, clients: Clients
) -> None:
    active, standby = await sqlite_group.pair()
    ids = [(await each.says(r"ServerID: \S+")).split()[-1] for each in (active, standby)]
    admin = stan.admin((await clients.connect(sqlite_group)).nc, sqlite_group.cluster)

    async def answers(server_id: str) -> bool:
        try:
            info = await admin.server_info()
        except stan.AdminError:  # nobody, for a moment
            return False
        return (info.server_id, info.state) == (server_id, "FT_ACTIVE")

    async def knows_its_group() -> bool:
        group = (await admin.server_info()).group or {}
        roles = {one["server_id"]: one["role"] for one in group["members"]}
        return roles == {ids[0]: "active", ids[1]: "standby"}

    await until(lambda: answers(ids[0]))
    await until(knows_its_group)
    for _ in range(20):  # the standby takes none of the requests
        assert await answers(ids[0])
    await active.kill()
    await until(lambda: answers(ids[1]))
    third = sqlite_group.spawn()
    await third.stands_by()
    standby.signal(signal.SIGUSR2)
    await third.leads()
    new = (await third.says(r"ServerID: \S+")).split()[-1]
    await until(lambda: answers(new))
