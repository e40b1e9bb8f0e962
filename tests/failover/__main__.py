"""How long a publisher waits for one ack while the server changes: python -m tests.failover

Kills, freezes and hands over again and again, restarts the database and kills NATS servers, and
prints a table: medians and worst, and what was lost, stored twice or failed. The publisher sends
one message at a time, by the published Go client or by ours. With the original server's binary
in STAN_ORIGINAL_SERVER its own groups can be measured beside ours on the same database.
"""

import argparse
import asyncio
import signal
import statistics
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from tests.failover.group import ELSEWHERE, Group, Member
from tests.failover.publishers import PUBLISHERS, Measured
from tests.importing.tables import OriginalTables
from tests.tools.databases import PostgresServer
from tests.tools.outages import NatsCluster
from tests.tools.processes import NatsServer
from tests.tools.streaming_client import Clients
from tests.tools.streaming_server import find_original

CHANNEL = "foo"
HTTP_OK = 200
_SETTLED_ACKS = 100
_AFTER_ACKS = 30
# One that has just begun to stand by lets others go first: so long it is let be.
_STOOD_S = 1.5
# What a subscription is still given to come after all else came.
_DRAIN_S = 3.0
# How long the members may take to be at two NATS servers again.
_APART_S = 30.0


class Scene:
    """A group, what it runs on, and who serves."""

    def __init__(self, group: Group, postgres: PostgresServer, cluster: NatsCluster | None) -> None:
        self.group = group
        self.postgres = postgres
        self.cluster = cluster
        self.under: Sequence[str] = ()
        self.are_apart_by_themselves = True
        self._led: Counter[Member] = Counter()

    async def begin(self) -> None:
        """One serves, one stands by."""
        self.active, self.standby = await self.group.pair(under=self.under)
        self._led[self.active] = 1

    async def replaced(self) -> None:
        """Wait until the standby serves."""
        self._led[self.standby] += 1
        await self.standby.leads(self._led[self.standby])
        self.active, self.standby = self.standby, self.active

    async def renew(self) -> None:
        """A new standby in the place of the one that was."""
        self.standby.signal(signal.SIGKILL)
        await asyncio.to_thread(self.standby.process.wait)
        self.standby = self.group.spawn(under=self.under)
        await self.standby.stands_by()


async def kill(scene: Scene, publisher: Measured) -> None:
    await scene.active.kill()
    await _take_turns(scene, publisher)


async def terminate(scene: Scene, publisher: Measured) -> None:
    scene.active.signal(signal.SIGTERM)
    await _take_turns(scene, publisher)


async def freeze(scene: Scene, publisher: Measured) -> None:
    await scene.active.freeze()
    await _take_turns(scene, publisher)


async def _take_turns(scene: Scene, publisher: Measured) -> None:
    await scene.replaced()
    await publisher.acked(_AFTER_ACKS)
    await scene.renew()


async def hand_over(scene: Scene, publisher: Measured) -> None:
    scene.active.signal(signal.SIGUSR2)
    await scene.replaced()
    await publisher.acked(_AFTER_ACKS)


async def restart_database(scene: Scene, publisher: Measured) -> None:
    await asyncio.to_thread(scene.postgres.stop)
    await asyncio.to_thread(scene.postgres.start)
    await publisher.acked(_AFTER_ACKS)


async def lose_nats(scene: Scene, publisher: Measured) -> None:
    """The NATS server that the active is connected to; the publisher is at another one."""
    assert scene.cluster is not None
    async with asyncio.timeout(_APART_S):
        await _stand_apart(scene)
    await asyncio.sleep(_STOOD_S)
    port = scene.active.nats_port()
    lost = next(each for each in scene.cluster.servers if each.port == port)
    lost.kill()
    await publisher.acked(_AFTER_ACKS)
    await asyncio.to_thread(scene.cluster.start_one, lost)
    await asyncio.to_thread(lost.process.wait_for, "Route connection created")


async def _stand_apart(scene: Scene) -> None:
    """Wait until one serves and the other stands by at another NATS server."""
    while True:
        status, _ = await scene.active.get("/streaming/isFTActive")
        if status != HTTP_OK:  # it left to the other one when it lost NATS the last time
            scene.active, scene.standby = scene.standby, scene.active
        elif (
            not scene.are_apart_by_themselves
            or scene.active.nats_port() != scene.standby.nats_port()
        ):
            return
        await asyncio.sleep(0.1)


