"""What would be released, tried as its users will have it: `make release-check`.

An sdist, and from it a wheel, are built; each is installed into an environment of its own, for
every supported Python that this machine has, and must show its version and play the demo from
there. Nothing of the checkout may be on the path of what is tried.

    python -m tests.release                 for every Python found
    python -m tests.release --python 3.11   for this one
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.structure.sources import ROOT

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
BUILT = ROOT / "build" / "release"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
DEMO = ROOT / "examples" / "demo" / "main.py"


def run(*command: str | Path, cwd: Path = BUILT) -> str:
    """What a command prints; ends the check when it fails."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def is_version(python: Path, version: str) -> bool:
    """Whether it runs, and is what it is called."""
    question = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", question], capture_output=True, text=True)
    except OSError:
        return False
    return done.stdout.strip() == version


def find_python(version: str) -> Path | None:
    """An interpreter of this version, of the path or of pyenv."""
    places = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places += [folder / "bin" for folder in sorted(pyenv.glob(f"{version}.*"), reverse=True)]
    for place in places:
        if is_version(python := place / f"python{version}", version):
            return python
    return None


def make_environment(python: str | Path, name: str) -> Path:
    """The interpreter of a new environment."""
    shutil.rmtree(BUILT / name, ignore_errors=True)
    run(python, "-m", "venv", BUILT / name)
    return BUILT / name / "bin" / "python"


def build() -> tuple[Path, Path]:
    """The sdist and the wheel that is built from it."""
    shutil.rmtree(BUILT, ignore_errors=True)
    BUILT.mkdir(parents=True)
    python = make_environment(sys.executable, "build")
    run(python, *PIP, "build>=1.2,<2")
    run(python, "-m", "build", "--outdir", BUILT, ROOT)
    (sdist,), (wheel,) = BUILT.glob("*.tar.gz"), BUILT.glob("*.whl")
    return sdist, wheel


def try_installed(python: Path, version: str) -> None:
    """The commands name their version, and the demo proves its steps."""
    commands = python.parent
    with tempfile.TemporaryDirectory() as elsewhere:
        here = Path(elsewhere)
        shown = run(commands / "stan", "--version", cwd=here)
        assert shown == f"stan version {version}", shown
        shown = run(commands / "stan-server", "-v", cwd=here)
        assert f"version {version}, nats-server: " in shown, shown
        place = run(python, "-c", "import stan; print(stan.__file__)", cwd=here)
        assert place.startswith(str(commands.parent)), place
        run(python, shutil.copy(DEMO, here), cwd=here)


def check(versions: Iterable[str]) -> int:
    """Try both archives on each Python; how many Pythons there were."""
    sdist, wheel = build()
    named = re.fullmatch(r"nats_stan-(.+)\.tar\.gz", sdist.name)
    assert named, sdist.name
    print(f"built {sdist.name} and {wheel.name}", flush=True)
    tried = 0
    for version in versions:
        if (found := find_python(version)) is None:
            print(f"Python {version}: not on this machine")
            continue
        python = make_environment(found, f"python{version}")
        run(python, *PIP, f"{wheel}[embedded]")
        try_installed(python, named[1])
        # The dependencies are there already: only how stan itself comes differs.
        run(python, *PIP, "--no-deps", "--force-reinstall", sdist)
        try_installed(python, named[1])
        print(f"Python {version}: wheel and sdist install, and the demo runs", flush=True)
        tried += 1
    return tried


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.release")
    parser.add_argument("--python", action="append", choices=SUPPORTED, help="only this one")
    if not check(parser.parse_args().python or SUPPORTED):
        sys.exit("no supported Python was found")
