"""The NATS configuration language: text in, a tree of values with their places out.

Maps, arrays, comments, quoted, bare and block strings, numbers with size suffixes,
variables and includes. What a key means is not known here. Every item remembers its file
and line, so that whoever finds fault with a value can say where it stands.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stan.errors import ConfigError

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NUMBER = re.compile(r"(-?\d+)(k|kb|ki|kib|m|mb|mi|mib|g|gb|gi|gib|t|tb|ti|tib)?", re.IGNORECASE)
_FLOAT = re.compile(r"-?\d+\.\d+")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_KEY_ENDS = frozenset(" \t\r\n=:{}")
_BARE_ENDS = frozenset(" \t\r\n,;]}")
_INCLUDE_DEPTH = 10


@dataclass(slots=True, frozen=True)
class Item:
    """A value and the place where it stands."""

    value: "str | int | float | bool | list[Item] | dict[str, Item]"
    file: str
    line: int

    @property
    def place(self) -> str:
        """`file:line`, to open an error message with."""
        return f"{self.file}:{self.line}"


def parse_file(path: str) -> dict[str, Item]:
    """The tree in a file and in the files that it includes.

    Raises ConfigError, naming file and line, for a file that cannot be read or understood.
    """
    return _parse_file(path, {}, 0)


def plain(value: "str | int | float | bool | list[Item] | dict[str, Item]") -> object:
    """The bare value without places: what json.dumps takes."""
    if isinstance(value, dict):
        return {key: plain(item.value) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item.value) for item in value]
    return value


def _parse_file(path: str, scope: Mapping[str, Item], depth: int) -> dict[str, Item]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 text") from None
    return _Reader(text, path, scope, depth).read_all()


class _Reader:
    """One file being read. `scopes` are the maps around the current one, outermost first:
    where a variable is looked up."""

    def __init__(self, text: str, file: str, scope: Mapping[str, Item], depth: int) -> None:
        self._text = text
        self._file = file
        self._depth = depth
        self._at = 0
        self._line = 1
        self._scopes: list[Mapping[str, Item]] = [scope]

    def read_all(self) -> dict[str, Item]:
        self._skip_blank()
        if self._peek() == "{":
            self._advance()
            tree = self._read_map("}")
            self._skip_blank()
            if self._peek():
                raise self._error(f"unexpected {self._peek()!r} after the closing brace")
            return tree
        return self._read_map("")

    def _read_map(self, end: str) -> dict[str, Item]:
        opened = self._line
        entries: dict[str, Item] = {}
        self._scopes.append(entries)
        while True:
            self._skip_blank(",;")
            char = self._peek()
            if char == end:
                self._advance()
                break
            if not char:
                raise self._error(f"the map opened on line {opened} is never closed")
            self._read_entry(entries, end)
        self._scopes.pop()
        return entries

    def _read_entry(self, entries: dict[str, Item], end: str) -> None:
        line = self._line
        quoted = self._peek() in "\"'"
        key = self._read_key()
        if key == "include" and not quoted and self._peek() not in ("=", ":", "{"):
            self._read_include(entries)
        else:
            self._skip_blank()
            if self._peek() and self._peek() in "=:":
                self._advance()
                self._skip_blank()
            elif self._line != line:
                raise self._error(f'the key "{key}" has no value')
            entries[key] = self._read_item()
        self._skip_spaces()
        after = self._peek()
        if after and after not in ",;\n#" and after != end and not self._at_comment():
            raise self._error(f'expected a comma or a new line after "{key}", found {after!r}')

    def _read_key(self) -> str:
        char = self._peek()
        if char in "\"'":
            key = self._read_quoted()
        else:
            start = self._at
            while self._peek() and self._peek() not in _KEY_ENDS:
                self._at += 1
            key = self._text[start : self._at]
        if not key:
            raise self._error(f"expected a key, found {char!r}")
        self._skip_spaces()
        return key

    def _read_include(self, entries: dict[str, Item]) -> None:
        name = self._read_quoted() if self._peek() in "\"'" else self._read_bare()
        if self._depth >= _INCLUDE_DEPTH:
            raise self._error(f"includes are nested deeper than {_INCLUDE_DEPTH} files")
        path = os.path.join(os.path.dirname(self._file), name)
        scope = {key: item for around in self._scopes for key, item in around.items()}
        entries.update(_parse_file(path, scope, self._depth + 1))

    def _read_item(self) -> Item:
        line = self._line
        char = self._peek()
        value: str | int | float | bool | list[Item] | dict[str, Item]
        if char == "{":
            self._advance()
            value = self._read_map("}")
        elif char == "[":
            self._advance()
            value = self._read_array()
        elif char and char in "\"'":
            value = self._read_quoted()
        elif char == "(":
            value = self._read_block()
        else:
            bare = self._read_bare()
            if bare.startswith("$") and not bare.startswith("$2a$"):
                return self._look_up(bare[1:], line)
            value = _parse_bare(bare)
        return Item(value, self._file, line)

    def _read_array(self) -> list[Item]:
        opened = self._line
        items: list[Item] = []
        while True:
            self._skip_blank(",;")
            char = self._peek()
            if char == "]":
                self._advance()
                return items
            if not char:
                raise self._error(f"the array opened on line {opened} is never closed")
            items.append(self._read_item())

    def _read_quoted(self) -> str:
        quote, opened = self._peek(), self._line
        self._advance()
        parts: list[str] = []
        while (char := self._peek()) != quote:
            if not char:
                raise self._error(f"the string opened on line {opened} is never closed")
            self._advance()
            parts.append(self._read_escape() if char == "\\" and quote == '"' else char)
        self._advance()
        return "".join(parts)

    def _read_escape(self) -> str:
        char = self._peek()
        self._advance()
        if char == "x":
            digits = self._text[self._at : self._at + 2]
            if re.fullmatch(r"[0-9a-fA-F]{2}", digits):
                self._at += 2
                return chr(int(digits, 16))
        if char not in _ESCAPES:
            raise self._error(f"unknown escape \\{char}")
        return _ESCAPES[char]

    def _read_block(self) -> str:
        """A string between parentheses that stand on lines of their own."""
        end = self._text.find("\n)", self._at)
        if end < 0:
            raise self._error("the block opened here is never closed")
        block = self._text[self._at + 1 : end + 1]
        self._line += block.count("\n")
        self._at = end + 2
        return block

    def _read_bare(self) -> str:
        start = self._at
        while self._peek() and self._peek() not in _BARE_ENDS:
            self._at += 1
        if start == self._at:
            raise self._error("expected a value")
        return self._text[start : self._at]

    def _look_up(self, name: str, line: int) -> Item:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name in os.environ:
            return Item(_parse_bare(os.environ[name]), f"environment variable {name}", line)
        raise self._error(f"the variable ${name} is not defined")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _advance(self) -> None:
        if self._peek() == "\n":
            self._line += 1
        self._at += 1

    def _at_comment(self) -> bool:
        return self._peek() == "#" or self._text.startswith("//", self._at)

    def _skip_spaces(self) -> None:
        while self._peek() and self._peek() in " \t\r":
            self._at += 1

    def _skip_blank(self, separators: str = "") -> None:
        while char := self._peek():
            if self._at_comment():
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif char.isspace() or char in separators:
                self._advance()
            else:
                return

    def _error(self, message: str) -> ConfigError:
        return ConfigError(f"{self._file}:{self._line}: {message}")


def _parse_bare(text: str) -> str | int | float | bool:
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    number = _NUMBER.fullmatch(text)
    if number is not None:
        suffix = (number[2] or "").lower()
        # `k` alone is a thousand, `kb`, `ki` and `kib` are 1024.
        base = 1000 if len(suffix) == 1 else 1024
        return int(number[1]) * int(base ** _POWERS.get(suffix[:1], 0))
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
