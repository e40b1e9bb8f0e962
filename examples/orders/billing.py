"""The billing worker: an invoice and the mark that the order is billed are one transaction.

    python examples/orders/billing.py DATABASE NATS_URL NAME

Any number of them share the work.
"""

import asyncio
import sys

from tables import Invoice, connect_database

import stan


async def main() -> None:
    database, nats_url, name = sys.argv[1:]
    sessions = connect_database(database)
    async with await stan.connect("orders", name, servers=nats_url, connect_wait=30) as sc:
        sub = await sc.subscribe(
            "orders", queue="billing", durable="billing", start_at="first", ack_wait=2
        )
        async for msg, db in sub.transactions(sessions):
            db.add(Invoice(order_id=int(msg.data)))


if __name__ == "__main__":
    asyncio.run(main())
