"""Bringing a database to the schema that this code speaks, and telling when it cannot.

alembic does the work, over the store's own connections; the revisions stand in the
`migrations` folder, inside the installed package or beside it in a checkout.
Invariant: one starter at a time changes a schema, and a newer one is never touched.
"""

import io
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect

from stan.errors import SchemaError
from stan.store.sql.dialect import Dialect
from stan.store.sql.tables import REVISION_TABLE, SCHEMA_REVISION, metadata


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
        if row is not None:
            return str(row[0])
    ours = sorted(present & set(metadata.tables))
    if ours:
        raise SchemaError(f"the database has a table {ours[0]} that is not known to be ours")
    return ""


def require_current(connection: Connection) -> None:
    """Raise SchemaError, saying what to do, unless the schema is the one of this code."""
    revision = read_revision(connection)
    if not revision:
        raise SchemaError("the database has no schema yet, and migrating is forbidden")
    if revision != SCHEMA_REVISION:
        require_known(revision)
        raise SchemaError(
            f"the schema is at revision {revision} and must be upgraded to {SCHEMA_REVISION}, "
            "but migrating is forbidden"
        )


def require_known(revision: str) -> None:
    """Raise SchemaError when the revision is not one of ours, which means a newer one."""
    if revision and revision not in known_revisions():
        raise SchemaError(
            f"the database's schema (revision {revision}) is newer than this version of the "
            f"server understands (revision {SCHEMA_REVISION})"
        )


def known_revisions() -> list[str]:
    """Every revision that the migrations speak of, oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(_config(None))
    return [revision.revision for revision in script.walk_revisions()][::-1]


def upgrade(connection: Connection, dialect: Dialect, revision: str = "head") -> str:
    """Create or upgrade the schema, one starter at a time; the revision it was at.

    Does nothing, quickly, when the schema is current. Raises SchemaError.
    """
    before = read_revision(connection)
    if before == SCHEMA_REVISION and revision == "head":
        return before
    return _change(connection, dialect, revision, up=True)


def downgrade(connection: Connection, dialect: Dialect, revision: str) -> str:
    """Go back to an older revision, or "base" for none; the revision it was at.

    What the newer schema added is lost. Raises SchemaError.
    """
    return _change(connection, dialect, revision, up=False)


def offline_sql(driver: str, revision: str = "head") -> str:
    """The SQL that would create or upgrade an empty database, for reading or a DBA."""
    from alembic import command

    dialect = {"postgres": "postgresql"}.get(driver, driver)
    config = _config(None)
    config.attributes["dialect"] = dialect
    config.output_buffer = buffer = io.StringIO()
    command.upgrade(config, revision, sql=True)
    return buffer.getvalue()


def _change(connection: Connection, dialect: Dialect, revision: str, *, up: bool) -> str:
    from alembic import command
    from alembic.util import CommandError

    for sql in dialect.lock_schema_sql:
        connection.exec_driver_sql(sql)
    try:
        before = read_revision(connection)
        require_known(before)
        if not (up and revision == "head" and before == SCHEMA_REVISION):
            _create_revision_table(connection)
            (command.upgrade if up else command.downgrade)(_config(connection), revision)
    except CommandError as error:
        raise SchemaError(f"cannot migrate the schema: {error}") from error
    except BaseException:
        if "COMMIT" in dialect.unlock_schema_sql:
            connection.exec_driver_sql("ROLLBACK")
        raise
    for sql in dialect.unlock_schema_sql:
        connection.exec_driver_sql(sql)
    return before


def _create_revision_table(connection: Connection) -> None:
    """As alembic would, but without a name for the key, which MySQL warns about."""
    if not inspect(connection).has_table(REVISION_TABLE):
        connection.exec_driver_sql(
            f"CREATE TABLE {REVISION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
        )


def _config(connection: Connection | None) -> Any:
    from alembic.config import Config

    config = Config()
    # "%" would be interpolation in alembic's settings.
    config.set_main_option("script_location", str(find_migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
