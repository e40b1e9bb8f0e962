"""The tables, column by column. docs/store.md explains them to people with a SQL prompt.

Nothing is queried here, and a server that finds its schema current does not load this. The
names carry a prefix because the original server's schema has tables called Clients, Channels
and Messages, and may stand in the same database.
Invariant: migrations/ produces exactly this metadata (tests/store proves it).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGBLOB, LONGTEXT
from sqlalchemy.types import TypeEngine

# Case and trailing spaces distinguish names, so MySQL compares bytes.
_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def _text() -> TypeEngine[str]:
    return Text().with_variant(LONGTEXT(), "mysql", "mariadb")


def _blob() -> TypeEngine[bytes]:
    return LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


def _row_id() -> TypeEngine[int]:
    return BigInteger().with_variant(Integer(), "sqlite")  # the only type that counts up there


def _moment() -> TypeEngine[datetime]:
    return DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")


def _number(name: str, **options: object) -> Column[int]:
    return Column(name, BigInteger, nullable=False, **options)  # type: ignore[arg-type]


metadata = MetaData()

server = Table(
    "stan_server",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1: one row
    Column("cluster_id", _text()),  # NULL until the first server initializes the store
    Column("inbox_prefix", _text()),
    _number("batch_number"),  # of the last batch that is true
    _number("epoch"),  # rises with each takeover; a commit with an older one fails
    Column("lease_owner", _text()),  # NULL when nobody holds the lease
    _number("lease_expires_ms"),  # Unix milliseconds by the database's clock
    **_MYSQL,
)

channels = Table(
    "stan_channels",
    metadata,
    _number("channel_id", primary_key=True, autoincrement=False),
    Column("name", _text(), nullable=False),
    Column("deleted", Integer, nullable=False),  # 1: gone, its messages are being removed
    _number("first_sequence"),
    _number("last_sequence"),
    _number("first_position"),
    _number("end_position"),
    _number("first_timestamp_ns"),
    _number("last_timestamp_ns"),
    _number("count"),
    _number("swept_sequence"),  # no row of a message stands below this one
    Column("own_limits", _text()),  # JSON; NULL where only the configuration's apply
    **_MYSQL,
)

messages = Table(
    "stan_messages",
    metadata,
    _number("channel_id", primary_key=True, autoincrement=False),
    _number("sequence", primary_key=True, autoincrement=False),
    _number("timestamp_ns"),
    _number("position"),
    Column("reply", _text()),
    Column("data", _blob(), nullable=False),
    **_MYSQL,
)

clients = Table(
    "stan_clients",
    metadata,
    # The client ID, or a digest of one that is too long for an index.
    Column("client_key", String(80), primary_key=True),
    Column("client_id", _text(), nullable=False),
    Column("heartbeat_inbox", _text(), nullable=False),
    Column("connection_id", _blob(), nullable=False),
    _number("protocol"),
    _number("ping_interval_s"),
    _number("ping_max_out"),
    # 1: it may send publishes again, so their guids are recorded.
    Column("resends", Integer, nullable=False, server_default="0"),
    **_MYSQL,
)

guids = Table(
    "stan_guids",
    metadata,
    _number("batch", primary_key=True, autoincrement=False),
    _number("recorded_ns"),
    Column("guids", _blob(), nullable=False),  # stan.engine.guids packs and finds them
    **_MYSQL,
)

message_ids = Table(
    "stan_message_ids",
    metadata,
    _number("channel_id", primary_key=True, autoincrement=False),
    # The ID, or a digest of one that is too long for an index.
    Column("message_key", String(80), primary_key=True),
    _number("recorded_ns"),
    Index("stan_message_ids_recorded", "recorded_ns"),
    **_MYSQL,
)

subscriptions = Table(
    "stan_subscriptions",
    metadata,
    _number("subscription_id", primary_key=True, autoincrement=False),
    _number("channel_id"),
    Column("client_id", _text(), nullable=False),
    Column("inbox", _text(), nullable=False),
    Column("ack_inbox", _text(), nullable=False),
    _number("max_in_flight"),
    _number("ack_wait_s"),
    Column("durable_name", _text(), nullable=False),
    Column("queue_group", _text(), nullable=False),
    Column("is_durable", Integer, nullable=False),
    Column("is_closed", Integer, nullable=False),
    _number("last_sent"),
    Column("in_flight", _text(), nullable=False),  # sent and not acked: "12-40,42"
    Index("stan_subscriptions_channel", "channel_id"),
    **_MYSQL,
)

# What applications write by transactions of their own; stan.transactions.tables is the same for
# those whose database is not the server's. The migration gives the moments their defaults.
outbox = Table(
    "stan_outbox",
    metadata,
    Column("id", _row_id(), primary_key=True, autoincrement=True),
    Column("channel", _text(), nullable=False),
    Column("data", _blob(), nullable=False),
    Column("reply", _text()),
    Column("msg_id", _text()),  # as a publisher's: the second one of an ID is not stored
    Column("created_at", _moment(), nullable=False, server_default=text("CURRENT_TIMESTAMP")),
    sqlite_autoincrement=True,
    **_MYSQL,
)

outbox_parked = Table(
    "stan_outbox_parked",
    metadata,
    Column("id", _row_id(), primary_key=True, autoincrement=False),
    Column("channel", _text(), nullable=False),
    Column("data", _blob(), nullable=False),
    Column("reply", _text()),
    Column("msg_id", _text()),
    Column("created_at", _moment(), nullable=False),
    Column("parked_at", _moment(), nullable=False, server_default=text("CURRENT_TIMESTAMP")),
    Column("reason", _text(), nullable=False),
    **_MYSQL,
)
