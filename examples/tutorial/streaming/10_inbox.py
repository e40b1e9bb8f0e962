"""Have what a message causes happen once: the effect and the position commit together."""

import asyncio
from contextlib import suppress

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

import stan

metadata = MetaData()
invoices = Table(
    "invoices", metadata, Column("id", Integer, primary_key=True), Column("of", LargeBinary)
)
stan.inbox_table(metadata)  # which messages are done, beside what they caused
engine = create_async_engine("sqlite+aiosqlite:///shop.db")
Session = async_sessionmaker(engine)


async def bill(sub: stan.Subscription, dies: bool) -> None:
    async for msg, db in sub.transactions(Session):  # committed when the next one is asked for
        print("writing the invoice of", msg.data.decode())
        await db.execute(invoices.insert(), {"of": msg.data})
        if dies:
            raise RuntimeError("died before the commit")


async def main() -> None:
    async with engine.begin() as db:
        await db.run_sync(metadata.create_all)
    async with stan.connect("test-cluster", "billing") as sc:
        await sc.publish("streaming.orders", b"order 17")
        sub = await sc.subscribe(
            "streaming.orders", durable="billing", start_at="first", ack_wait=1
        )
        try:
            await bill(sub, dies=True)
        except RuntimeError as error:
            print(error)
        with suppress(TimeoutError):
            await asyncio.wait_for(bill(sub, dies=False), 3)
    async with engine.connect() as db:
        print("invoices:", await db.scalar(select(func.count()).select_from(invoices)))
    await engine.dispose()


asyncio.run(main())
