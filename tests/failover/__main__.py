"""How long a publisher waits for one ack while the server changes: python -m tests.failover

Kills, freezes and hands over again and again on each database, and prints medians and worst.
The publisher sends one message at a time and knows nothing of failover.
"""

import asyncio
import signal
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.failover.group import ELSEWHERE, Group, Member
from tests.failover.publisher import Publisher
from tests.tools.databases import PostgresServer
from tests.tools.processes import NatsServer
from tests.tools.streaming_client import Clients

Fault = Callable[[Group, Member], Awaitable[None]]


async def kill(group: Group, active: Member) -> None:
    await active.kill()


async def lose_machine(group: Group, active: Member) -> None:
    """Where the others cannot see that the process is gone."""
    await active.kill()


async def hand_over(group: Group, active: Member) -> None:
    active.signal(signal.SIGUSR2)


async def terminate(group: Group, active: Member) -> None:
    active.signal(signal.SIGTERM)


async def freeze(group: Group, active: Member) -> None:
    await active.freeze()


FAULTS: dict[str, Fault] = {
    "kill -9": kill,
    "kill -9 elsewhere": lose_machine,
    "handover": hand_over,
    "SIGTERM": terminate,
    "SIGSTOP": freeze,
}


async def measure(group: Group, fault: Fault, times: int) -> list[float]:
    """The longest wait for an ack around each fault."""
    waits_s = []
    async with Clients() as clients:
        under = ELSEWHERE if fault is lose_machine else ()
        active, standby = await group.pair(under=under)
        led = {active: 1, standby: 0}
        subscription = await (await clients.connect(group)).subscribe("foo", maxInFlight=100_000)
        publisher = Publisher(await clients.connect(group), "foo")
        for _ in range(times):
            await publisher.acked(300)
            before = len(publisher.waits_s)
            await fault(group, active)
            led[standby] += 1
            await standby.leads(led[standby])
            await publisher.acked(50)
            waits_s.append(max(publisher.waits_s[before:]))
            former, active = active, standby
            if fault is hand_over:
                standby = former
                continue
            former.signal(signal.SIGKILL)
            await asyncio.to_thread(former.process.wait)
            standby = group.spawn(under=under)
            led[standby] = 0
            await standby.stands_by()
        count = await publisher.stop()
        assert not any(ack.error for ack in publisher.acks)
        seen: dict[int, bytes] = {}
        while len(seen) < count:
            message = await subscription.next()
            seen[message.sequence] = message.data
        twice = count - len(set(seen.values()))
        print(f"    published {count}, failed 0, stored twice {twice}", flush=True)
    return waits_s


async def main(times: int, names: list[str]) -> None:
    nats = NatsServer().start()
    postgres = PostgresServer()
    try:
        for database in ("sqlite", "postgres"):
            for name in names:
                with tempfile.TemporaryDirectory() as folder:
                    source = f"{folder}/stan.db"
                    if database == "postgres":
                        source = postgres.source(await postgres.create_database())
                    group = Group(source, Path(folder), nats)
                    try:
                        waits_s = await measure(group, FAULTS[name], times)
                    finally:
                        await group.close()
                median_ms, worst_ms = statistics.median(waits_s) * 1e3, max(waits_s) * 1e3
                figures = f"median {median_ms:.0f} ms, worst {worst_ms:.0f} ms of {times}"
                print(f"{database} {name}: {figures}", flush=True)
    finally:
        postgres.remove()
        nats.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:] or list(FAULTS)))
