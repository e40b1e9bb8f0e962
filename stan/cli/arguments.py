"""What commands take alike: types of arguments, switches, and names completed from the server.

Completion is quick and silent: a server that does not answer within a moment completes nothing.
Nothing here prints.
"""

import asyncio
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from stan.cli.group import given_settings
from stan.cli.naming import name_of
from stan.cli.target import choose_target
from stan.units import SECOND_NS, parse_duration, parse_size

F = TypeVar("F", bound=Callable[..., Any])
_LONG = re.compile(r"(\d+)([dw])(.*)")
_LONG_SECONDS = {"d": 86_400, "w": 7 * 86_400}
_COMPLETION_S = 0.7


def parse_span(text: str) -> float:
    """Seconds in ``90s``, ``1h30m``, ``2d`` or ``1w``. Raises ValueError."""
    match = _LONG.fullmatch(text)
    seconds = 0.0
    while match is not None:
        seconds += int(match[1]) * _LONG_SECONDS[match[2]]
        text = match[3] or "0"
        match = _LONG.fullmatch(text)
    rest_ns = parse_duration(text)
    if rest_ns < 0:
        raise ValueError(f"invalid duration {text!r}: it is negative")
    return seconds + rest_ns / SECOND_NS


# The types of arguments: click names them in its help by the function's name.


def duration(value: Any) -> float:
    """A duration, as seconds. Raises BadParameter."""
    if not isinstance(value, str):
        return float(value)
    try:
        return parse_span(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def size(value: Any) -> int:
    """A size with its unit, as bytes. Raises BadParameter."""
    if isinstance(value, int):
        return value
    try:
        found = parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if found < 0:
        raise click.BadParameter(f"invalid size {value!r}: it is negative")
    return found


def time(value: Any) -> str:
    """A time, as the service reads it: RFC 3339, a date, Unix seconds, or a duration ago. Raises
    BadParameter."""
    try:
        return read_moment(value, datetime.now(UTC))
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{value!r} is no time: write 2026-01-31T12:00:00Z, 2026-01-31, Unix seconds, or "
            "how long ago (90s, 1h30m, 2d)"
        ) from None


def read_moment(text: str, now: datetime) -> str:
    """The time in UTC. Raises ValueError."""
    try:
        time = now - timedelta(seconds=parse_span(text))
    except ValueError:
        if re.fullmatch(r"\d{9,}(\.\d+)?", text):
            time = datetime.fromtimestamp(float(text), UTC)
        else:
            time = datetime.fromisoformat(text)
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


SPAN, SIZE, MOMENT = duration, size, time
COUNT = click.IntRange(min=0)


def json_option(command: F) -> F:
    """``--json``."""
    about = "print what the service answers, as JSON"
    return click.option("--json", "as_json", is_flag=True, help=about)(command)


def names_option(command: F) -> F:
    """``--names``."""
    return click.option("-n", "--names", is_flag=True, help="print names only, one a line")(command)


def destroying(command: F) -> F:
    """``-f`` and ``--dry-run``."""
    dry = click.option("--dry-run", is_flag=True, help="show what would go, and change nothing")
    force = click.option("-f", "--force", is_flag=True, help="do not ask")
    return dry(force(command))


def _ask_names(context: click.Context, endpoint: str, rows: str, **fields: Any) -> list[Any]:
    """Rows for completion: a page of what there is, within a moment, or nothing at all."""
    from stan.cli.asking import dial

    async def ask() -> list[Any]:
        import stan

        async with asyncio.timeout(_COMPLETION_S):
            at = choose_target(given_settings(context), os.environ)
            client = await dial(at)
            try:
                admin = stan.admin(client, at.cluster_id, timeout=_COMPLETION_S)
                found: list[Any] = (await admin.request(endpoint, limit=256, **fields))[rows]
                return found
            finally:
                await client.close()

    try:
        return asyncio.run(ask())
    except Exception:  # whatever it is: a shell that completes has no place for complaints
        return []


def complete_channel(context: click.Context, _: click.Parameter, start: str) -> list[str]:
    """Channels that begin so."""
    rows = _ask_names(context, "channel.list", "channels", filter=f"{start}*" if start else None)
    return [row["name"] for row in rows if row["name"].startswith(start)]


def complete_client(context: click.Context, _: click.Parameter, start: str) -> list[str]:
    """Client IDs that begin so."""
    rows = _ask_names(context, "client.list", "clients", filter=f"{start}*" if start else None)
    return [row["client_id"] for row in rows if row["client_id"].startswith(start)]


def complete_durable(context: click.Context, _: click.Parameter, start: str) -> list[str]:
    """Durables and groups of the channel that the line names."""
    rows = _ask_names(context, "durable.list", "durables", channel=context.params.get("channel"))
    return [name for name in map(name_of, rows) if name.startswith(start)]


def channel_argument(command: F) -> F:
    """``CHANNEL``."""
    return click.argument("channel", shell_complete=complete_channel)(command)
