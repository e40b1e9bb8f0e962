"""How a server of a group stops serving: frozen, handed over, ended, beaten; and that one that
was replaced says nothing more and stands by again, in the same process."""

import asyncio
import signal
import subprocess
import sys

import pytest

from tests.failover.group import Group, Member
from tests.failover.publisher import Publisher
from tests.tools.processes import StartFailed
from tests.tools.streaming_client import Clients

LEASE = ("-ft_lease", "1s")


async def require_order(group: Group, clients: Clients, count: int) -> None:
    """Every number that was published is there once, in order."""
    subscription = await (await clients.connect(group)).subscribe("foo", maxInFlight=100_000)
    assert [(await subscription.next()).data for _ in range(count)] == [
        b"%d" % number for number in range(count)
    ]
    assert await subscription.is_quiet()


async def test_a_frozen_active_is_replaced_and_stands_by_when_it_wakes_up(
    group: Group, clients: Clients
) -> None:
    active, standby = await group.pair(*LEASE)
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    await active.freeze()
    await standby.leads()
    await publisher.acked(20)
    active.signal(signal.SIGCONT)
    await active.says("another server took the store over: .*: standing by")
    await active.stands_by(times=2)
    await publisher.acked(20)
    assert active.process.process.poll() is None
    await require_order(group, clients, await publisher.stop())


async def test_the_one_that_was_deposed_takes_over_again(group: Group, clients: Clients) -> None:
    first, second = await group.pair(*LEASE)
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    await first.freeze()
    await second.leads()
    first.signal(signal.SIGCONT)
    await first.stands_by(times=2)
    await publisher.acked(20)
    await second.kill()
    await first.leads(times=2)
    await publisher.acked(20)
    await require_order(group, clients, await publisher.stop())


async def test_what_is_handed_over_goes_on_with_the_other(group: Group, clients: Clients) -> None:
    first, second = await group.pair()
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    order = (sys.executable, "-m", "stan.cli.server", "-sl", f"handover={first.process.pid}")
    await asyncio.to_thread(subprocess.run, order, check=True)
    await second.leads()
    await first.stands_by(times=2)
    await publisher.acked(20)
    second.signal(signal.SIGUSR2)
    await first.leads(times=2)
    await publisher.acked(20)
    await require_order(group, clients, await publisher.stop())


async def test_an_active_that_is_ended_leaves_the_store_to_the_standby(
    group: Group, clients: Clients
) -> None:
    active, standby = await group.pair()
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    active.signal(signal.SIGTERM)
    await standby.leads()
    assert await asyncio.to_thread(active.process.wait) == 128 + signal.SIGTERM
    await publisher.acked(20)
    await require_order(group, clients, await publisher.stop())


async def test_nothing_is_handed_over_to_nobody(sqlite_group: Group) -> None:
    active = sqlite_group.spawn()
    await active.leads()
    active.signal(signal.SIGUSR2)
    await active.says("Not handing over: nobody stands by")
    assert (await active.get("/streaming/isFTActive"))[0] == 200


async def test_a_standby_has_nothing_to_hand_over(sqlite_group: Group) -> None:
    _, standby = await sqlite_group.pair()
    standby.signal(signal.SIGUSR2)
    await standby.says("Nothing to hand over")


async def test_a_standby_ends_when_it_is_told_to(group: Group) -> None:
    active, standby = await group.pair()
    standby.signal(signal.SIGTERM)
    assert await asyncio.to_thread(standby.process.wait) == 128 + signal.SIGTERM
    assert (await active.get("/streaming/isFTActive"))[0] == 200
    assert "Traceback" not in standby.process.output


async def states(*members: Member) -> list[int]:
    return sorted([(await each.get("/streaming/isFTActive"))[0] for each in members])


async def test_of_two_standbys_one_wins(group: Group, clients: Clients) -> None:
    active, second = await group.pair()
    third = group.spawn()
    await third.stands_by()
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    await active.kill()
    await publisher.acked(20)
    assert await states(second, third) == [200, 204]
    await require_order(group, clients, await publisher.stop())


async def test_of_two_that_begin_on_an_empty_database_one_serves(
    group: Group, clients: Clients
) -> None:
    members = [group.spawn(), group.spawn()]
    for each in members:
        await each.stands_by()
    leading = [asyncio.ensure_future(each.leads()) for each in members]
    await asyncio.wait(leading, return_when=asyncio.FIRST_COMPLETED)
    publisher = Publisher(await clients.connect(group), "foo")
    await publisher.acked(20)
    assert await states(*members) == [200, 204]
    await publisher.stop()
    for each in leading:
        each.cancel()
    # The wait for the other one ends with its process.
    await group.close()
    await asyncio.gather(*leading, return_exceptions=True)


async def test_memory_cannot_be_shared(sqlite_group: Group) -> None:
    member = sqlite_group.spawn("-st", "MEMORY")
    with pytest.raises(StartFailed, match="ft: only FILE or SQL stores supported in FT mode"):
        await member.leads()
    assert await asyncio.to_thread(member.process.wait) == 1
