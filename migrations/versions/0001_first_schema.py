"""The first schema: server, channels, messages, clients, subscriptions.

What a revision makes never changes once it is released, so the tables are spelled out here and
not taken from stan/store/sql/tables.py; tests/store proves that both agree.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT

from stan.store.sql.revising import create_table, has_index, has_rows

revision = "0001"
down_revision = None

_MYSQL = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def upgrade() -> None:
    server = create_table(
        "stan_server",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("cluster_id", _TEXT),
        sa.Column("inbox_prefix", _TEXT),
        *_numbers("batch_number", "epoch"),
        sa.Column("lease_owner", _TEXT),
        *_numbers("lease_expires_ms"),
        **_MYSQL,
    )
    if not has_rows("stan_server"):
        op.bulk_insert(server, [{"id": 1, "batch_number": 0, "epoch": 0, "lease_expires_ms": 0}])
    create_table(
        "stan_channels",
        sa.Column("channel_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("deleted", sa.Integer(), nullable=False),
        *_numbers("first_sequence", "last_sequence", "first_position", "end_position"),
        *_numbers("first_timestamp_ns", "last_timestamp_ns", "count", "swept_sequence"),
        **_MYSQL,
    )
    create_table(
        "stan_messages",
        sa.Column("channel_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
        *_numbers("timestamp_ns", "position"),
        sa.Column("reply", _TEXT),
        sa.Column("data", _BLOB, nullable=False),
        **_MYSQL,
    )
    create_table(
        "stan_clients",
        sa.Column("client_key", sa.String(80), primary_key=True),
        sa.Column("client_id", _TEXT, nullable=False),
        sa.Column("heartbeat_inbox", _TEXT, nullable=False),
        sa.Column("connection_id", _BLOB, nullable=False),
        *_numbers("protocol", "ping_interval_s", "ping_max_out"),
        **_MYSQL,
    )
    _create_subscriptions()


def _create_subscriptions() -> None:
    create_table(
        "stan_subscriptions",
        sa.Column("subscription_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        *_numbers("channel_id"),
        sa.Column("client_id", _TEXT, nullable=False),
        sa.Column("inbox", _TEXT, nullable=False),
        sa.Column("ack_inbox", _TEXT, nullable=False),
        *_numbers("max_in_flight", "ack_wait_s"),
        sa.Column("durable_name", _TEXT, nullable=False),
        sa.Column("queue_group", _TEXT, nullable=False),
        sa.Column("is_durable", sa.Integer(), nullable=False),
        sa.Column("is_closed", sa.Integer(), nullable=False),
        *_numbers("last_sent"),
        sa.Column("in_flight", _TEXT, nullable=False),
        **_MYSQL,
    )
    if not has_index("stan_subscriptions", "stan_subscriptions_channel"):
        op.create_index("stan_subscriptions_channel", "stan_subscriptions", ["channel_id"])


def downgrade() -> None:
    for table in ("subscriptions", "clients", "messages", "channels", "server"):
        op.drop_table(f"stan_{table}")
