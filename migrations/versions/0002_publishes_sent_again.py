"""What was published lately, so that a publish which is sent again is stored once.

A row a batch for the guids, a row for each message ID that an application gave, and which
clients said that they send again.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB

from stan.store.sql.revising import create_table, has_column, has_index

revision = "0002"
down_revision = "0001"

_MYSQL = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
_BLOB = sa.LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    create_table(
        "stan_guids",
        sa.Column("batch", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        sa.Column("guids", _BLOB, nullable=False),
        **_MYSQL,
    )
    create_table(
        "stan_message_ids",
        sa.Column("channel_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("message_key", sa.String(80), primary_key=True),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        **_MYSQL,
    )
    if not has_index("stan_message_ids", "stan_message_ids_recorded"):
        op.create_index("stan_message_ids_recorded", "stan_message_ids", ["recorded_ns"])
    if not has_column("stan_clients", "resends"):
        resends = sa.Column("resends", sa.Integer(), nullable=False, server_default="0")
        op.add_column("stan_clients", resends)


def downgrade() -> None:
    op.drop_column("stan_clients", "resends")
    op.drop_table("stan_message_ids")
    op.drop_table("stan_guids")
