"""A cluster that loses everything, one part after the other, and no message.

Run it with `make demo-cluster`. Three NATS servers, two streaming servers as one group and
a database; a publisher at 1,000 messages a second and a queue group of two. Then a NATS
server is killed, the active streaming server is killed, the database is restarted, and the
leadership is handed over. The end counts what was lost and what was stored twice: none.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import load
from engine import EngineStage, find_compose
from stage import Cast, Member, Stage, StageError

import stan

BOLD, DIM, GREEN, RED, PLAIN = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m")
    if sys.stdout.isatty()
    else ("", "", "", "", "")
)
RATE = 1000
SETTLE_S = 30.0


class Story:
    """The acts, in order, with a line a second of what the load lives through."""

    def __init__(self, stage: Cast, count: load.Count, act_s: float) -> None:
        self._stage = stage
        self._count = count
        self._act_s = act_s
        self._began_s = time.monotonic()

    async def play(self, sc: stan.Connection) -> None:
        stage = self._stage
        await self._act("Calm", self._nothing)
        await self._act("kill -9 of the publisher's NATS server", lambda: self._kill_nats(sc))
        await self._act("kill -9 of the active streaming server", self._kill_active)
        if stage.database is not None:
            await self._act("The database restarts", self._restart_database)
        await self._act("The leadership is handed over (SIGUSR2)", self._hand_over)

    async def _act(self, title: str, act: Callable[[], Awaitable[None]]) -> None:
        print(f"\n{BOLD}{title}{PLAIN}", flush=True)
        self._count.pause_s = 0.0
        await act()
        until_s = time.monotonic() + self._act_s
        while time.monotonic() < until_s:
            await asyncio.sleep(min(1.0, max(0.1, until_s - time.monotonic())))
            await self._show()
        print(f"  longest pause between two acks: {self._count.pause_s * 1000:.0f} ms", flush=True)

    async def _show(self) -> None:
        states = await asyncio.to_thread(
            lambda: "  ".join(f"{each.name} {each.state}" for each in self._stage.servers)
        )
        nats = " ".join(each.name if each.runs else "------" for each in self._stage.nats)
        count = self._count
        print(
            f"{DIM}{time.monotonic() - self._began_s:5.1f} s  {nats}  {states}"
            f"  published {count.published:,}  acked {len(count.acked):,}"
            f"  received {len(count.received):,}{PLAIN}",
            flush=True,
        )

    # The acts.

    async def _nothing(self) -> None:
        return None

    async def _kill_nats(self, sc: stan.Connection) -> None:
        url = sc.nats.connected_url
        assert url is not None
        server = self._stage.find_owner(f"nats://127.0.0.1:{url.port}")
        print(f"  {server.name} is killed, and comes back at the end of the act")
        await asyncio.to_thread(server.end, signal.SIGKILL)
        asyncio.get_running_loop().call_later(self._act_s * 0.7, server.start)

    async def _kill_active(self) -> None:
        active = await self._find_active()
        print(f"  {active.name} is killed, and comes back at the end of the act")
        await asyncio.to_thread(active.end, signal.SIGKILL)
        asyncio.get_running_loop().call_later(self._act_s * 0.7, active.start)

    async def _restart_database(self) -> None:
        database = self._stage.database
        assert database is not None
        await asyncio.to_thread(database.stop)
        await asyncio.to_thread(database.start)

    async def _hand_over(self) -> None:
        until_s = time.monotonic() + SETTLE_S
        while not await asyncio.to_thread(self._stage.find, "FT_STANDBY"):
            if time.monotonic() > until_s:
                raise StageError("nobody stands by")
            await asyncio.sleep(0.1)
        active = await self._find_active()
        print(f"  {active.name} hands over")
        await asyncio.to_thread(active.hand_over)

    async def _find_active(self) -> Member:
        until_s = time.monotonic() + SETTLE_S
        while True:
            active = await asyncio.to_thread(self._stage.find, "FT_ACTIVE")
            if active is not None:
                return active
            if time.monotonic() > until_s:
                raise StageError("nobody leads")
            await asyncio.sleep(0.1)


async def run(stage: Cast, act_s: float) -> bool:
    """Play the story over the load. Returns whether nothing was lost and nothing came twice."""
    count = load.Count()
    stop = asyncio.Event()
    servers = stage.urls
    async with (
        stan.connect("test-cluster", "worker-1", servers=servers) as one,
        stan.connect("test-cluster", "worker-2", servers=servers) as two,
        stan.connect("test-cluster", "publisher", servers=servers) as publisher,
    ):
        workers = [asyncio.create_task(load.work(each, count)) for each in (one, two)]
        publishing = asyncio.create_task(load.publish(publisher, count, RATE, stop))
        await Story(stage, count, act_s).play(publisher)
        stop.set()
        await publishing
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(count.wait_until_received(), SETTLE_S)
        for worker in workers:
            worker.cancel()
    stored = await load.read_back(servers, count)
    return report(count, stored)


def report(count: load.Count, stored: list[int]) -> bool:
    twice = len(stored) - len(set(stored))
    lost = len(count.acked - set(stored)) + len(count.acked - set(count.received))
    good = not (lost or twice or count.failed)
    colour = GREEN if good else RED
    print(f"\n{BOLD}The end{PLAIN}")
    print(f"  published {count.published:,}, acked {len(count.acked):,}", end="")
    print(f", failed {len(count.failed)}, received {len(count.received):,}", end="")
    print(f" (and {count.again:,} once more, as at-least-once allows)")
    print(f"  {colour}lost {lost}, stored twice {twice}{PLAIN}", end="")
    print(f", longest pause {count.longest_pause_s * 1000:.0f} ms", flush=True)
    for error in sorted(set(count.failed)):
        print(f"  {RED}{error}{PLAIN}")
    return good


def set_stage(stack: contextlib.ExitStack, compose: list[str] | None) -> Cast:
    """In containers where there is an engine that can, else as processes."""
    if compose is not None:
        print(f"Setting the stage with {' '.join(compose)}; the first time this takes minutes.")
        try:
            return stack.enter_context(EngineStage(compose))
        except StageError as error:
            print(f"{error}\nOn with processes instead.", flush=True)
    return stack.enter_context(Stage())


def main() -> int:
    """Run the demo. Returns 0 when nothing was lost, stored twice, or failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="how long an act lasts")
    parser.add_argument(
        "--processes", action="store_true", help="as processes, even with a container engine"
    )
    asked = parser.parse_args()
    seconds = asked.seconds
    try:
        with contextlib.ExitStack() as stack:
            stage = set_stage(stack, None if asked.processes else find_compose())
            print(
                f"Three NATS servers, two streaming servers, {stage.database_name};"
                f" {RATE:,} messages a second. All of it really runs, {stage.place}."
            )
            return 0 if asyncio.run(run(stage, seconds)) else 1
    except (StageError, stan.StanError) as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
