"""The command: `python -m bench.outages`. How long an outage lasts for a client of ours.

A naive program on default options (tests/tools/naive_program.py) publishes and receives while
a part goes away and comes back, again and again; the table has the longest pause of each
time. Nothing here judges, but nothing is measured of a program that ended.
"""

import argparse
import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import stan
from bench.report import render_heading, render_line
from tests.tools.naive_program import Diary, run_program
from tests.tools.outages import NatsCluster, Outage, Scene
from tests.tools.processes import NatsServer

COLUMNS = (
    *("event", "times", "outage", "publisher's pause", "subscriber's pause"),
    *("publisher's beyond the outage", "subscriber's"),
)
_CLIENTS = 20
_PING_S = 5.0


@dataclass
class Row:
    """What was measured of one event."""

    event: str
    outages_s: list[float] = field(default_factory=list)
    publishing_s: list[float] = field(default_factory=list)
    receiving_s: list[float] = field(default_factory=list)

    def add(self, outage: Outage, diary: Diary) -> None:
        """Once more."""
        self.outages_s.append(outage.length_s)
        self.publishing_s.append(diary.publishing_pause_s(outage.began_s))
        self.receiving_s.append(diary.receiving_pause_s(outage.began_s))

    def render(self) -> str:
        """The line of the table."""
        samples = [self.outages_s, self.publishing_s, self.receiving_s]
        times = max(len(each) for each in samples)
        for pauses_s in samples[1:]:
            pairs = zip(pauses_s, self.outages_s, strict=False)
            samples.append([pause_s - outage_s for pause_s, outage_s in pairs])
        return render_line([self.event, str(times), *(_spread(each) for each in samples)])


def _spread(sample: list[float]) -> str:
    if not sample:
        return "-"
    return f"{statistics.median(sample):.2f} s, worst {max(sample):.2f} s"


async def measure_restarts(
    event: str, times: int, *, after_s: float, politely: bool = False, **place: bool
) -> Row:
    """The streaming server ends and comes back, under a program of its own each time."""
    row = Row(event)
    async with AsyncExitStack() as stack:
        scene = await _set_scene(stack, **place)
        end = scene.terminate_and_restart if politely else scene.kill_and_restart
        for number in range(times):
            name = f"p{number}"
            async with run_program(scene.cluster, name, scene.urls, name) as program:
                outage = await end(after_s)
                await program.diary.goes_on()
            row.add(outage, program.diary)
    return row


async def _set_scene(
    stack: AsyncExitStack, *, on_disk: bool = True, sidecar: bool = False
) -> Scene:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stan-outages-")))
    nats = []
    if sidecar:
        nats = [await asyncio.to_thread(NatsServer().start)]
        stack.callback(nats[0].stop)
    source = str(folder / "stan.db") if on_disk else ""
    return await stack.enter_async_context(Scene(folder, source, nats))


async def measure_nats_node(times: int) -> Row:
    """The client's own NATS server of three is killed; the streaming server is on another."""
    row = Row("the client's own NATS server of three is killed")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stan-outages-")))
        cluster = NatsCluster()
        stack.callback(cluster.stop)
        await asyncio.to_thread(cluster.start)
        scene = await stack.enter_async_context(
            Scene(folder, str(folder / "stan.db"), cluster.servers[:1])
        )
        urls = [server.url for server in cluster.servers[1:]]
        for number in range(times):
            name = f"p{number}"
            async with run_program(scene.cluster, name, urls, name) as program:
                began_s = time.monotonic()
                lost = cluster.find(program.connection)
                await asyncio.to_thread(lost.kill)
                await program.diary.goes_on()
            row.add(Outage(began_s, began_s), program.diary)
            await asyncio.to_thread(cluster.start_one, lost)
            await _wait_until_reached(scene, lost)
    return row


async def _wait_until_reached(scene: Scene, nats: NatsServer) -> None:
    """Until a NATS server that was started again has heard of the streaming server."""
    while True:
        with suppress(stan.ConnectTimeoutError):
            async with stan.connect(scene.cluster, "probe", servers=nats.url):
                return
        await asyncio.sleep(0.1)  # routes between NATS servers call nobody


async def measure_telling(event: str, *, hangs: bool) -> Row:
    """Many idle clients, each at another moment between its pings, when the server dies."""
    row = Row(event)
    told_s: list[float] = []
    all_told = asyncio.Event()

    def tell(connection: stan.Connection, reason: str) -> None:
        told_s.append(time.monotonic())
        if len(told_s) == _CLIENTS:
            all_told.set()

    async with AsyncExitStack() as stack:
        scene = await _set_scene(stack, on_disk=False, sidecar=True)
        for number in range(_CLIENTS):
            name = f"c{number}"
            await stack.enter_async_context(
                stan.connect(scene.cluster, name, servers=scene.urls, interrupted_cb=tell)
            )
            await asyncio.sleep(_PING_S / _CLIENTS)
        began_s = time.monotonic()
        if hangs:
            scene.freeze()
        else:
            await asyncio.to_thread(scene.server.kill)
        await all_told.wait()
        if hangs:
            scene.thaw()
        else:
            await asyncio.to_thread(scene.server.start)
    row.receiving_s = [when_s - began_s for when_s in told_s]
    return row


async def measure_closing() -> Row:
    """Many clients close while NATS is away."""
    row = Row("`close()` while NATS is down: how long it takes")

    async def close(connection: stan.Connection) -> float:
        began_s = time.monotonic()
        with suppress(stan.RequestTimeoutError):
            await connection.close()
        return time.monotonic() - began_s

    async with AsyncExitStack() as stack:
        scene = await _set_scene(stack, on_disk=False, sidecar=True)
        connections = [
            await stan.connect(scene.cluster, f"c{number}", servers=scene.urls)
            for number in range(_CLIENTS)
        ]
        await asyncio.to_thread(scene.nats[0].kill)
        took_s = await asyncio.gather(*(close(connection) for connection in connections))
    row.publishing_s = list(took_s)
    return row


def list_rows(times: int) -> dict[str, Callable[[], Awaitable[Row]]]:
    """The rows by name, in order."""
    restarts = partial(measure_restarts, times=times)
    return {
        "sigterm": partial(
            restarts, "SIGTERM, started again 1 s later", after_s=1.0, politely=True
        ),
        "kill": partial(restarts, "kill -9, started again 2 s later", after_s=2.0),
        "sidecar": partial(
            restarts, "kill -9 beside NATS, started again 3 s later", after_s=3.0, sidecar=True
        ),
        "nats": partial(measure_nats_node, times),
        "memory": partial(
            restarts, "kill -9 of a memory server, started again 2 s later", after_s=2.0,
            on_disk=False,
        ),
        "closing": measure_closing,
        "dead": partial(measure_telling, "a server that died: until an idle client is told",
                        hangs=False),
        "hung": partial(measure_telling, "a server that hangs: until an idle client is told",
                        hangs=True),
    }  # fmt: skip


async def measure(names: list[str], times: int) -> None:
    """Print each row as soon as it is known."""
    print(render_heading(COLUMNS), flush=True)
    rows = list_rows(times)
    for name in names:
        print((await rows[name]()).render(), flush=True)


def main() -> None:
    """Run the command."""
    logging.getLogger("stan").setLevel(logging.CRITICAL)
    known = list(list_rows(1))
    parser = argparse.ArgumentParser(prog="python -m bench.outages", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often each outage happens")
    parser.add_argument("--rows", nargs="+", default=known, choices=known)
    options = parser.parse_args()
    asyncio.run(measure(options.rows, options.times))


if __name__ == "__main__":
    main()
