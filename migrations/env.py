"""alembic's environment: runs the revisions over the connection that the store hands in.

The caller owns the transaction and the lock (stan/store/sql/schema.py). Without a connection
the SQL is only written down, for the dialect in the attributes.
"""

from alembic import context

from stan.store.sql.schema import REVISION_TABLE
from stan.store.sql.tables import metadata

attributes = context.config.attributes
connection = attributes.get("connection")

if connection is not None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=REVISION_TABLE,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    context.run_migrations()
else:
    context.configure(
        dialect_name=attributes.get("dialect", "sqlite"),
        target_metadata=metadata,
        version_table=REVISION_TABLE,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
