"""The NATS configuration language: what texts mean, and what errors say."""

from pathlib import Path

import pytest

from stan.errors import ConfigError
from stan.server.config.language import Item, parse_file, plain


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parse(text: str, file: str = "x.conf") -> dict[str, Item]:
    Path(file).write_text(text, encoding="utf-8")
    return parse_file(file)


def tree(text: str) -> object:
    return plain(parse(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("port: 4222", {"port": 4222}),
        ("port = 4222; host 127.0.0.1", {"port": 4222, "host": "127.0.0.1"}),
        (
            "a: yes\nb: OFF\nc: true # why\nd: false // not",
            {"a": True, "b": False, "c": True, "d": False},
        ),
        (
            "a: 1K, b: 1KB, c: 2mib, d: -1, e: 1.5",
            {"a": 1000, "b": 1024, "c": 2 << 20, "d": -1, "e": 1.5},
        ),
        ("a: \"1\\t\\x41\"\nb: '$x\\n'", {"a": "1\tA", "b": "$x\\n"}),
        ("a { b { c: 1 } }", {"a": {"b": {"c": 1}}}),
        ("a: [1, 'two'\n three {x: y}]", {"a": [1, "two", "three", {"x": "y"}]}),
        ('{"a": {"b": [true, 2]}, "foo.>": {}}', {"a": {"b": [True, 2]}, "foo.>": {}}),
        ("url: nats://u:p@h:4222/x", {"url": "nats://u:p@h:4222/x"}),
        ("a: (\n line one\n line two\n)\nb: 1", {"a": "\n line one\n line two\n", "b": 1}),
        ("x: 5\na { y: $x, x: 6, z: $x }", {"x": 5, "a": {"y": 5, "x": 6, "z": 6}}),
        ("password: $2a$11$abc", {"password": "$2a$11$abc"}),
        (
            "streaming {\n  id: a # c\n\n  store: sql\n}\n",
            {"streaming": {"id": "a", "store": "sql"}},
        ),
        ("a: 1h30m\nb: 2009-11-10T23:00:00Z", {"a": "1h30m", "b": "2009-11-10T23:00:00Z"}),
    ],
)
def test_texts_mean(text: str, expected: object) -> None:
    assert tree(text) == expected


def test_an_item_knows_its_line() -> None:
    outer = parse("# one\n\na {\n  b: 1\n}", "x.conf")
    inner = outer["a"].value
    assert isinstance(inner, dict)
    assert inner["b"].place == "x.conf:4"


def test_a_variable_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAN_LANGUAGE_TEST", "64KB")
    assert tree("a: $STAN_LANGUAGE_TEST") == {"a": 65536}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {\n b: 1\n", "c:3: the map opened on line 1 is never closed"),
        ("a: [1", "c:1: the array opened on line 1 is never closed"),
        ("a: 'x", "c:1: the string opened on line 1 is never closed"),
        ("\na: $nowhere", "c:2: the variable $nowhere is not defined"),
        ("{ a: 1 b: 2 }", "c:1: expected a comma or a new line after \"a\", found 'b'"),
        ("a\nb: 1", 'c:2: the key "a" has no value'),
        ("a: ,", "c:1: expected a value"),
        ('a: "\\q"', "c:1: unknown escape \\q"),
        (": 1", "c:1: expected a key, found ':'"),
        ("a: (\n", "c:1: the block opened here is never closed"),
    ],
)
def test_errors_name_file_and_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "c")
    assert str(caught.value) == message


def test_includes_are_read_beside_the_file_and_see_its_variables(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.conf").write_text("size: 3\ninclude ./sub/more.conf\nlast: 1\n")
    (tmp_path / "sub" / "more.conf").write_text("a: $size\ninclude 'third.conf'\n")
    (tmp_path / "sub" / "third.conf").write_text("b: 2")
    parsed = parse_file(str(tmp_path / "main.conf"))
    assert plain(parsed) == {"size": 3, "a": 3, "b": 2, "last": 1}


def test_an_include_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.conf"
    path.write_text("include loop.conf")
    with pytest.raises(ConfigError, match="nested deeper than 10"):
        parse_file(str(path))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.conf: No such file"):
        parse_file(str(tmp_path / "none.conf"))
