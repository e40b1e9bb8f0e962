"""JSON as Go's indenting encoder writes it, and long documents made a slice at a time.

The standard encoder is slow where it indents, escapes differently, and works in one go.
Nothing here knows what a document is about. Invariant: no call keeps the loop for longer
than a slice and one item.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from json.encoder import encode_basestring
from typing import NamedTuple, TypeAlias, TypeVar

Value: TypeAlias = str | int | bool | list["Value"] | dict[str, "Value"]
T = TypeVar("T")

# Between two slices everything else in the process has its turn.
SLICE_S = 0.001
_CHUNK_ITEMS = 64
_INDENT = "  "
_BOOLEANS = {True: "true", False: "false"}
# What Go escapes in strings besides what JSON demands.
_GO_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class Raw(str):
    """JSON made already."""

    __slots__ = ()


class Map(dict[str, "Value"]):
    """An object whose names are data; those of any other dict are the fields of a document,
    fixed in the source."""

    __slots__ = ()


def encode(value: Value, depth: int = 0) -> str:
    """This value as Go's indenting encoder writes it, nested `depth` levels deep."""
    if type(value) is dict and value:
        # Long lists are of objects with the same fields: their frame is made once.
        values = [one if type(one) is int else encode(one, depth + 1) for one in value.values()]
        return _frame(depth, *value) % tuple(values)
    if isinstance(value, str):
        return str(value) if isinstance(value, Raw) else quote(value)
    if isinstance(value, int):
        return _BOOLEANS[value] if isinstance(value, bool) else str(value)
    inside = _INDENT * (depth + 1)
    if isinstance(value, list):
        return enclose("[]", [inside + encode(one, depth + 1) for one in value], depth)
    lines = [f"{inside}{quote(name)}: {encode(one, depth + 1)}" for name, one in value.items()]
    return enclose("{}", lines, depth)


def quote(text: str) -> str:
    """A JSON string as Go writes it."""
    quoted = encode_basestring(text)
    if "<" in text or ">" in text or "&" in text or not text.isascii():
        return quoted.translate(_GO_ESCAPES)
    return quoted


@lru_cache(maxsize=64)
def _frame(depth: int, *names: str) -> str:
    inside = _INDENT * (depth + 1)
    return enclose("{}", [f"{inside}{quote(name).replace('%', '%%')}: %s" for name in names], depth)


def indentation(depth: int) -> str:
    """What stands before a line `depth` levels deep."""
    return _INDENT * depth


def enclose(brackets: str, lines: list[str], depth: int) -> str:
    """A list or an object of lines that are indented already."""
    if not lines:
        return brackets
    body = ",\n".join(lines)
    return f"{brackets[0]}\n{body}\n{_INDENT * depth}{brackets[1]}"


class Slices:
    """The time that one job has before it must let others run."""

    def __init__(self) -> None:
        self._end_s = time.perf_counter() + SLICE_S

    @property
    def are_over(self) -> bool:
        """Whether others should have their turn now."""
        return time.perf_counter() >= self._end_s

    async def pause(self) -> None:
        """Let others run if the slice is used up."""
        if self.are_over:
            await asyncio.sleep(0)
            self._end_s = time.perf_counter() + SLICE_S


class EncodedList(NamedTuple):
    """A list in pieces, and how many items it has. `PLACE` holds its place in a document."""

    chunks: list[bytes]
    length: int


# No string of a document can hold this: control characters are escaped.
PLACE = Raw("\0")


async def encode_list(
    items: Iterable[T], write: Callable[[T], Awaitable[str | None]], depth: int
) -> EncodedList:
    """A list of the JSON that `write` makes of each item, one level deeper; items of which it
    makes None are left out. Lets others run in between."""
    chunks: list[bytes] = []
    texts: list[str] = []
    inside = _INDENT * (depth + 1)
    between = f",\n{inside}"
    count = 0
    slices = Slices()
    for item in items:
        text = await write(item)
        if text is None:
            continue
        if not texts:
            text = (between if chunks else f"[\n{inside}") + text
        texts.append(text)
        count += 1
        if len(texts) == _CHUNK_ITEMS:
            chunks.append(between.join(texts).encode())
            texts.clear()
        if slices.are_over:
            await slices.pause()
    if texts:
        chunks.append(between.join(texts).encode())
    chunks.append(f"\n{_INDENT * depth}]".encode() if count else b"[]")
    return EncodedList(chunks, count)


def fill_in(document: dict[str, Value], found: EncodedList) -> list[bytes]:
    """The document in pieces, with the list where it has a place for it."""
    before, place, after = encode(document).partition(PLACE)
    return [before.encode(), *(found.chunks if place else ()), after.encode()]
