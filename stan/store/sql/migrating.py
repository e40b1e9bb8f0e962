"""Schema work by command: what `stan-server migrate` needs, without opening a store.

Each function takes the operator's driver and source, connects, does one thing and closes.
Invariant: the lease is not taken; whoever changes a schema by hand stops the server first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stan.store.sql import schema
from stan.store.sql.database import connect_database
from stan.store.sql.session import Session
from stan.store.sql.sources import parse_source
from stan.store.sql.tables import SCHEMA_REVISION

T = TypeVar("T")


@dataclass(frozen=True)
class SchemaState:
    """The revision of a database (empty: no schema yet) and the one that this code speaks."""

    location: str
    revision: str
    wanted: str

    @property
    def current(self) -> bool:
        """Whether a server can use the database as it is."""
        return self.revision == self.wanted


async def check_schema(driver: str, source: str) -> SchemaState:
    """Look, and change nothing. Raises ConfigError, StoreError; SchemaError when the tables
    are not ours or newer than this code."""

    def step(session: Session) -> str:
        revision = schema.read_revision(session.connection)
        schema.require_known(revision)
        return revision

    revision = await _run(driver, source, step)
    return SchemaState(parse_source(driver, source).location, revision, SCHEMA_REVISION)


async def upgrade_schema(driver: str, source: str, revision: str = "head") -> str:
    """Create or upgrade the schema; the revision it was at. Raises as `check_schema`."""
    return await _run(
        driver,
        source,
        lambda session: schema.upgrade(session.connection, session.dialect, revision),
    )


async def downgrade_schema(driver: str, source: str, revision: str) -> str:
    """Go back to a revision, "base" for none (which drops every message); the revision it
    was at. Raises as `check_schema`."""
    return await _run(
        driver,
        source,
        lambda session: schema.downgrade(session.connection, session.dialect, revision),
    )


def upgrade_sql(driver: str, source: str) -> str:
    """The SQL that creates the whole schema in an empty database. Raises ConfigError."""
    return schema.offline_sql(parse_source(driver, source).family)


async def _run(driver: str, source: str, step: Callable[[Session], T]) -> T:
    database = connect_database(parse_source(driver, source), "full", 10.0, 5.0)
    try:
        return await database.write(step, patient=True)
    finally:
        await database.close()
