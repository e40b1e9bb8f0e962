"""A shop, two billing workers and a streaming server, each killed at random for a minute; then SQL
tells whether each order has exactly one invoice.

    python examples/orders/main.py [--database SOURCE] [--seconds 60]

Without a database it is a SQLite file in a temporary folder.
"""

import argparse
import asyncio
import random
import signal
import socket
import sys
import tempfile
from pathlib import Path

import aiohttp
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tables import Invoice, Order, Record, connect_database

HERE = Path(__file__).parent
SETTLING_S = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A program that is killed and started again."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        self.kills = 0
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def stop(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def kill(self) -> None:
        await self.stop()
        self.kills += 1
        await self.start()

    async def revive(self) -> None:
        """Start it again when it ended by itself, say because the server was away for long."""
        assert self._process is not None
        if self._process.returncode is not None:
            await self.start()


async def order(url: str) -> None:
    """Customers, who never tire."""
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.post(url, data="tea"):
                    pass
            except (aiohttp.ClientError, TimeoutError):
                pass  # whether there is an order now, the database knows
            await asyncio.sleep(random.random() * 0.1)


async def count(sessions: async_sessionmaker[AsyncSession]) -> tuple[int, int, int]:
    """Orders, invoices, and orders that have not exactly one."""
    invoices = func.count(Invoice.id)
    wrong = (
        select(Order.id)
        .outerjoin(Invoice, Invoice.order_id == Order.id)
        .group_by(Order.id)
        .having(invoices != 1)
    )
    async with sessions() as db:
        return (
            int(await db.scalar(select(func.count(Order.id))) or 0),
            int(await db.scalar(select(invoices)) or 0),
            len((await db.execute(wrong)).all()),
        )


async def run(database: str, seconds: float) -> int:
    sessions = connect_database(database)
    async with sessions() as db:
        await (await db.connection()).run_sync(Record.metadata.create_all)
        await db.commit()
    nats_port, shop_port = free_port(), free_port()
    nats_url = f"nats://127.0.0.1:{nats_port}"
    server = ("-m", "stan.cli.server", "-p", str(nats_port), "-a", "127.0.0.1", "-cid", "orders")
    programs = [
        Program("server", *server, "-st", "SQL", "--sql_source", database),
        Program("shop", str(HERE / "shop.py"), database, str(shop_port)),
        *[
            Program(name, str(HERE / "billing.py"), database, nats_url, name)
            for name in ("billing-1", "billing-2")
        ],
    ]
    for program in programs:
        await program.start()
    customers = [
        asyncio.create_task(order(f"http://127.0.0.1:{shop_port}/orders")) for _ in range(4)
    ]
    try:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + seconds
        while loop.time() < end_s:
            await asyncio.sleep(random.uniform(0.5, 2.5))
            await random.choice(programs).kill()
        for customer in customers:
            customer.cancel()
        for _ in range(SETTLING_S * 2):
            orders, invoices, wrong = await count(sessions)
            if orders and not wrong:
                break
            for program in programs:
                await program.revive()
            await asyncio.sleep(0.5)
    finally:
        for program in programs:
            await program.stop()
    kills = ", ".join(f"{program.name} {program.kills}" for program in programs)
    print(f"orders {orders}, invoices {invoices} (killed: {kills})")
    return 0 if orders and orders == invoices and not wrong else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="", help="as for stan-server --sql_source")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = options.database or str(Path(folder) / "orders.db")
        return asyncio.run(run(database, options.seconds))


if __name__ == "__main__":
    sys.exit(main())
