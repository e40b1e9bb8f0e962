"""A peer is asked which code it runs; building itself is left to `make test-compiled`."""

from pathlib import Path

import pytest

from bench.engines import EngineError, compiled, pure


def test_a_folder_of_plain_python_is_not_taken_for_compiled(tmp_path: Path) -> None:
    module = tmp_path / "stan" / "engine" / "engine.py"
    module.parent.mkdir(parents=True)
    for package in (module.parent, module.parent.parent):
        (package / "__init__.py").touch()
    module.touch()
    with pytest.raises(EngineError, match=r"runs .*engine\.py"):
        compiled(tmp_path)


def test_the_pure_server_is_a_copy(tmp_path: Path) -> None:
    peer = pure(tmp_path / "pure")
    assert peer.folder == tmp_path / "pure"
    assert (tmp_path / "pure" / "stan" / "engine" / "engine.py").exists()
