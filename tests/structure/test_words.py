"""Every module says what it holds, and no name says nothing."""

import ast
import re

from tests.structure.sources import list_modules, parse, show

EMPTY_WORDS = frozenset(("manager", "handler", "helper", "utils", "util", "common", "base", "misc"))


def split_words(name: str) -> set[str]:
    """The words of a name in snake_case or CamelCase, plural forms as singular ones too."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {form for word in words for form in (word.lower(), word.lower().rstrip("s"))}


def test_names_are_split_into_words() -> None:
    assert {"connection", "handler"} <= split_words("ConnectionHandlers")
    assert {"http", "utils", "util"} <= split_words("HTTPUtils")
    assert "base" not in split_words("database")
    assert "base" not in split_words("DatabaseServer")


def test_a_module_opens_with_a_docstring() -> None:
    modules = [path for path in list_modules() if path.read_text().strip()]
    assert modules
    assert [show(path) for path in modules if not ast.get_docstring(parse(path))] == []


def test_no_module_and_no_class_has_an_empty_word_as_name() -> None:
    named = [(show(path), path.stem) for path in list_modules()]
    named += [(show(path.parent), path.parent.name) for path in list_modules()]
    named += [
        (show(path, node.lineno), node.name)
        for path in list_modules()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef)
    ]
    assert [place for place, name in named if split_words(name) & EMPTY_WORDS] == []
