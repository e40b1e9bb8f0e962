"""What the server says about itself when it starts: lines of text, nothing else.

The order and the columns are those of the original, on which people's scripts rely.
"""

import os
import platform
from importlib import metadata

from stan.engine import engine
from stan.engine.limits import ChannelLimits, StoreLimits
from stan.units import format_duration, format_size

PROGRAM = "stan-server"
_BOX_WIDTH = 34
_VALUE_WIDTH = 13
_DEFAULTS = ChannelLimits()


def server_version() -> str:
    """The version of the installed distribution."""
    try:
        return metadata.version("nats-stan")
    except metadata.PackageNotFoundError:
        return "0.0.0"


def is_compiled() -> bool:
    """Whether the engine was translated to C."""
    return not str(engine.__file__).endswith(".py")


def engine_kind() -> str:
    """The same in a word: compiled, or pure."""
    return "compiled" if is_compiled() else "pure"


def describe_start(cluster_id: str, server_id: str) -> list[str]:
    """The first lines of every start."""
    return [
        f"Starting {PROGRAM}[{cluster_id}] version {server_version()}",
        f"ServerID: {server_id}",
        f"Python version: {platform.python_version()}",
        "Git commit: [not set]",
        f"Engine: {engine_kind()}",
    ]


def describe_recovery(channels: int) -> str:
    """What was found in the store."""
    return f"Recovered {channels} channel(s)" if channels else "No recovered state"


def describe_store(kind: str, location: str, limits: StoreLimits) -> list[str]:
    """Where messages are kept, and the limits: a line per limit, `*` marks a default."""
    lines = [f"Message store is {kind}"]
    if location:
        lines.append(f"Store location: {location}")
    lines.append(" Store Limits ".center(_BOX_WIDTH, "-"))
    mark = " *" if limits.max_channels == StoreLimits().max_channels else ""
    lines.append(f"Channels:        {_count(limits.max_channels):>{_VALUE_WIDTH}}{mark}")
    lines.append(f"{'-' * 9} Channels Limits {'-' * 8}")
    for name, value, default in zip(
        ("Subscriptions", "Messages     ", "Bytes        ", "Age          ", "Inactivity   "),
        _values(limits.defaults),
        _values(_DEFAULTS),
        strict=True,
    ):
        mark = " *" if value == default else ""
        lines.append(f"  {name}:{value:>{_VALUE_WIDTH + 1}}{mark}")
    listed = _list_channels(limits)
    width = max(_BOX_WIDTH, *map(len, listed)) if listed else _BOX_WIDTH
    if listed:
        title = " List of Channels "
        left = (width - len(title)) // 2
        lines.append("-" * left + title + "-" * (width - len(title) - left))
    return [*lines, *listed, "-" * width]


def describe_next_steps(cluster_id: str, url: str = "", directory: str = "") -> list[str]:
    """Two lines for a newcomer: what to type in another terminal.

    `directory` is where the commands are, when they are not on PATH; `url` where NATS is.
    """
    flags = "" if cluster_id == "test-cluster" else f" -c {cluster_id}"
    if url and not url.endswith(":4222"):
        flags += f" -s {url}"
    publish, subscribe = (os.path.join(directory, name) for name in ("stan-pub", "stan-sub"))
    return [
        f'In another terminal, publish a message:  {publish}{flags} foo "msg one"',
        f"and receive it, now or after a restart:  {subscribe}{flags} --all foo",
    ]


def _list_channels(limits: StoreLimits) -> list[str]:
    lines = []
    # Values line up although names are indented, up to as many levels as names have tokens.
    levels = max((name.count(".") + 1 for name in limits.channels), default=0)
    for entry in limits.listing():
        indent = " " * entry.depth
        width = _VALUE_WIDTH + max(0, levels - entry.depth)
        lines.append(f"{indent}{entry.name}")
        for name, value, inherited in zip(
            ("Subscriptions", "Messages", "Bytes", "Age", "Inactivity"),
            _values(entry.limits),
            _values(entry.inherited),
            strict=True,
        ):
            if value != inherited:
                lines.append(f"{indent} |-> {name:<13} {value:>{width}}")
    return lines


def _values(limits: ChannelLimits) -> tuple[str, ...]:
    return (
        _count(limits.max_subscriptions),
        _count(limits.max_messages),
        format_size(limits.max_bytes) if limits.max_bytes else "unlimited",
        format_duration(limits.max_age_ns) if limits.max_age_ns else "unlimited",
        format_duration(limits.max_inactivity_ns) if limits.max_inactivity_ns else "unlimited",
    )


def _count(value: int) -> str:
    return str(value) if value else "unlimited"
