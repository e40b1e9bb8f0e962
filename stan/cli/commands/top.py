"""stan top: what happens right now, by the second.

Rates are differences of two looks at the service, by the server's clock. The channels are
those that were published to last, the durables those that are furthest behind: a page of each
is looked at, however many there are. Drawing is rich's; `--once` and `--json` are for scripts.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

import stan
from stan.cli.arguments import SPAN
from stan.cli.asking import ask
from stan.cli.commands.durable import STATE
from stan.cli.group import Command
from stan.cli.naming import name_of
from stan.cli.tables import (
    Column,
    Row,
    alarm,
    count,
    draw_table,
    is_terminal,
    notice,
    number_column,
    show_facts,
    show_table,
    size,
    span,
)
from stan.cli.text import complain, say
from stan.client.answers import read_time_ns
from stan.units import SECOND_NS

LOOKED_AT = 256
ROWS = 15


def _rate(value: Any) -> str:
    return f"{value:,.0f}/s"


def _byte_rate(value: Any) -> str:
    return f"{size(int(value))}/s"


CHANNELS = (
    Column("Channel", "name", style="cyan"),
    Column("In", "in_rate", _rate, "green", right=True),
    number_column("Messages", "messages"),
    Column("Bytes", "bytes", size, right=True),
    number_column("Last seq", "last_sequence"),
    number_column("Subs", "subscriptions"),
)
DURABLES = (
    Column("Channel", "channel", style="cyan"),
    Column("Name", name_of),
    STATE,
    number_column("Lag", "lag", notice),
    Column("Out", "out_rate", _rate, "green", right=True),
    number_column("Pending", "pending"),
    number_column("Redelivered", "redelivered"),
)
FACTS = (
    Column("Server", lambda row: f"{row['cluster_id']} {row['state']} up {span(row['uptime_s'])}"),
    Column("In", lambda row: f"{_rate(row['in_rate'])} {_byte_rate(row['in_byte_rate'])}"),
    Column("Out", lambda row: f"{_rate(row['out_rate'])} {_byte_rate(row['out_byte_rate'])}"),
    Column("Redelivered", "redelivered_rate", _rate, notice),
    Column("Refused", "refused_rate", _rate, alarm),
    Column("Queued", "queued_messages", count, notice),
    Column("Commit", lambda row: "p50 {p50:.1f} ms, p99 {p99:.1f} ms".format(**row["commit_ms"])),
    Column("Clients", "clients", count),
    Column("Stalled", "stalled", count, alarm),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What the service said at one moment."""

    server: Row
    channels: dict[str, Row]
    durables: dict[tuple[str, str], Row]
    stalled: int

    @classmethod
    async def take(cls, admin: stan.Admin) -> "Look":
        """Ask for it."""
        channels = await admin.request("channel.list", sort="last", reverse=True, limit=LOOKED_AT)
        durables = await admin.request("durable.list", limit=LOOKED_AT)
        stalled = await admin.request("durable.list", stalled=True, limit=LOOKED_AT)
        rows = [*durables["durables"], *stalled["durables"]]
        return cls(
            await admin.request("server.info"),
            {row["name"]: row for row in channels["channels"]},
            {(row["channel"], name_of(row)): row for row in rows},
            stalled["total"],
        )


def compare(before: Look, now: Look, rows: int) -> dict[str, Any]:
    """What happened between two looks, and what is."""
    passed_ns = read_time_ns(now.server["now"]) - read_time_ns(before.server["now"])
    seconds = max(passed_ns / SECOND_NS, 1e-3)

    def rate(new: Row, old: Row | None, key: str) -> float:
        # A counter that fell belongs to another server, or to a channel that was made anew.
        return max(0.0, (new[key] - old[key]) / seconds) if old is not None else 0.0

    server = {
        **now.server,
        "in_rate": rate(now.server, before.server, "in_messages"),
        "in_byte_rate": rate(now.server, before.server, "in_bytes"),
        "out_rate": rate(now.server, before.server, "out_messages"),
        "out_byte_rate": rate(now.server, before.server, "out_bytes"),
        "redelivered_rate": rate(now.server, before.server, "redelivered"),
        "refused_rate": rate(now.server, before.server, "refused"),
        "commit_ms": {"p50": 0.0, "p99": 0.0} | (now.server.get("commit_ms") or {}),
        "stalled": now.stalled,
    }
    channels = [
        {**row, "in_rate": rate(row, before.channels.get(name), "last_sequence")}
        for name, row in now.channels.items()
    ]
    durables = [
        {**row, "out_rate": rate(row, before.durables.get(key), "last_sent")}
        for key, row in now.durables.items()
    ]
    channels.sort(key=lambda row: row["in_rate"], reverse=True)
    durables.sort(key=lambda row: (row["is_stalled"], row["lag"], row["out_rate"]), reverse=True)
    return {"server": server, "channels": channels[:rows], "durables": durables[:rows]}


@click.command("top", cls=Command)
@click.option("--interval", "interval_s", type=SPAN, default=1, help="how often; 1s by default")
@click.option("--rows", type=click.IntRange(min=1), default=ROWS, show_default=True)
@click.option("--once", is_flag=True, help="look once (twice, an interval apart), and end")
@click.option("--json", "as_json", is_flag=True, help="print a JSON object each time")
def top(interval_s: float, rows: int, once: bool, as_json: bool) -> None:
    """Watch rates, lag and who is stalled, by the second."""
    if interval_s <= 0:
        raise click.UsageError("--interval must be above 0")

    if as_json or once or not is_terminal():
        ask(lambda admin: _watch(admin, interval_s, rows, once, _print_json if as_json else _print))
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(markup=False, highlight=False, emoji=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def show(found: dict[str, Any]) -> None:
            live.update(_draw(found), refresh=True)

        ask(lambda admin: _watch(admin, interval_s, rows, False, show))


async def _watch(
    admin: stan.Admin, interval_s: float, rows: int, once: bool, show: Callable[[Any], None]
) -> None:
    """Look again and again. What is on show outlives a server that is away for a while."""
    before = await Look.take(admin)
    trouble = ""
    while True:
        await asyncio.sleep(interval_s)
        try:
            now, trouble = await Look.take(admin), ""
        except stan.StanError as error:
            if once:
                raise
            now, trouble = before, str(error)
        show(compare(before, now, rows) | {"trouble": trouble})
        if once:
            return
        before = now


def _print_json(found: dict[str, Any]) -> None:
    say(json.dumps(found, ensure_ascii=False))


def _print(found: dict[str, Any]) -> None:
    if found["trouble"]:
        complain(found["trouble"])
        return
    show_facts(FACTS, found["server"])
    for columns, key, title in _PARTS:
        if found[key]:
            say("")
            show_table(columns, found[key], title)


_PARTS = ((CHANNELS, "channels", "Channels"), (DURABLES, "durables", "Durables and groups"))


def _draw(found: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    line = Text()
    for column in FACTS:
        text, style = column.drawn(found["server"])
        line.append(f"{column.title} ", "dim").append(f"{text}   ", style)
    parts.append(line)
    if found["trouble"]:
        parts.append(Text(found["trouble"], "bold red"))
    parts += [draw_table(columns, found[key], title) for columns, key, title in _PARTS]
    return Group(*parts)
