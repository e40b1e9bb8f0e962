"""Groups on MariaDB, and groups that share a cluster ID because each has its own channels."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.failover.group import Group
from tests.failover.publisher import Publisher
from tests.store.conftest import mysql_server
from tests.tools.databases import DatabaseServer
from tests.tools.processes import NatsServer
from tests.tools.streaming_client import Clients

__all__ = ["mysql_server"]


@pytest.fixture
async def mysql_group(
    nats_server: NatsServer, tmp_path: Path, mysql_server: DatabaseServer
) -> AsyncIterator[Group]:
    source = mysql_server.source(await mysql_server.create_database())
    group = Group(source, tmp_path, nats_server)
    yield group
    await group.close()


async def test_a_group_on_mariadb_outlives_a_kill_and_hands_over(
    mysql_group: Group, clients: Clients
) -> None:
    first, second = await mysql_group.pair()
    publisher = Publisher(await clients.connect(mysql_group), "foo")
    await publisher.acked(20)
    await first.kill()
    await second.leads()
    await publisher.acked(20)
    third = mysql_group.spawn()
    await third.stands_by()
    await publisher.acked(20)
    second.signal(signal.SIGUSR2)
    await third.leads()
    await second.stands_by(times=2)
    await publisher.acked(20)
    count = await publisher.stop()
    subscription = await (await clients.connect(mysql_group)).subscribe("foo", maxInFlight=100_000)
    assert [(await subscription.next()).data for _ in range(count)] == [
        b"%d" % number for number in range(count)
    ]
    assert await subscription.is_quiet()


def make_partition(folder: Path, group: str, channels: str) -> tuple[str, ...]:
    """Flags of the members of a group that serves these channels."""
    file = folder / f"{group}.conf"
    listed = f'store_limits {{ channels {{ "{channels}": {{}} }} }}'
    file.write_text(f"streaming {{ partitioning: true, {listed} }}")
    return ("-sc", str(file), "-ft_group", group)


async def test_each_partition_has_a_group_of_its_own(
    nats_server: NatsServer, tmp_path: Path, clients: Clients
) -> None:
    foos, bars = (
        Group(str(tmp_path / f"{name}.db"), tmp_path, nats_server) for name in ("foos", "bars")
    )
    bars.cluster = foos.cluster
    try:
        active, standby = await foos.pair(*make_partition(tmp_path, "foos", "foo.*"))
        others, _ = await bars.pair(*make_partition(tmp_path, "bars", "bar.*"))
        publishers = [
            Publisher(await clients.connect(foos), channel) for channel in ("foo.one", "bar.one")
        ]
        for publisher in publishers:
            await publisher.acked(20)
        await active.kill()
        await standby.leads()
        for publisher in publishers:
            await publisher.acked(20)
            assert {ack.error for ack in publisher.acks} == {""}
            await publisher.stop()
        assert (await others.get("/streaming/isFTActive"))[0] == 200
        for member, channel in ((standby, "foo.one"), (others, "bar.one")):
            _, listed = await member.get("/streaming/channelsz")
            assert f'"{channel}"' in listed
            assert '"count": 1' in listed
    finally:
        await foos.close()
        await bars.close()
