"""Two versions of the server on one database: which schema stands there, and who may change it.

The newer version has a revision that exists only here.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stan.errors import LeaseLostError, SchemaError, StoreRefusedError
from stan.store.contract import Store
from stan.store.sql import schema
from stan.store.sql.lease import read_holder
from stan.store.sql.store import SqlStore

from .conftest import Place
from .records import Writer, a_client, a_subscription, read_all

OLDER = schema.SCHEMA_REVISION
NEWER = "newer"
REVISION = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEWER}"
down_revision = "{OLDER}"


def upgrade():
    op.create_table(
        "stan_later",
        sa.Column("batch_number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("guids", sa.LargeBinary(), nullable=False),
    )
    op.add_column("stan_channels", sa.Column("color", sa.Integer(), server_default="7"))
    op.execute("UPDATE stan_channels SET color=8 WHERE deleted=0")
"""
BROKEN = REVISION.partition("    op.create_table")[0] + '    op.execute("SELECT 1 FROM nowhere")\n'

Become = Callable[[str], None]


@pytest.fixture
def become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Become:
    """Let this process be a server of another version, which knows that revision."""
    ours = schema.find_migrations()

    def change(text: str) -> None:
        folder = tmp_path / "migrations"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ours, folder)
        if text:
            (folder / "versions" / "newer.py").write_text(text)
        monkeypatch.setattr(schema, "find_migrations", lambda: folder)
        monkeypatch.setattr(schema, "SCHEMA_REVISION", NEWER if text else OLDER)

    return change


async def fill(store: Store) -> Writer:
    """Something in every table."""
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [b"a", b"b"], 1000)
    await writer.commit(clients_put=[a_client()], subscriptions_put=[a_subscription(1, 1)])
    return writer


async def revision_of(store: Store) -> str:
    assert isinstance(store, SqlStore)
    return await store._database.read(lambda session: schema.read_revision(session.connection))


async def test_a_newer_server_upgrades_what_an_older_one_left(
    sql_place: Place, become: Become
) -> None:
    older = await sql_place.opened()
    writer = await fill(older)
    before, messages = await older.recover(), await read_all(older, 1)
    await older.close()
    become(REVISION)
    newer = await sql_place.opened()
    assert isinstance(newer, SqlStore)
    assert await revision_of(newer) == NEWER
    assert await newer.recover() == before
    assert await read_all(newer, 1) == messages
    rows = await newer._database.read(
        lambda session: session.fetch("SELECT color FROM stan_channels")
    )
    assert rows == [(8,)]
    writer.store = newer
    await writer.append(1, [b"c"], 2000)
    assert list(await read_all(newer, 1)) == [1, 2, 3]
    await newer.close()
    become("")
    with pytest.raises(SchemaError, match=rf"revision {NEWER}\) is newer than this version"):
        await sql_place.opened()


async def test_a_newer_server_leaves_a_living_older_one_its_schema(
    sql_place: Place, become: Become
) -> None:
    older = await sql_place.opened(lease_s=2)
    writer = await fill(older)
    become(REVISION)
    with pytest.raises(SchemaError, match=f"must be upgraded to {NEWER}, but migrating is forbid"):
        await sql_place.opened(lease_s=2, migrate=False)
    with pytest.raises(LeaseLostError, match="in use by another server"):
        await sql_place.opened(lease_s=2)
    assert await revision_of(older) == OLDER
    await writer.append(1, [b"c"], 2000)
    assert list(await read_all(older, 1)) == [1, 2, 3]


async def test_a_newer_server_that_waits_upgrades_when_the_older_one_stops(
    sql_place: Place, become: Become
) -> None:
    older = await sql_place.opened(lease_s=60)
    writer = await fill(older)
    become(REVISION)
    newer = sql_place.store(lease_s=60, wait_for_lease=True)
    waiting = asyncio.create_task(newer.open())
    await writer.append(1, [b"c"], 2000)
    assert not waiting.done()
    assert await revision_of(older) == OLDER
    await older.close()
    async with asyncio.timeout(30):  # far less than the lease
        await waiting
    assert await revision_of(newer) == NEWER
    assert list(await read_all(newer, 1)) == [1, 2, 3]


async def test_an_older_server_that_waits_leaves_a_newer_schema_and_its_lease(
    sql_place: Place, become: Become
) -> None:
    newer = await sql_place.opened(lease_s=60)
    await fill(newer)
    older = sql_place.store(lease_s=60, wait_for_lease=True)
    waiting = asyncio.create_task(older.open())
    assert isinstance(newer, SqlStore)
    await newer._database.write(
        lambda session: session.execute(f"UPDATE stan_revision SET version_num='{NEWER}'")
    )
    assert not waiting.done()
    await newer.close()
    async with asyncio.timeout(30):
        with pytest.raises(SchemaError, match="newer than this version"):
            await waiting
    become(REVISION)
    other = sql_place.store()
    assert isinstance(other, SqlStore)
    holder = await other._database.read(read_holder)
    assert (holder.owner, holder.epoch) == ("", 1)


async def test_a_failed_upgrade_changes_nothing_and_lets_others_in(
    sql_place: Place, become: Become
) -> None:
    older = await sql_place.opened(lease_s=60)
    await fill(older)
    await older.close()
    become(BROKEN)
    with pytest.raises(StoreRefusedError, match="nowhere"):
        await sql_place.opened(lease_s=60)
    become("")
    async with asyncio.timeout(30):  # far less than the lease
        again = await sql_place.opened()
    assert list(await read_all(again, 1)) == [1, 2]
