"""One program that writes messages in transactions and takes them out again, through one library.

Run by `bench.outbox` with the Python in which that library is installed: it prints one line of
JSON. Writing is the same for all: several writers, each with transactions of some rows. First
nobody takes them out, then somebody does while they are written; at last one row at a time
comes while nothing else happens. Nothing here is imported by the rest of the package.
"""

import asyncio
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

WRITERS = 8
ROWS_PER_TRANSACTION = 10
Deliver = Callable[[str], None]


class Stan:
    """This project; the server runs already, on the database that is given."""

    def __init__(self, url: str, cluster: str, nats_url: str, server_pid: str) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self._engine = create_async_engine(url, pool_size=WRITERS)
        self._cluster, self._nats_url = cluster, nats_url
        self._server_pid = int(server_pid)

    async def prepare(self, deliver: Deliver) -> None:
        import stan

        async def receive(message: Any) -> None:
            deliver(message.data.decode())

        self._connection = await stan.connect(self._cluster, "load", servers=self._nats_url)
        await self._connection.subscribe("load", receive, start_at="first")
        os.kill(self._server_pid, signal.SIGSTOP)

    async def begin(self) -> None:
        os.kill(self._server_pid, signal.SIGCONT)

    async def write(self, names: list[str]) -> None:
        import stan

        async with self._engine.begin() as db:
            outbox = stan.outbox(db)
            for name in names:
                await outbox.publish("load", name.encode())

    async def stop(self) -> None:
        await self._connection.close()
        await self._engine.dispose()


class Faststream:
    """faststream-outbox, with LISTEN and several workers."""

    def __init__(self, url: str) -> None:
        from faststream_outbox import OutboxBroker, make_outbox_table
        from sqlalchemy import MetaData
        from sqlalchemy.ext.asyncio import create_async_engine

        self._metadata = MetaData()
        self._engine = create_async_engine(url, pool_size=WRITERS + 12)
        table = make_outbox_table(self._metadata, table_name="outbox")
        self._broker: Any = OutboxBroker(self._engine, outbox_table=table)

    async def prepare(self, deliver: Deliver) -> None:
        @self._broker.subscriber(  # type: ignore[untyped-decorator,unused-ignore]
            "load", max_workers=8, fetch_batch_size=100, min_fetch_interval=0.02
        )
        async def receive(body: str) -> None:
            deliver(body)

        async with self._engine.begin() as db:
            await db.run_sync(self._metadata.create_all)

    async def begin(self) -> None:
        await self._broker.start()

    async def write(self, names: list[str]) -> None:
        async with self._engine.begin() as db:
            for name in names:
                await self._broker.publish(name, queue="load", session=db)

    async def stop(self) -> None:
        await self._broker.stop()
        await self._engine.dispose()


class Procrastinate:
    """A job queue, with LISTEN; it writes the rows of a transaction by one statement."""

    def __init__(self, url: str) -> None:
        import procrastinate

        address = url.replace("postgresql+asyncpg://", "postgresql://")
        connector = procrastinate.PsycopgConnector(conninfo=address, max_size=WRITERS + 8)
        self._app = procrastinate.App(connector=connector)

    async def prepare(self, deliver: Deliver) -> None:
        @self._app.task(name="load")  # type: ignore[untyped-decorator,unused-ignore]
        async def receive(name: str) -> None:
            deliver(name)

        self._task = receive
        await self._app.open_async()
        await self._app.schema_manager.apply_schema_async()

    async def begin(self) -> None:
        self._worker = asyncio.create_task(
            self._app.run_worker_async(
                concurrency=8, delete_jobs="always", install_signal_handlers=False
            )
        )

    async def write(self, names: list[str]) -> None:
        await self._task.batch_defer_async(*[{"name": name} for name in names])

    async def stop(self) -> None:
        self._worker.cancel()
        with suppress(asyncio.CancelledError):
            await self._worker
        await self._app.close_async()


LIBRARIES: dict[str, Callable[..., Any]] = {
    "stan": Stan,
    "faststream-outbox": Faststream,
    "procrastinate": Procrastinate,
}


class Deliveries:
    """What has come, when."""

    def __init__(self) -> None:
        self.came_s: dict[str, float] = {}
        self.doubled = 0
        self._goal = 0
        self._reached = asyncio.Event()

    def deliver(self, name: str) -> None:
        if name in self.came_s:
            self.doubled += 1
            return
        self.came_s[name] = time.perf_counter()
        if len(self.came_s) >= self._goal:
            self._reached.set()

    async def reach(self, goal: int) -> None:
        self._goal = goal
        self._reached.clear()
        if len(self.came_s) < goal:
            async with asyncio.timeout(300):
                await self._reached.wait()


async def write_many(write: Callable[[list[str]], Awaitable[None]], rows: int, stem: str) -> float:
    """Write so many rows by several writers; how long that took."""
    began_s = time.perf_counter()

    async def run(writer: int) -> None:
        for start in range(writer, rows // ROWS_PER_TRANSACTION, WRITERS):
            await write([f"{stem}-{start}-{row}" for row in range(ROWS_PER_TRANSACTION)])

    await asyncio.gather(*[run(writer) for writer in range(WRITERS)])
    return time.perf_counter() - began_s


async def measure(name: str, rows: int, singles: int, arguments: list[str]) -> dict[str, object]:
    library, deliveries = LIBRARIES[name](*arguments), Deliveries()
    await library.prepare(deliveries.deliver)
    await write_many(library.write, rows, "early")
    began_s = time.perf_counter()
    await library.begin()
    await deliveries.reach(rows)
    drained_s = max(deliveries.came_s.values()) - began_s
    began_s = time.perf_counter()
    writing_s = await write_many(library.write, rows, "live")
    await deliveries.reach(2 * rows)
    took_s = max(deliveries.came_s.values()) - began_s
    waits_s = []
    for number in range(singles):
        await asyncio.sleep(1.5)
        await library.write([f"single-{number}"])
        committed_s = time.perf_counter()
        await deliveries.reach(2 * rows + 1 + number)
        waits_s.append(deliveries.came_s[f"single-{number}"] - committed_s)
    await library.stop()
    return {
        "library": name,
        "drained_per_s": round(rows / drained_s),
        "rows_per_s": round(rows / took_s),
        "written_per_s": round(rows / writing_s),
        "median_ms": round(statistics.median(waits_s) * 1000, 1),
        "worst_ms": round(max(waits_s) * 1000, 1),
        "doubled": deliveries.doubled,
    }


if __name__ == "__main__":
    name, rows, singles, *rest = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(name, int(rows), int(singles), rest))))
