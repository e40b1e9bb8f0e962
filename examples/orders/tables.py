"""The tables of shop and billing. An order may have any number of invoices, as far as the
database is concerned: that it has exactly one is what `main.py` proves."""

from typing import Any

from sqlalchemy import String, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import stan

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgres": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}


class Record(DeclarativeBase):
    pass


class Order(Record):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    article: Mapped[str] = mapped_column(String(200))


class Invoice(Record):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(index=True)


stan.inbox_table(Record.metadata)
stan.outbox_table(Record.metadata)  # the server uses what stands there already
stan.outbox_parked_table(Record.metadata)


def connect_database(source: str) -> async_sessionmaker[AsyncSession]:
    """Sessions of a database, a file or a URL as the server takes it."""
    url = make_url(source if "://" in source else f"sqlite:///{source}")
    family = url.get_backend_name().replace("postgresql", "postgres").replace("mariadb", "mysql")
    arguments: dict[str, Any] = {"timeout": 30} if family == "sqlite" else {}
    url = url.difference_update_query(["sslmode"]).set(drivername=DRIVERS[family])
    engine = create_async_engine(url, connect_args=arguments, pool_pre_ping=True)
    return async_sessionmaker(engine, expire_on_commit=False)
