"""Languages: one catalogue file each, the reader's choice among them.

Catalogues hold sentences with named places. Invariant: what is put into a place is never
read as a sentence, and a page escapes the whole.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

DEFAULT = "en"
# What the switch shows.
NAMES = {"en": "English", "zh": "简体中文"}
_SEQUENCES = frozenset(("sequence", "oldest"))
TAGS = {"en": "en", "zh": "zh-Hans"}


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """All sentences of a language, by their dotted key."""
    text = files("stan.console").joinpath("catalogues", f"{language}.toml").read_text("utf-8")
    return dict(_flatten(tomllib.loads(text), ""))


def say(language: str, key: str, words: Mapping[str, object]) -> str:
    """A sentence with its places filled."""
    return catalogue(language)[key].format_map(_Words(words))


class _Words(dict[str, object]):
    """What is put into places: large numbers are grouped, sequences stay as they are searched
    for, and what nobody knows is a question mark."""

    def __getitem__(self, key: str) -> object:
        word = super().__getitem__(key)
        is_number = isinstance(word, int) and not isinstance(word, bool)
        return f"{word:,}" if is_number and key not in _SEQUENCES else word

    def __missing__(self, key: str) -> str:
        return "?"


def choose(accepted: str, chosen: str = "") -> str:
    """The language that was chosen, or that a browser's Accept-Language likes best."""
    if chosen in NAMES:
        return chosen
    best, best_weight = DEFAULT, 0.0
    for part in accepted.split(",")[:32]:
        tag, _, parameter = part.partition(";")
        language = tag.strip().lower().partition("-")[0]
        weight = _weight(parameter)
        if language in NAMES and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _flatten(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", str(value)
