"""Runs packed into three values give the rows that one value after the other gives."""

import sqlite3
from itertools import accumulate
from random import Random

import pytest

from stan.store.sql.packing import INSERT_RUN, pack_run
from stan.store.sql.rows import Row
from stan.store.sql.runs import StoredRun, message_rows

MB = 1024 * 1024


def make_run(sizes: list[int], others: list[int], position: int = 7) -> StoredRun:
    """A run of payloads of these sizes, each with so many other bytes."""
    rng = Random(1)
    whole = [size + other for size, other in zip(sizes, others, strict=True)]
    positions = list(accumulate(whole, initial=position))[:-1]
    return StoredRun(
        3, 41, 1_700_000_000_000_000_001, positions, [], list(map(rng.randbytes, sizes))
    )


def insert(run: StoredRun) -> tuple[list[Row], int]:
    """The rows that packing makes, and by how many statements."""
    database = sqlite3.connect(":memory:")
    database.execute(
        "CREATE TABLE stan_messages (channel_id, sequence, timestamp_ns, position, reply, data)"
    )
    parts = pack_run(run)
    assert parts is not None
    for part in parts:
        database.execute(INSERT_RUN, part)
    rows = database.execute("SELECT * FROM stan_messages ORDER BY sequence").fetchall()
    database.close()
    return rows, len(parts)


@pytest.mark.parametrize("position", [0, 2**62])
@pytest.mark.parametrize("sizes", [[5], [0], [0, 0, 0], [0, 5, 0], [1] * 1000, [MB - 1] * 2])
def test_rows_are_the_same(sizes: list[int], position: int) -> None:
    run = make_run(sizes, [60] * len(sizes), position)
    rows, statements = insert(run)
    assert rows == message_rows([run])
    assert all(type(row[-1]) is bytes for row in rows)
    assert statements == 1


@pytest.mark.parametrize("seed", range(20))
def test_any_sizes_give_the_same_rows(seed: int) -> None:
    rng = Random(seed)
    most = rng.choice((10, 3000, 200_000))
    count = rng.randrange(1, 300)
    sizes = [rng.randrange(most) for _ in range(count)]
    run = make_run(sizes, [rng.randrange(8, rng.choice((100, 5000))) for _ in range(count)])
    rows, _ = insert(run)
    assert rows == message_rows([run])


@pytest.mark.parametrize(
    ("sizes", "others"), [([MB - 1] * 40, [60] * 40), ([10] * 500, [2048] * 500)]
)
def test_what_is_too_much_for_the_numbers_is_cut(sizes: list[int], others: list[int]) -> None:
    run = make_run(sizes, others)
    rows, statements = insert(run)
    assert rows == message_rows([run])
    assert statements > 1


def test_what_does_not_fit_is_left_to_others() -> None:
    assert pack_run(make_run([5, MB, 5], [60] * 3)) is None
    run = make_run([5, 5], [60] * 2)
    run.replies.extend([None, "answer.here"])
    assert pack_run(run) is None
