"""Limits that a channel has of its own, besides those of the configuration.

A JSON object of those that it has: max_msgs, max_bytes, max_age_ns, max_inactivity_ns, max_subs.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

from stan.store.sql.revising import has_column

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    text = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
    if not has_column("stan_channels", "own_limits"):
        op.add_column("stan_channels", sa.Column("own_limits", text))


def downgrade() -> None:
    op.drop_column("stan_channels", "own_limits")
