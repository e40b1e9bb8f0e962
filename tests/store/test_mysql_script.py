"""Scripts for MySQL: nothing that is sent ends a value, and an error undoes all of one."""

import pytest

from stan.errors import StoreRefusedError
from stan.store.sql.mysql_script import MOST_PAYLOAD_BYTES, MysqlAtOnce, spell, spell_messages
from stan.store.sql.runs import StoredRun

from .conftest import Place
from .records import Writer, read_all

HOSTILE = "'; DROP TABLE stan_messages; -- \\' ?%s é"


def test_values_are_numbers_or_hexadecimal_digits() -> None:
    spelled = spell("(?, ?, ?, ?, ?)", (-5, None, HOSTILE, b"\x00'", True))
    assert spelled == f"(-5, NULL, _utf8mb4 x'{HOSTILE.encode().hex()}', x'0027', 1)"
    assert spell_messages([(1, 2, 3, 4, None, b""), (1, 3, 3, 4, "é", b"?")]).endswith(
        "(1,2,3,4,NULL,x''),(1,3,3,4,_utf8mb4 x'c3a9',x'3f')"
    )


def test_a_statement_needs_a_value_for_each_mark() -> None:
    with pytest.raises(ValueError, match="argument"):
        spell("? ?", (1,))


def test_a_large_batch_is_no_script() -> None:
    at_once = MysqlAtOnce()
    half = StoredRun(1, 1, 1, [0], [], [bytes(MOST_PAYLOAD_BYTES // 2)])
    assert at_once.fits([half, half], 10)
    assert not at_once.fits([half, half, StoredRun(1, 1, 1, [0], [], [b"x"])], 10)
    assert not at_once.fits([], 5000)


async def test_a_script_with_an_error_changes_nothing(networked_place: Place) -> None:
    server, database = networked_place.server, networked_place.database
    assert server is not None
    store = await networked_place.opened()
    writer = Writer(store)
    await writer.create(1)
    await writer.append(1, [HOSTILE.encode()], 1000, replies=[HOSTILE])
    before = await store.outcome()
    table = "stan_messages (channel_id, sequence, timestamp_ns, position, data)"
    await server.execute(f"INSERT INTO {table} VALUES (1, 3, 0, 0, 'x')", database)
    run = writer.run(1, [b"2", b"3"], 2000)
    batch = writer.batch(runs=[run])
    with pytest.raises(StoreRefusedError):
        await store.commit(batch)
    assert await store.outcome() == before
    assert list(await read_all(store, 1)) == [1]
    await server.execute("DELETE FROM stan_messages WHERE sequence=3", database)
    await store.commit(batch)
    assert list(await read_all(store, 1)) == [1, 2, 3]
    await networked_place.close()


async def test_payloads_of_every_size_are_stored_as_they_are(networked_place: Place) -> None:
    store = await networked_place.opened()
    writer = Writer(store)
    await writer.create(1)
    sizes = [0, MOST_PAYLOAD_BYTES, 1, 1_499_999, 1_500_001, MOST_PAYLOAD_BYTES + 1, 1_048_576]
    payloads = [bytes(range(251)) * (size // 251) + bytes(size % 251) for size in sizes]
    runs = [await writer.append(1, payloads, 1000), await writer.append(1, payloads[3:4], 2000)]
    found = await read_all(store, 1)
    assert list(found.values()) == [*runs[0].framed, *runs[1].framed]
    await networked_place.close()
