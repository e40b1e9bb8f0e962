"""Builds compiled wheels: what is on the path of every message, translated to C by mypyc.

A wheel is pure Python unless the environment says STAN_COMPILE=1, so that a machine without
a C compiler can always install. The source stays the same plain Python either way.
`python hatch_build.py DIRECTORY` compiles a copy of the checkout in place, for the tests.
"""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # in place, without hatchling
    BuildHookInterface = object

# Engine, wire, and of the stores what they do for each message. The rest would gain nothing.
MODULES = (
    "stan/engine/*.py",
    "stan/wire/*.py",
    "stan/store/memory.py",
    "stan/store/sql/ledger.py",
    "stan/store/sql/packing.py",
    "stan/store/sql/runs.py",
)
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def sources(root: Path) -> list[str]:
    """The modules to compile: all of these but generated code and package markers."""
    return [
        str(path.relative_to(root))
        for pattern in MODULES
        for path in sorted(root.glob(pattern))
        if path.name != "__init__.py" and not path.stem.endswith("_pb2")
    ]


def compile_in_place(root: Path) -> list[Path]:
    """Compile a checkout; returns the extension modules, which lie beside their sources."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    before = Path.cwd()
    os.chdir(root)
    try:
        options = ["--ignore-missing-imports", "--follow-imports=silent", "--config-file="]
        modules = mypycify([*options, *sources(root)], opt_level="3", group_name="stan")
        distribution = Distribution({"name": "stan", "ext_modules": modules})
        command = distribution.get_command_obj("build_ext")
        command.inplace = True
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    return [root / f"{module.name.replace('.', '/')}{SUFFIX}" for module in modules]


class CompiledWheel(BuildHookInterface):
    """The build hook: adds the compiled modules to a wheel when asked to."""

    PLUGIN_NAME = "custom"
    _copy: Path | None = None

    @property
    def _wanted(self) -> bool:
        return os.environ.get("STAN_COMPILE") == "1"

    def dependencies(self) -> list[str]:
        return ["mypy[mypyc]>=1.14,<3", "setuptools>=70"] if self._wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._wanted or version == "editable":
            return
        copy = self._copy = Path(tempfile.mkdtemp(prefix="stan-compile-"))
        shutil.copytree(Path(self.root) / "stan", copy / "stan")
        for module in compile_in_place(copy):
            build_data["force_include"][str(module)] = str(module.relative_to(copy))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._copy is not None:
            shutil.rmtree(self._copy)


if __name__ == "__main__":
    for built in compile_in_place(Path(sys.argv[1]).resolve()):
        print(built.name)
