"""The outbox tables in SQLAlchemy's words, for an application's own migrations.

The server's schema has the same two (tests compare them); whoever's database is not the
server's makes them by these. Nothing is queried here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Column, MetaData, Table

_NAME = "stan_outbox"
_PARKED_NAME = "stan_outbox_parked"


def outbox_table(metadata: MetaData, schema: str | None = None) -> Table:
    """The table stan_outbox in this metadata; the same one when it is asked for again."""
    from sqlalchemy import Column, Table

    known = metadata.tables.get(f"{schema}.{_NAME}" if schema else _NAME)
    if known is not None:
        return known
    return Table(
        _NAME,
        metadata,
        Column("id", _types()[0], primary_key=True, autoincrement=True),
        *_message_columns(),
        Column("created_at", _types()[3], nullable=False, server_default=_now()),
        schema=schema,
        sqlite_autoincrement=True,
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
    )


def outbox_parked_table(metadata: MetaData, schema: str | None = None) -> Table:
    """The table of rows that could not be published; a relay fills it."""
    from sqlalchemy import Column, Table

    number, text, _, moment = _types()
    known = metadata.tables.get(f"{schema}.{_PARKED_NAME}" if schema else _PARKED_NAME)
    if known is not None:
        return known
    return Table(
        _PARKED_NAME,
        metadata,
        Column("id", number, primary_key=True, autoincrement=False),
        *_message_columns(),
        Column("created_at", moment, nullable=False),
        Column("parked_at", moment, nullable=False, server_default=_now()),
        Column("reason", text, nullable=False),
        schema=schema,
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
    )


def _message_columns() -> list[Column[Any]]:
    from sqlalchemy import Column

    _, text, blob, _ = _types()
    return [
        Column("channel", text, nullable=False),
        Column("data", blob, nullable=False),
        Column("reply", text),
        Column("msg_id", text),
    ]


def _types() -> tuple[Any, Any, Any, Any]:
    """Number, text, blob and moment, as each database has them."""
    from sqlalchemy import BigInteger, DateTime, Integer, LargeBinary, Text
    from sqlalchemy.dialects.mysql import DATETIME, LONGBLOB, LONGTEXT

    return (
        BigInteger().with_variant(Integer(), "sqlite"),
        Text().with_variant(LONGTEXT(), "mysql", "mariadb"),
        LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb"),
        DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb"),
    )


def _now() -> Any:
    """The database's clock, in UTC."""
    from sqlalchemy.ext.compiler import compiles
    from sqlalchemy.sql.functions import FunctionElement

    class UtcNow(FunctionElement[object]):
        inherit_cache = True
        name = "utc_now"

    def spell(element: object, compiler: object, **options: object) -> str:
        return "CURRENT_TIMESTAMP"

    def spell_for_mysql(element: object, compiler: object, **options: object) -> str:
        return "(UTC_TIMESTAMP(6))"

    compiles(UtcNow)(spell)
    compiles(UtcNow, "mysql", "mariadb")(spell_for_mysql)
    return UtcNow()
