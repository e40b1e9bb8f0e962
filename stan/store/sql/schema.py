"""Bringing a database to the schema that this code speaks, and telling when it cannot.

alembic does the work, over the store's own connections; the revisions stand in the
`migrations` folder, inside the installed package or beside it in a checkout.
Invariants: a schema is created under a lock of the database's, and changed under the lease;
a newer one is never touched.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect

from stan.errors import SchemaError
from stan.store.sql.dialect import Session
from stan.store.sql.lease import Lease

SCHEMA_REVISION = "0004"
"""The newest revision in migrations/versions: what this code reads and writes."""

REVISION_TABLE = "stan_revision"
"""Where alembic keeps the revision of the database."""

# Of stan.store.sql.tables, which takes long to load.
TABLES = frozenset(
    f"stan_{name}"
    for name in (
        *("server", "channels", "messages", "clients", "subscriptions"),
        *("guids", "message_ids"),
        *("outbox", "outbox_parked"),
    )
)

# These may be there first: an application's own migrations may have made them.
_EITHERS = {"stan_outbox", "stan_outbox_parked"}


def find_migrations() -> Path:
    """The folder of the alembic environment. Raises SchemaError when it was not shipped."""
    package = Path(__file__).parents[2]
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise SchemaError("the migrations are missing from this installation")


def read_revision(connection: Connection) -> str:
    """The revision of the database's schema; empty for a database without ours.

    Raises SchemaError when our tables stand there without a revision.
    """
    present = set(inspect(connection).get_table_names())
    if REVISION_TABLE in present:
        row = connection.exec_driver_sql(f"SELECT version_num FROM {REVISION_TABLE}").fetchone()
        return str(row[0]) if row is not None else ""  # whoever created it was killed
    ours = sorted((present & TABLES) - _EITHERS)
    if ours:
        raise SchemaError(f"the database has a table {ours[0]} that is not known to be ours")
    return ""


def require_usable(revision: str, *, migrate: bool) -> None:
    """Raise SchemaError, saying what to do, unless this code speaks that revision, or may
    bring it to the one it speaks."""
    if revision == SCHEMA_REVISION:
        return
    if revision and revision not in known_revisions():
        raise SchemaError(
            f"the database's schema (revision {revision}) is newer than this version of the "
            f"server understands (revision {SCHEMA_REVISION})"
        )
    if migrate:
        return
    if not revision:
        raise SchemaError("the database has no schema yet, and migrating is forbidden")
    raise SchemaError(
        f"the schema is at revision {revision} and must be upgraded to {SCHEMA_REVISION}, "
        "but migrating is forbidden"
    )


def known_revisions() -> list[str]:
    """Every revision that the migrations speak of, oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(configure_alembic(None))
    return [revision.revision for revision in script.walk_revisions()][::-1]


def create(session: Session) -> bool:
    """Create the schema where there is none, one starter at a time. False: another one was
    quicker, and of whatever version that was, its schema stands there now."""
    _load_alembic()
    with _locked(session):
        if read_revision(session.connection):
            return False
        _apply_revisions(session.connection)
    return True


def upgrade(session: Session, lease: Lease) -> str:
    """Bring a schema that `require_usable` accepts to the revision of this code; the one it
    was at. Nobody takes the lease meanwhile. Raises SchemaError, LeaseLostError."""
    before = read_revision(session.connection)
    if before != SCHEMA_REVISION:
        _load_alembic()
        with _locked(session):
            lease.prove(session)
            _apply_revisions(session.connection)
            lease.prove(session)  # it ends a whole length from now
    return before


def offline_sql(driver: str) -> str:
    """The SQL that would create the schema in an empty database, for reading or a DBA."""
    from alembic import command

    config = configure_alembic(None)
    config.attributes["dialect"] = {"postgres": "postgresql"}.get(driver, driver)
    config.output_buffer = buffer = io.StringIO()
    command.upgrade(config, SCHEMA_REVISION, sql=True)
    return buffer.getvalue()


def configure_alembic(connection: Connection | None) -> Any:
    """alembic's own settings, for our revisions on this connection."""
    from alembic.config import Config

    config = Config()
    # "%" would be interpolation in alembic's settings.
    config.set_main_option("script_location", str(find_migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _load_alembic() -> None:
    """Not at the top: a server that finds its schema current does not need it. Not later
    either: nobody should wait for an import."""
    import alembic.command  # noqa: F401


@contextmanager
def _locked(session: Session) -> Iterator[None]:
    """Keep other starters out. After an error the caller's connection is rolled back, or
    closed, which lets them in."""
    session.dialect.lock_schema(session)
    yield
    session.dialect.unlock_schema(session)


def _apply_revisions(connection: Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    if not inspect(connection).has_table(REVISION_TABLE):
        # As alembic would, but without a name for the key, which MySQL warns about.
        connection.exec_driver_sql(
            f"CREATE TABLE {REVISION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
        )
    try:
        command.upgrade(configure_alembic(connection), SCHEMA_REVISION)
    except CommandError as error:
        raise SchemaError(f"cannot migrate the schema: {error}") from error