FAULTS: dict[str, Callable[[Scene, Measured], Awaitable[None]]] = {
    "kill -9": kill,
    "kill -9 elsewhere": kill,
    "SIGSTOP": freeze,
    "handover": hand_over,
    "SIGTERM": terminate,
    "NATS server lost": lose_nats,
    "database restarted": restart_database,
}


class OriginalGroup(Group):
    """The original's servers on the original's tables."""

    def spawn(
        self, *flags: str, under: Sequence[str] = (), nats_url: str = "", source: str = ""
    ) -> Member:
        argv = (
            *under,
            *(find_original() or "", "-ns", nats_url or self.nats_url, "-cid", self.cluster),
            *("-st", "SQL", "--sql_driver", "postgres", "--sql_source", source or self.source),
            *("-ft_group", "g", *flags),
        )
        member = Member(argv, self._folder, self.source)
        self.members.append(member)
        return member


async def measure(
    server: str, client: str, fault: str, times: int, postgres: PostgresServer
) -> str:
    """A line of the table."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = postgres.source(await postgres.create_database())
        if server == "original":
            tables = OriginalTables("postgres", source)
            await tables.create(with_server=False)
            await tables.execute("CREATE TABLE StoreLock (id VARCHAR(30), tick BIGINT DEFAULT 0)")
            await tables.close()
        kind = OriginalGroup if server == "original" else Group
        if fault == "NATS server lost":
            # Servers stay where they are told to be, away from the publisher.
            cluster = NatsCluster("-no_advertise").start()
            stack.callback(cluster.stop)
            group = kind(source, folder, cluster.servers[2])
            group.nats_url = ",".join(each.url for each in cluster.servers[:2])
        else:
            cluster = None
            nats = NatsServer().start()
            stack.callback(nats.stop)
            group = kind(source, folder, nats)
        stack.push_async_callback(group.close)
        scene = Scene(group, postgres, cluster)
        scene.are_apart_by_themselves = server == "ours"
        scene.under = ELSEWHERE if "elsewhere" in fault else ()
        await scene.begin()
        if cluster is not None:
            group.nats_url = cluster.servers[2].url
        clients = await stack.enter_async_context(Clients())
        publisher = await PUBLISHERS[client].start(group, CHANNEL)
        waits_s = []
        for _ in range(times):
            await asyncio.sleep(_STOOD_S)
            await publisher.acked(_SETTLED_ACKS)
            before = len(publisher.waits_s)
            await FAULTS[fault](scene, publisher)
            waits_s.append(max(publisher.waits_s[before:]))
        await publisher.stop()
        subscriber = await clients.connect(group)
        subscription = await subscriber.subscribe(CHANNEL, maxInFlight=1_000_000)
        received: dict[int, int] = {}  # by sequence: all that is stored
        wanted = set(publisher.acked_numbers)
        while wanted:
            try:
                async with asyncio.timeout(_DRAIN_S):
                    message = await subscription.next()
            except (TimeoutError, AssertionError):
                break
            received[message.sequence] = int(message.data)
            wanted.discard(int(message.data))
        twice = sum(1 for count in Counter(received.values()).values() if count > 1)
    median, worst = statistics.median(waits_s) * 1e3, max(waits_s) * 1e3
    return (
        f"| {fault} | {server} | {client} | {times} | {median:.0f} ms | {worst:.0f} ms"
        f" | {len(publisher.acked_numbers)} | {len(wanted)} | {twice}"
        f" | {len(publisher.failed_numbers)} |"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.failover", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--server", choices=["ours", "original"], default="ours")
    parser.add_argument("--client", choices=list(PUBLISHERS), action="append")
    parser.add_argument("--fault", choices=list(FAULTS), action="append")
    asked = parser.parse_args()
    print("| | server | client | times | median | worst | acked | lost | twice | failed |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    postgres = PostgresServer()
    try:
        for fault in asked.fault or FAULTS:
            for client in asked.client or PUBLISHERS:
                print(await measure(asked.server, client, fault, asked.times, postgres), flush=True)
    finally:
        postgres.remove()


if __name__ == "__main__":
    asyncio.run(main())
