"""Schema work by command: what `stan-server migrate` needs, without opening a store.

Each function takes the operator's driver and source, connects, does one thing and closes.
Invariant: an upgrade is a server's: it holds the lease, so that no other one is alive.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from stan.errors import StoreError
from stan.store.settings import StoreSettings
from stan.store.sql import schema
from stan.store.sql.database import connect_database
from stan.store.sql.dialect import Session
from stan.store.sql.opening import take_over
from stan.store.sql.sources import parse_source


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


async def check_schema(settings: StoreSettings) -> SchemaState:
    """Look, and change nothing. Raises ConfigError, StoreError; SchemaError when the tables
    are not ours or newer than this code."""

    def step(session: Session) -> str:
        revision = schema.read_revision(session.connection)
        schema.require_usable(revision, migrate=True)
        return revision

    source = parse_source(settings.sql_driver, settings.sql_source)
    database = connect_database(source, settings)
    try:
        revision = await database.write(step, patient=True)
    finally:
        await database.close()
    return SchemaState(source.location, revision, schema.SCHEMA_REVISION)


async def upgrade_schema(settings: StoreSettings) -> None:
    """Create or upgrade the schema, the original server's tables notwithstanding. Raises as
    `check_schema`, and LeaseLostError when a server uses the store."""
    settings = replace(settings, beside_original=True)
    database = connect_database(parse_source(settings.sql_driver, settings.sql_source), settings)
    try:
        lease = await take_over(database, settings)
        with suppress(StoreError):
            await database.write(lease.release)
    finally:
        await database.close()


def upgrade_sql(settings: StoreSettings) -> str:
    """The SQL that creates the whole schema in an empty database. Raises ConfigError."""
    return schema.offline_sql(parse_source(settings.sql_driver, settings.sql_source).family)
