"""Our server twice: as the plain Python it is, and with its engine compiled to C.

Both run from copies of the checkout, so that editing it does not change what a long run
measures. Compiling is done as `make test-compiled` does it, with what is installed; nothing
is downloaded. Invariant: a peer that calls itself pure or compiled has been asked which code
it runs.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers import CHECKOUT, Peer

_COPIED = ("stan", "migrations", "hatch_build.py", "pyproject.toml")
_BUILD_TIMEOUT_S = 1200


class EngineError(Exception):
    """There is no such engine to be had here; str(error) says why."""


def pure(folder: Path) -> Peer:
    """The server as plain Python, copied into `folder`. Raises EngineError."""
    _copy(folder)
    return _peer("pure", folder)


def compiled(folder: Path) -> Peer:
    """The server in `folder`, which is built when it is not there yet. Raises EngineError."""
    if not (folder / "stan").exists():
        _copy(folder)
        _compile(folder)
    elif not _is_current(folder):
        raise EngineError(f"the server in {folder} is not of this checkout: remove it")
    return _peer("compiled", folder)


def _is_current(folder: Path) -> bool:
    """Whether the sources that were compiled there are those of the checkout."""
    ours, theirs = (
        {path.relative_to(root): path.read_bytes() for path in (root / "stan").rglob("*.py")}
        for root in (CHECKOUT, folder)
    )
    return ours == theirs


def _copy(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    skip = shutil.ignore_patterns("__pycache__", "*.so")
    for name in _COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=skip)
        else:
            shutil.copy2(source, folder / name)


def _compile(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "hatch_build.py", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        shutil.rmtree(folder / "stan")
        raise EngineError(f"the engine could not be compiled: {' '.join(last)}")


def _peer(engine: str, folder: Path) -> Peer:
    found = subprocess.run(
        [sys.executable, "-c", "import stan.engine.engine as e; print(e.__file__)"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    is_pure = found.endswith(".py")
    if not Path(found).is_relative_to(folder) or is_pure != (engine == "pure"):
        raise EngineError(f"the {engine} engine in {folder} runs {found or 'nothing'}")
    return Peer(engine, (sys.executable, "-m", "stan.cli.server"), False, folder)
