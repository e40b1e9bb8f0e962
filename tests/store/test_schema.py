"""Migrations: up, down, up is what the tables say; concurrent starters; what is not ours."""

import asyncio
from functools import partial
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, event

from stan.errors import LeaseLostError, SchemaError
from stan.store.sql import migrating, schema
from stan.store.sql.database import Database, connect_database
from stan.store.sql.dialect import Session
from stan.store.sql.lease import owner_name, read_holder, take
from stan.store.sql.schema import SCHEMA_REVISION
from stan.store.sql.sources import parse_source
from stan.store.sql.tables import metadata

from .conftest import Place
from .records import Writer


def connect(place: Place) -> Database:
    return connect_database(parse_source(place.kind, place.source), place.settings())


@pytest.fixture
async def database(sql_place: Place) -> Any:
    database = connect(sql_place)
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
    return [change for change in compare_metadata(context, metadata) if ours(change)]


def ours(change: Any) -> bool:
    return "stan_" in repr(change)


async def test_up_down_up_is_what_the_tables_say(database: Database) -> None:
    def downgrade(session: Session) -> None:
        command.downgrade(schema.configure_alembic(session.connection), "base")

    assert await database.write(schema.create)
    assert not await database.write(schema.create)
    assert await database.write(lambda session: differences(session.connection)) == []
    await database.write(downgrade)
    assert len(await database.write(lambda session: differences(session.connection))) >= 5
    assert await database.write(schema.create)
    assert await database.write(lambda session: differences(session.connection)) == []


async def test_the_newest_revision_is_the_one_the_code_speaks() -> None:
    assert schema.known_revisions()[-1] == SCHEMA_REVISION


def test_the_tables_known_by_name_are_all() -> None:
    assert set(metadata.tables) == schema.TABLES


async def test_concurrent_starters_create_it_once(sql_place: Place) -> None:
    databases = [connect(sql_place) for _ in range(12)]
    created = await asyncio.gather(*(database.write(schema.create) for database in databases))
    assert sorted(created) == [*[False] * 11, True]
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


async def test_an_impossible_revision_is_one_clear_line(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "SCHEMA_REVISION", "nowhere")
    with pytest.raises(SchemaError, match="cannot migrate the schema"):
        await database.write(schema.create)
    assert await database.write(lambda session: schema.read_revision(session.connection)) == ""


@pytest.mark.parametrize("driver", ["sqlite", "postgres", "mysql"])
def test_the_sql_can_be_read_before_it_is_run(driver: str) -> None:
    sql = schema.offline_sql(driver)
    for table in schema.TABLES:
        assert f"CREATE TABLE {table}" in sql.replace("IF NOT EXISTS ", "")
    assert "INSERT INTO stan_server" in sql


async def test_the_command_checks_and_upgrades(sql_place: Place) -> None:
    before = await migrating.check_schema(sql_place.settings())
    assert (before.revision, before.wanted, before.current) == ("", SCHEMA_REVISION, False)
    await migrating.upgrade_schema(sql_place.settings())
    assert (await migrating.check_schema(sql_place.settings())).current
    store = await sql_place.opened(migrate=False)
    assert (await store.recover()).channels == []
    assert "CREATE TABLE stan_messages" in migrating.upgrade_sql(sql_place.settings())


async def test_the_command_refuses_while_a_server_is_alive(sql_place: Place) -> None:
    await sql_place.opened(lease_s=2)
    with pytest.raises(LeaseLostError, match="in use by another server"):
        await migrating.upgrade_schema(sql_place.settings())


async def test_nobody_takes_the_lease_while_the_schema_is_changed(
    sql_place: Place, database: Database
) -> None:
    """The upgrade lasts longer than its lease, which therefore seems to be over."""

    def begin(session: Session) -> None:
        session.dialect.lock_schema(session)
        lease.prove(session)

    def end(session: Session) -> None:
        lease.prove(session)
        session.dialect.unlock_schema(session)

    await database.write(schema.create)
    other = connect(sql_place)
    try:
        holder = await database.write(read_holder)
        seize = lambda session: take(session, holder, owner_name(), 1)  # noqa: E731
        lease = await database.write(seize)
        assert lease is not None
        holder = await other.write(read_holder)
        await database.write(begin)
        taking = asyncio.create_task(other.write(seize))
        await other.read(read_holder)  # the statement is on its way
        await database.write(end)
        assert await taking is None
        holder = await other.write(read_holder)
        assert holder.epoch == lease.epoch
        assert await other.write(seize) is not None
        with pytest.raises(LeaseLostError):
            await database.write(begin)
    finally:
        await other.close()


class Killed(BaseException):
    """What ends a step as SIGKILL would."""


async def test_a_schema_that_was_broken_off_is_gone_on_with(
    sql_place: Place, database: Database
) -> None:
    """Killed after one more statement each time, as far as there are any."""

    def apply(session: Session, most: int) -> None:
        left = most

        def kill(_connection: object, _cursor: object, sql: str, *_: object) -> None:
            nonlocal left
            if sql.lstrip().upper().startswith(("CREATE", "ALTER", "INSERT", "UPDATE")):
                left -= 1
            if left < 0:
                raise Killed

        event.listen(session.connection, "before_cursor_execute", kill)
        with schema._locked(session):
            schema._apply_revisions(session.connection)

    most = 0
    while True:
        try:
            await database.write(partial(apply, most=most))
        except Killed:
            most += 1
            continue
        break
    assert most > 5
    assert await database.write(lambda session: differences(session.connection)) == []
    store = await sql_place.opened()
    await Writer(store).create(1)
    assert (await store.recover()).next_channel_id == 2
