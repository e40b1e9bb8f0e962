"""The Python files of this checkout, parsed once, and what is in them.

Generated modules are left out. Nothing is judged here.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("stan", "bench", "examples", "tests", "migrations")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def list_modules(*folders: str) -> tuple[Path, ...]:
    """The modules that people write, below these folders or all."""
    found = (path for folder in folders or FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return tuple(sorted(path for path in found if not is_foreign(path)))


def is_foreign(path: Path) -> bool:
    """Whether a file is generated, or was brought by a tool."""
    parts = path.relative_to(ROOT).parts
    return path.stem.endswith("_pb2") or not {"node_modules", "__pycache__", "build"}.isdisjoint(
        parts
    )


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text(), str(path))


def show(path: Path, line: int | None = None) -> str:
    """A place as a person looks it up."""
    name = str(path.relative_to(ROOT))
    return name if line is None else f"{name}:{line}"


def iter_functions(path: Path) -> Iterator[Function]:
    """All functions and methods of a module, those inside others too."""
    for node in ast.walk(parse(path)):
        if isinstance(node, Function):
            yield node


def count_lines(function: Function) -> int:
    """The lines of a function from its `def` to its end, without its docstring."""
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length
