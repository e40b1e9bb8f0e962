"""Bytes on disk: read once, in any order; their space is given back."""

from pathlib import Path

import pytest

from stan.server import spill as spills
from stan.server.spill import Spill


def test_what_was_put_is_taken(tmp_path: Path) -> None:
    spill = Spill(str(tmp_path))
    parts = [[b"a" * 10, b"b"], [b"c" * 10_000, b"d" * 10_000], [b"e"] * 3000]
    extents = [spill.put(some) for some in parts]
    assert spill.waiting_bytes == sum(len(part) for some in parts for part in some)
    for some, extent in reversed(list(zip(parts, extents, strict=True))):
        assert spill.take(extent) == b"".join(some)
    assert spill.waiting_bytes == 0
    assert not list(tmp_path.iterdir())


def test_a_file_is_closed_when_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spills, "SEGMENT_BYTES", 100)
    spill = Spill(str(tmp_path))
    extents = [spill.put([bytes(60)]) for _ in range(6)]
    files = [extent.segment.file for extent in extents]
    assert files[0] is files[1] is not files[2]
    spill.take(extents[0])
    assert not files[0].closed
    spill.take(extents[1])
    assert files[0].closed
    assert not files[2].closed
    spill.close()
    assert all(file.closed for file in files)


def test_a_limit_refuses_and_keeps_what_there_is(tmp_path: Path) -> None:
    spill = Spill(str(tmp_path), 100)
    extent = spill.put([bytes(60)])
    with pytest.raises(OSError, match="wait already"):
        spill.put([bytes(60)])
    assert spill.take(extent) == bytes(60)
    assert spill.take(spill.put([bytes(100)])) == bytes(100)
