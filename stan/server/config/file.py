"""The two parts of a configuration file, streaming and NATS: from a tree of values to options.

Which keys exist is told by the option table; their case does not matter and unknown ones
are passed over, as in the original. Every complaint names the file, the line and the key.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stan.engine.limits import ChannelOverrides
from stan.errors import ConfigError
from stan.server.config.declaring import Kind, Option
from stan.server.config.language import Item
from stan.server.config.options import CHANNEL_BLOCKS, LIMIT_BLOCKS, OPTIONS, SQL_BLOCKS
from stan.units import parse_duration, parse_size

Scalar = str | int | bool
Tree = Mapping[str, Item]

_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "off"})
# Keys of the NATS part that hold a port, or an address and a port.
_LISTENERS = frozenset({"listen", "http", "http_port", "monitor_port", "https", "https_port"})
CHANNEL_FIELDS = (
    "max_subscriptions",
    "max_messages",
    "max_bytes",
    "max_age_ns",
    "max_inactivity_ns",
)


def streaming_block(tree: Tree) -> Tree:
    """The part of a configuration file that is about streaming: the `streaming` block when
    there is one, else the whole."""
    for key, item in tree.items():
        if key.lower() == "streaming":
            return _as_map(key, item)
    return tree


def read_values(tree: Tree) -> dict[str, Scalar]:
    """The options set in the streaming part, by field. Raises ConfigError."""
    values: dict[str, Scalar] = {}
    for option in OPTIONS:
        for key, item in _items(tree, option.keys):
            values[option.field] = _from_item(option, key, item)
    return values


def read_nats_values(tree: Tree) -> dict[str, Scalar]:
    """The options set in the NATS part, by field. The first key with a value wins. Raises
    ConfigError."""
    values: dict[str, Scalar] = {}
    for option in OPTIONS:
        for key, item in _items(tree, option.nats_keys):
            value = (_from_listener if key in _LISTENERS else _from_item)(option, key, item)
            if value != "":
                values.setdefault(option.field, value)
    return values


def read_channels(tree: Tree) -> dict[str, ChannelOverrides]:
    """The limits per channel or wildcard. Raises ConfigError."""
    channels: dict[str, ChannelOverrides] = {}
    for outer in LIMIT_BLOCKS:
        for inner in CHANNEL_BLOCKS:
            block = find(tree, [outer, inner])
            if block is not None:
                for name, item in _as_map(inner, block).items():
                    channels[name] = _read_overrides(name, item)
    return channels


def read_places(tree: Tree, nats_tree: Tree) -> dict[str, str]:
    """Where each option stands in the two parts, by field, and each entry of the limits, by
    its name behind the word `channels`. To be asked of parts that were read."""
    places = {}
    for option in OPTIONS:
        for key, item in (*_items(nats_tree, option.nats_keys), *_items(tree, option.keys)):
            places[option.field] = _describe_place(key, item)
    for outer in LIMIT_BLOCKS:
        for inner in CHANNEL_BLOCKS:
            block = find(tree, [outer, inner])
            if block is not None:
                for name, item in _as_map(inner, block).items():
                    places[f"channels {name}"] = f'{item.place}: parameter "{name}"'
    return places


def _items(tree: Tree, keys: Iterable[str]) -> Iterator[tuple[str, Item]]:
    """Those of the keys that are in the tree."""
    for key in keys:
        item = find(tree, key.split("."))
        if item is not None:
            yield key, item


def _describe_place(key: str, item: Item) -> str:
    return f'{item.place}: parameter "{key.rpartition(".")[2]}"'


def _from_item(option: Option, key: str, item: Item) -> Scalar:
    value = item.value
    if option.ignored or option.refused:
        return value if isinstance(value, str | bool | int) else str(value)
    if option.kind in (Kind.TEXT, Kind.DURATION):
        wanted, matches = "string", isinstance(value, str)
    elif option.kind is Kind.BOOLEAN:
        wanted, matches = "bool", isinstance(value, bool)
    elif option.kind is Kind.SIZE and isinstance(value, str):
        wanted, matches = "int64", True
    else:
        wanted, matches = "int64", isinstance(value, int) and not isinstance(value, bool)
    if not matches:
        raise _wrong_type(key, item, wanted)
    if not isinstance(value, str):
        assert isinstance(value, int)
        return value
    try:
        return convert(option, value)
    except ValueError as error:
        raise ConfigError(f"{_describe_place(key, item)}: {error}") from None


def _from_listener(option: Option, key: str, item: Item) -> Scalar:
    """The half that the option is about of a port, or an address and a port."""
    host, _, port = str(item.value).rpartition(":")
    if isinstance(item.value, bool) or not port.removeprefix("-").isdecimal():
        raise ConfigError(
            f"{_describe_place(key, item)}: expected a port, or an address and a port,"
            f" not {item.value!r}"
        )
    return int(port) if option.kind is Kind.INTEGER else host.strip("[]")


def _read_overrides(name: str, item: Item) -> ChannelOverrides:
    tree = _as_map(name, item)
    values: dict[str, int] = {}
    for option in OPTIONS:
        if option.field in CHANNEL_FIELDS:
            for key in option.keys:
                found = find(tree, [key.rpartition(".")[2]])
                if found is not None:
                    values[option.field] = int(_from_item(option, key.rpartition(".")[2], found))
    return ChannelOverrides(**values)


def find(tree: Tree, path: Sequence[str]) -> Item | None:
    """The item at a path of keys, whose case does not matter."""
    for key, item in tree.items():
        if key.lower() == path[0]:
            if len(path) == 1:
                return item
            if isinstance(item.value, dict):
                found = find(item.value, path[1:])
                if found is not None:
                    return found
            elif path[0] in (*LIMIT_BLOCKS, *CHANNEL_BLOCKS, *SQL_BLOCKS):
                raise _wrong_type(key, item, "map")
    return None


def _as_map(key: str, item: Item) -> Tree:
    if not isinstance(item.value, dict):
        raise _wrong_type(key, item, "map")
    return item.value


def _wrong_type(key: str, item: Item, wanted: str) -> ConfigError:
    names = {str: "string", bool: "bool", int: "int64", float: "float64", list: "array"}
    found = names.get(type(item.value), "map")
    return ConfigError(
        f"{_describe_place(key, item)} value is expected to be {wanted}, got {found}"
    )


def convert(option: Option, text: str) -> Scalar:
    """The value that a text means for an option. Raises ValueError."""
    if option.kind is Kind.TEXT:
        return text
    if option.kind is Kind.DURATION:
        return parse_duration(text)
    if option.kind is Kind.SIZE:
        return parse_size(text)
    if option.kind is Kind.BOOLEAN:
        if text.lower() in _TRUE or text.lower() in _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"{text!r} is neither true nor false")
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
