"""No module of stan imports itself through others, those imported for types only included."""

import grimp
import pytest


def find_circles(imports: dict[str, frozenset[str]]) -> list[list[str]]:
    """The groups of modules that can each be reached from the others (Tarjan's algorithm)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_modules: list[str] = []
    circles: list[list[str]] = []

    def visit(module: str) -> None:
        numbers[module] = lowest[module] = len(numbers)
        open_modules.append(module)
        for imported in sorted(imports.get(module, ())):
            if imported not in numbers:
                visit(imported)
                lowest[module] = min(lowest[module], lowest[imported])
            elif imported in open_modules:
                lowest[module] = min(lowest[module], numbers[imported])
        if lowest[module] == numbers[module]:
            start = open_modules.index(module)
            circle = sorted(open_modules[start:])
            del open_modules[start:]
            if len(circle) > 1:
                circles.append(circle)

    for module in sorted(imports):
        if module not in numbers:
            visit(module)
    return circles


def one(*names: str) -> frozenset[str]:
    return frozenset(names)


@pytest.mark.parametrize(
    ("imports", "circles"),
    [
        ({"a": one("b"), "b": one("c"), "c": one()}, []),
        ({"a": one("b"), "b": one("a")}, [["a", "b"]]),
        ({"a": one("b"), "b": one("c"), "c": one("b", "d"), "d": one()}, [["b", "c"]]),
        ({"a": one("b", "c"), "b": one("d"), "c": one("d"), "d": one()}, []),
    ],
    ids=["a line", "two", "below a start", "a diamond"],
)
def test_circles_are_found(imports: dict[str, frozenset[str]], circles: list[list[str]]) -> None:
    assert find_circles(imports) == circles


def test_no_module_of_stan_imports_itself_through_others() -> None:
    graph = grimp.build_graph("stan", cache_dir=None, exclude_type_checking_imports=False)
    imports = {
        module: frozenset(graph.find_modules_directly_imported_by(module))
        for module in graph.modules
    }
    assert "stan.engine.engine" in imports
    circles = find_circles(imports)
    assert not circles, circles
