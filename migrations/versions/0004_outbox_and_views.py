"""The outbox table, into which applications write by transactions of their own, and the table
of those of its rows that cannot be published.

On PostgreSQL a trigger wakes the server up. What people look at by SQL comes with it: the views.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import DATETIME, LONGBLOB, LONGTEXT

revision = "0004"
down_revision = "0002"

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
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True).with_variant(DATETIME(fsp=6), "mysql", "mariadb")

_WAKE = """
CREATE OR REPLACE FUNCTION stan_outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('stan_outbox', '');
  RETURN NULL;
END $$
"""
_WAKE_TRIGGER = (
    "CREATE TRIGGER stan_outbox_wake AFTER INSERT ON stan_outbox "
    "FOR EACH STATEMENT EXECUTE FUNCTION stan_outbox_wake()"
)


def _now() -> sa.TextClause:
    is_mysql = op.get_context().dialect.name in ("mysql", "mariadb")
    return sa.text("(UTC_TIMESTAMP(6))" if is_mysql else "CURRENT_TIMESTAMP")


def upgrade() -> None:
    op.create_table(
        "stan_outbox",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("channel", _TEXT, nullable=False),
        sa.Column("data", _BLOB, nullable=False),
        sa.Column("reply", _TEXT),
        sa.Column("msg_id", _TEXT),
        sa.Column("created_at", _MOMENT, nullable=False, server_default=_now()),
        sqlite_autoincrement=True,
        if_not_exists=True,  # an application's migrations may have made it
        **_MYSQL,
    )
    op.create_table(
        "stan_outbox_parked",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("channel", _TEXT, nullable=False),
        sa.Column("data", _BLOB, nullable=False),
        sa.Column("reply", _TEXT),
        sa.Column("msg_id", _TEXT),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("parked_at", _MOMENT, nullable=False, server_default=_now()),
        sa.Column("reason", _TEXT, nullable=False),
        if_not_exists=True,
        **_MYSQL,
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute(_WAKE)
        op.execute(_WAKE_TRIGGER)


def downgrade() -> None:
    op.drop_table("stan_outbox_parked")
    op.drop_table("stan_outbox")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION stan_outbox_wake()")
