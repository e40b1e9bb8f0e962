"""Migrations: up, down, up is what the tables say; concurrent starters; what is not ours."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection

from stan.errors import SchemaError
from stan.store.sql import migrating, schema
from stan.store.sql.database import Database, connect_database
from stan.store.sql.session import Session
from stan.store.sql.sources import parse_source
from stan.store.sql.tables import SCHEMA_REVISION

from .conftest import Place
from .records import Writer


@pytest.fixture
async def database(sql_place: Place) -> Any:
    source = parse_source(sql_place.kind, sql_place.source)
    database = connect_database(source, "full", 10, 5)
    yield database
    await database.close()


async def run(database: Database, sql: str) -> None:
    await database.write(lambda session: session.execute(sql) and None)


def differences(connection: Connection) -> list[Any]:
    """What alembic would do to make the database match the tables."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    options = {"version_table": schema.REVISION_TABLE, "compare_type": True}
    context = MigrationContext.configure(connection, opts=options)
    return [change for change in compare_metadata(context, schema.metadata) if ours(change)]


def ours(change: Any) -> bool:
    return "stan_" in repr(change)


async def test_up_down_up_is_what_the_tables_say(database: Database) -> None:
    def upgrade(session: Session) -> str:
        return schema.upgrade(session.connection, session.dialect)

    assert await database.write(upgrade) == ""
    assert await database.write(upgrade) == SCHEMA_REVISION
    assert await database.write(lambda session: differences(session.connection)) == []

    def downgrade(session: Session) -> str:
        return schema.downgrade(session.connection, session.dialect, "base")

    assert await database.write(downgrade) == SCHEMA_REVISION
    assert len(await database.write(lambda session: differences(session.connection))) >= 5
    assert await database.write(upgrade) == ""
    assert await database.write(lambda session: differences(session.connection)) == []


async def test_the_newest_revision_is_the_one_the_code_speaks() -> None:
    assert schema.known_revisions()[-1] == SCHEMA_REVISION


async def test_concurrent_starters_create_it_once(sql_place: Place) -> None:
    source = parse_source(sql_place.kind, sql_place.source)
    databases = [connect_database(source, "full", 10, 5) for _ in range(12)]

    def upgrade(session: Session) -> str:
        return schema.upgrade(session.connection, session.dialect)

    before = await asyncio.gather(*(database.write(upgrade) for database in databases))
    assert sorted(before) == ["", *[SCHEMA_REVISION] * 11]
    for database in databases:
        await database.close()
    store = await sql_place.opened()
    assert (await store.recover()).batch_number == 0


async def test_a_newer_schema_is_refused_and_left_alone(
    sql_place: Place, database: Database
) -> None:
    store = await sql_place.opened()
    await Writer(store).create(1)
    await store.close()
    await run(database, "UPDATE stan_revision SET version_num='9999'")
    with pytest.raises(SchemaError, match=r"revision 9999\) is newer than this version"):
        await sql_place.opened()
    with pytest.raises(SchemaError, match="newer"):
        await sql_place.opened(migrate=False)
    await run(database, f"UPDATE stan_revision SET version_num='{SCHEMA_REVISION}'")
    assert len((await (await sql_place.opened()).recover()).channels) == 1


async def test_migrating_may_be_forbidden(sql_place: Place) -> None:
    with pytest.raises(SchemaError, match="no schema yet, and migrating is forbidden"):
        await sql_place.opened(migrate=False)
    await (await sql_place.opened()).close()
    assert (await (await sql_place.opened(migrate=False)).recover()).channels == []


async def test_a_table_of_somebody_else_is_left_alone(sql_place: Place, database: Database) -> None:
    await run(database, "CREATE TABLE stan_channels (x INT)")
    with pytest.raises(SchemaError, match="stan_channels that is not known to be ours"):
        await sql_place.opened()
    await run(database, "DROP TABLE stan_channels")
    # The original server's tables may stand in the same database.
    await run(database, "CREATE TABLE Channels (id INT)")
    assert (await (await sql_place.opened()).recover()).channels == []


async def test_an_impossible_revision_is_one_clear_line(database: Database) -> None:
    def upgrade(session: Session) -> str:
        return schema.upgrade(session.connection, session.dialect, "nowhere")

    with pytest.raises(SchemaError, match="cannot migrate the schema"):
        await database.write(upgrade)
    assert await database.write(lambda session: schema.read_revision(session.connection)) == ""


@pytest.mark.parametrize("driver", ["sqlite", "postgres", "mysql"])
def test_the_sql_can_be_read_before_it_is_run(driver: str) -> None:
    sql = schema.offline_sql(driver)
    for table in schema.metadata.tables:
        assert f"CREATE TABLE {table}" in sql
    assert "INSERT INTO stan_server" in sql


async def test_the_command_checks_upgrades_and_goes_back(sql_place: Place) -> None:
    where = sql_place.kind, sql_place.source
    before = await migrating.check_schema(*where)
    assert (before.revision, before.wanted, before.current) == ("", SCHEMA_REVISION, False)
    assert await migrating.upgrade_schema(*where) == ""
    assert (await migrating.check_schema(*where)).current
    await (await sql_place.opened(migrate=False)).close()
    assert await migrating.downgrade_schema(*where, "base") == SCHEMA_REVISION
    assert (await migrating.check_schema(*where)).revision == ""
    assert "CREATE TABLE stan_messages" in migrating.upgrade_sql(*where)
