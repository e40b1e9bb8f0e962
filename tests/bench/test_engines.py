"""A peer is asked which code it runs; building itself is left to `make test-compiled`."""

from pathlib import Path

import pytest

from bench.engines import EngineError, compiled, pure


def test_plain_python_is_not_taken_for_compiled(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    pure(folder)
    with pytest.raises(EngineError, match=r"runs .*engine\.py"):
        compiled(folder)


def test_a_build_of_other_sources_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    pure(folder)
    (folder / "stan" / "errors.py").write_text("")
    with pytest.raises(EngineError, match="is not of this checkout"):
        compiled(folder)


def test_the_pure_server_is_a_copy(tmp_path: Path) -> None:
    peer = pure(tmp_path / "pure")
    assert peer.folder == tmp_path / "pure"
    assert (tmp_path / "pure" / "stan" / "engine" / "engine.py").exists()
