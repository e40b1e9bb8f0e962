"""For the revisions in `migrations`: whether a step was taken already.

MySQL and MariaDB make each change of a schema true at once, so a server that is killed in the
middle leaves half a revision, and the next one has to go on from there. Invariant: a revision may
be begun again after each of its steps.
"""

from typing import Any

from alembic import op
from sqlalchemy import Column, MetaData, Table, inspect, text


def create_table(name: str, *columns: Column[Any], **options: Any) -> Table:
    """The table, created if it is not there."""
    if not op.get_context().as_sql and inspect(op.get_bind()).has_table(name):
        return Table(name, MetaData(), *columns)
    return op.create_table(name, *columns, **options)


def has_index(table: str, name: str) -> bool:
    """Whether the table has this index. False while the SQL is only written down."""
    if op.get_context().as_sql:
        return False
    return any(index["name"] == name for index in inspect(op.get_bind()).get_indexes(table))


def has_column(table: str, name: str) -> bool:
    """Whether the table has this column. False while the SQL is only written down."""
    if op.get_context().as_sql:
        return False
    return any(column["name"] == name for column in inspect(op.get_bind()).get_columns(table))


def has_rows(table: str) -> bool:
    """Whether there is any row. False while the SQL is only written down."""
    if op.get_context().as_sql:
        return False
    return op.get_bind().execute(text(f"SELECT 1 FROM {table} LIMIT 1")).first() is not None
