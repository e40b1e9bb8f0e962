"""stan server: how the active server is, what it was told, and handing over to a standby."""

from collections.abc import Callable
from typing import Any

import click

import stan
from stan.cli.arguments import json_option
from stan.cli.asking import ask, confirm, request
from stan.cli.commands import channel, durable
from stan.cli.group import Group
from stan.cli.tables import (
    Column,
    Row,
    alarm,
    count,
    notice,
    show_facts,
    show_json,
    show_table,
    size,
    span,
    tell,
    unlimited,
    when,
)
from stan.cli.text import say

REPORT_ROWS = 10


def _store(row: Row) -> str:
    store = row.get("store") or {}
    parts = [str(store.get("kind", "")), str(store.get("location", ""))]
    if store.get("durability"):
        parts.append(f"durability {store['durability']}")
    if store.get("epoch"):
        parts.append(f"epoch {store['epoch']}")
    return ", ".join(part for part in parts if part)


def _commit(row: Row) -> str:
    spans = row.get("commit_ms") or {}
    return f"{spans.get('p50', 0):.1f} ms, 99 % below {spans.get('p99', 0):.1f} ms"


def _group(row: Row) -> str:
    group = row.get("group")
    if not group:
        return "none"
    members = group.get("members")
    return str(group.get("name", "")) + (f", members {members}" if members else "")


FACTS = (
    Column("Cluster", "cluster_id", style="cyan"),
    Column("Server", "server_id"),
    Column("Version", lambda row: f"{row.get('version', '')} ({row.get('engine', '')})"),
    Column("State", "state"),
    Column("Admin mode", "mode"),
    Column("Started", "start_time", when),
    Column("Uptime", "uptime_s", span),
    Column("NATS", "nats_url"),
    Column("Store", _store),
    Column("Group", _group),
    Column("Clients", "clients", count),
    Column("Channels", "channels", count),
    Column("Subscriptions", "subscriptions", count),
    Column("Messages", "messages", count),
    Column("Bytes", "bytes", size),
    Column("Messages in", "in_messages", count),
    Column("Bytes in", "in_bytes", size),
    Column("Messages out", "out_messages", count),
    Column("Bytes out", "out_bytes", size),
    Column("Redelivered", "redelivered", count, notice),
    Column("Refused", "refused", count, alarm),
    Column("Queued", "queued_messages", count, notice),
    Column("Queued bytes", "queued_bytes", size),
    Column("Commit", _commit),
)
CONFIG = (
    Column("Option", "name", style="cyan"),
    Column("Value", "value"),
    Column("From", "source", style=lambda source: "" if source == "default" else "green"),
)


def _limit(title: str, name: str, show: Callable[[Any], str]) -> Column:
    return Column(title, lambda row: row["limits"].get(name, 0), unlimited(show), "", True)


LIMITS = (
    Column("Channel", "name", style="cyan"),
    _limit("Messages", "max_msgs", count),
    _limit("Bytes", "max_bytes", size),
    _limit("Age", "max_age_s", span),
    _limit("Inactivity", "max_inactivity_s", span),
    _limit("Subs", "max_subs", count),
)

server = Group("server", help="The server: state, limits, configuration, hand over.")


@server.command("info")
@json_option
def info(as_json: bool) -> None:
    """Show the active server of the cluster."""
    row = request("server.info")
    if as_json:
        show_json(row)
    else:
        show_facts(FACTS, row)


@server.command("report")
@click.option("--rows", type=click.IntRange(min=1), default=REPORT_ROWS, show_default=True)
@json_option
def report(rows: int, as_json: bool) -> None:
    """Show the server, the largest channels, and who is behind."""

    async def read(admin: stan.Admin) -> dict[str, Any]:
        answer = await admin.request("channel.list", sort="messages", reverse=True, limit=rows)
        durables = [row async for row in admin.rows("durable.list", "durables")]
        durables.sort(key=lambda row: (row["is_stalled"], row["lag"]), reverse=True)
        return {
            "server": await admin.request("server.info"),
            "channels": answer["channels"],
            "durables": durables[:rows],
        }

    found = ask(read)
    if as_json:
        show_json(found)
        return
    show_facts(FACTS, found["server"])
    if found["channels"]:
        say("")
        show_table(channel.TABLE, found["channels"], "Largest channels")
    if found["durables"]:
        say("")
        show_table(durable.TABLE, found["durables"], "Furthest behind")


@server.command("limits")
@json_option
def limits(as_json: bool) -> None:
    """Show the limits in effect: of all channels, and of those that have their own."""
    answer = request("server.limits")
    if as_json:
        show_json(answer)
    else:
        show_table(LIMITS, [{"name": "*", "limits": answer["global"]}, *answer["channels"]])


@server.command("config")
@click.option("--changed", is_flag=True, help="only what is not the default")
@json_option
def config(changed: bool, as_json: bool) -> None:
    """Show the configuration in effect, and where each value came from."""
    rows = request("server.config")["options"]
    rows = [row for row in rows if not changed or row["source"] != "default"]
    if as_json:
        show_json(rows)
    else:
        show_table(CONFIG, rows)


@server.command("reload")
@click.option("--dry-run", is_flag=True, help="show what would change")
@json_option
def reload(dry_run: bool, as_json: bool) -> None:
    """Read the configuration file again."""
    row = request("server.reload", dry_run=dry_run or None)
    if as_json:
        show_json(row)
    else:
        say("\n".join(row.get("lines") or ["Nothing changed."]))


@server.command("handover")
@click.option("-f", "--force", is_flag=True, help="do not ask")
@click.option("--dry-run", is_flag=True, help="check whether it can")
@json_option
def handover(force: bool, dry_run: bool, as_json: bool) -> None:
    """Give the cluster to a standby, and end this server."""
    if dry_run or not force:
        row = request("server.handover", dry_run=True)
        if dry_run:
            tell(row, as_json, "It could hand over.")
            return
        confirm("Hand over to a standby? The active server ends.", force)
    tell(request("server.handover"), as_json, "Handed over.")
