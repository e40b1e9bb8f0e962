"""What a group survives besides a kill: a machine that is gone, a cut to NATS, a database that
is restarted, requests that come while nobody serves; and what a standby cannot make good."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.failover.group import ELSEWHERE, Group, Member
from tests.failover.publisher import Publisher
from tests.tools.databases import DatabaseServer
from tests.tools.outages import NatsCluster
from tests.tools.processes import NatsServer
from tests.tools.proxy import Proxy
from tests.tools.streaming_client import Clients, until

# So long that no test waits for its end.
LONG_LEASE = ("-ft_lease", "2m")


@pytest.fixture
def elsewhere() -> tuple[str, ...]:
    try:
        subprocess.run([*ELSEWHERE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("namespaces of processes are not to be had here")
    return ELSEWHERE


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    """Between one server and NATS."""
    proxy = Proxy(nats_server.port)
    await proxy.open()
    yield proxy
    await proxy.close()


async def test_what_is_gone_elsewhere_is_replaced_on_the_word_of_nats(
    group: Group, clients: Clients, elsewhere: tuple[str, ...]
) -> None:
    active = group.spawn(*LONG_LEASE, under=elsewhere)
    await active.leads()
    standby = group.spawn(*LONG_LEASE)
    await standby.stands_by()
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    await active.kill()
    await standby.leads()
    await publisher.acked(20)
    await publisher.stop()


async def test_an_active_that_lost_nats_steps_down_and_stands_by(
    group: Group, clients: Clients, proxy: Proxy
) -> None:
    url = f"nats://127.0.0.1:{proxy.port}"
    active = group.spawn(*LONG_LEASE, nats_url=url)
    await active.leads()
    standby = group.spawn(*LONG_LEASE)
    await standby.stands_by()
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    proxy.refusing = True
    proxy.cut()
    await standby.leads()
    await active.says("another server took the store over: .*: standing by")
    await active.stands_by(times=2)
    await publisher.acked(20)
    proxy.refusing = False
    await active.says("reconnected to NATS Server")
    await publisher.acked(20)
    await standby.kill()
    await active.leads(times=2)
    await publisher.acked(20)
    await publisher.stop()


async def test_an_active_that_lost_its_database_is_silent_when_another_one_serves(
    postgres_group: Group, postgres_server: DatabaseServer, clients: Clients
) -> None:
    proxy = Proxy(postgres_server.port)
    await proxy.open()
    try:
        database = postgres_group.source.rpartition("/")[2].partition("?")[0]
        flags = ("-ft_lease", "1s")
        active = postgres_group.spawn(
            *flags, source=postgres_server.source(database, port=proxy.port)
        )
        await active.leads()
        standby = postgres_group.spawn(*flags)
        await standby.stands_by()
        publisher = Publisher(await clients.connect(postgres_group), "foo")
        await publisher.acked(20)
        proxy.refusing = True
        proxy.cut()
        await standby.leads()
        await publisher.acked(20)
        assert await publisher.stop() == len({ack.guid for ack in publisher.acks})
        proxy.restore()
        await active.stands_by(times=2)
    finally:
        await postgres_group.close()
        await proxy.close()


async def test_nobody_ends_when_the_database_is_restarted(
    postgres_group: Group, postgres_server: DatabaseServer, clients: Clients
) -> None:
    first, second = await postgres_group.pair("-ft_lease", "1s")
    publisher = Publisher(await clients.connect(postgres_group), "foo")
    await publisher.acked(20)
    await asyncio.to_thread(postgres_server.stop)
    for member in (first, second):
        await member.says("Store: .*")
    await asyncio.to_thread(postgres_server.start)
    await publisher.acked(50)
    await second.says("The store is back|Streaming Server is ready")
    for member in (first, second):
        assert member.process.process.poll() is None
        assert "Traceback" not in member.process.output
    assert second.process.output.count("waiting for it") == 1
    await publisher.stop()


async def test_nobody_ends_when_nats_is_restarted(group: Group, clients: Clients) -> None:
    nats = NatsServer().start()
    group.nats_url = nats.url
    try:
        first, second = await group.pair()
        nats.kill()
        for member in (first, second):
            await member.says("NATS connection lost")
        nats.start()
        for member in (first, second):
            await member.says("reconnected to NATS Server")
        publisher = Publisher(await clients.connect(group), "foo")
        await publisher.acked(20)
        await publisher.stop()
        for member in (first, second):
            assert member.process.process.poll() is None
    finally:
        await group.close()
        nats.stop()


async def test_what_is_asked_while_nobody_serves_is_answered(
    group: Group, clients: Clients
) -> None:
    active, standby = await group.pair("-ft_lease", "1s")
    old = await clients.connect(group)
    await old.publish("foo", b"before")
    await active.freeze()
    assert await old.ping() == ""
    new = await clients.connect(group)
    subscription = await new.subscribe("foo")
    assert (await new.publish("foo", b"after")).error == ""
    assert [one.data for one in await subscription.take(2, ack=True)] == [b"before", b"after"]
    await standby.leads()
    active.signal(signal.SIGCONT)
    await active.stands_by(times=2)
    assert await subscription.is_quiet()


async def test_acks_that_nobody_took_are_taken(sqlite_group: Group, clients: Clients) -> None:
    active, standby = await sqlite_group.pair("-ft_lease", "1s")
    client = await clients.connect(sqlite_group)
    subscription = await client.subscribe("foo", durableName="dur", maxInFlight=2)
    await client.publish_count("foo", 4)
    sequences = await subscription.take_sequences(2)

    async def is_recorded() -> bool:
        return await sqlite_group.query("SELECT in_flight FROM stan_subscriptions") == [("1-2",)]

    await until(is_recorded)
    await active.freeze()
    await subscription.ack(*sequences)
    await standby.leads()
    # Without the acks both are in flight, and nothing more may come.
    while (await subscription.next()).sequence != 4:
        pass


async def test_what_does_not_fit_is_said(sqlite_group: Group, clients: Clients) -> None:
    active, standby = await sqlite_group.pair("-ft_lease", "1s", "-ft_buffer", "1MB")
    client = await clients.connect(sqlite_group)
    await client.publish("foo")
    await active.freeze()
    for number in range(20):
        await client.send(client.message("foo", b"%d" % number + bytes(100_000)))
        await client.nc.flush()
    await standby.says(r"is not held \(ft_buffer had no room for \d+\)")
    await standby.leads()
    last = b""
    subscription = await client.subscribe("foo")
    while not last.startswith(b"19"):
        last = (await subscription.next()).data


async def test_a_standby_that_came_late_says_what_it_did_not_hear(sqlite_group: Group) -> None:
    active = sqlite_group.spawn("-ft_lease", "1s")
    await active.leads()
    await active.freeze()
    standby = sqlite_group.spawn("-ft_lease", "1s")
    await standby.says(r"is not held \(it was not heard\)")
    await standby.leads()


async def test_what_was_sent_while_an_active_had_no_nats_is_made_good_by_a_standby(
    group: Group, clients: Clients, proxy: Proxy
) -> None:
    url = f"nats://127.0.0.1:{proxy.port}"
    active = group.spawn(*LONG_LEASE, nats_url=url)
    await active.leads()
    standby = group.spawn(*LONG_LEASE)
    await standby.stands_by()
    client = await clients.connect(group)
    publisher = Publisher(client, "foo")
    # The standby holds all that is not settled once its own beginning is.
    await publisher.acked(300)
    proxy.cut()
    await standby.leads()
    await publisher.acked(20)
    await active.stands_by(times=2)
    await publisher.stop()


async def test_the_one_standby_that_heard_all_makes_it_good_whoever_asks_first(
    sqlite_group: Group, clients: Clients, proxy: Proxy
) -> None:
    url = f"nats://127.0.0.1:{proxy.port}"
    active = sqlite_group.spawn(*LONG_LEASE, nats_url=url)
    await active.leads()
    deaf = sqlite_group.spawn(*LONG_LEASE, nats_url=url)
    heard_all = sqlite_group.spawn(*LONG_LEASE)
    for standby in (deaf, heard_all):
        await standby.stands_by()
    publisher = Publisher(await clients.connect(sqlite_group), "foo")
    await publisher.acked(300)
    proxy.cut()  # both ask at once when they are back
    await heard_all.leads()
    await publisher.acked(20)
    await publisher.stop()


@pytest.fixture
def nats_cluster() -> Iterator[NatsCluster]:
    """Three NATS servers; who was told of two of them stays there."""
    cluster = NatsCluster("-no_advertise").start()
    yield cluster
    cluster.stop()


async def test_members_at_one_nats_server_go_apart_and_outlive_either(
    sqlite_group: Group, clients: Clients, nats_cluster: NatsCluster
) -> None:
    one, two, clients_own = nats_cluster.servers
    # In this order for both; each begins somewhere. The publisher is where nothing happens.
    sqlite_group.nats_url = f"{one.url},{two.url}"
    first, second = await sqlite_group.pair()
    sqlite_group.nats_url = clients_own.url
    publisher = Publisher(await clients.connect(sqlite_group), "foo")
    for active, standby, times in ((first, second, 1), (second, first, 2)):

        async def are_apart(active: Member = active, standby: Member = standby) -> bool:
            return active.nats_port() != standby.nats_port()

        await until(are_apart)
        await publisher.acked(2000)  # all that the standby had missed is settled
        lost = one if one.port == active.nats_port() else two
        lost.kill()
        await standby.leads(times)
        await publisher.acked(20)
        await asyncio.to_thread(nats_cluster.start_one, lost)
        await asyncio.to_thread(lost.process.wait_for, "Route connection created")
    await publisher.stop()
