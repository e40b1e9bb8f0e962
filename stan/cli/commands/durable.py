"""stan durable: durables and queue groups, how far they are, and where they go on.

One is named as `stan durable ls` shows it: CLIENT/DURABLE, a group by its name, and
DURABLE:GROUP for a durable group; a durable's name alone will do while only one has it.
"""

from typing import Any

import click

import stan
from stan.cli.arguments import (
    MOMENT,
    F,
    channel_argument,
    complete_channel,
    complete_durable,
    destroying,
    json_option,
    names_option,
)
from stan.cli.asking import confirm, list_rows, request
from stan.cli.group import Group
from stan.cli.naming import name_of
from stan.cli.tables import (
    Column,
    Row,
    ago,
    alarm,
    count,
    is_terminal,
    notice,
    number_column,
    show_facts,
    show_json,
    show_names,
    show_table,
    span,
    tell,
    yes,
)
from stan.cli.text import complain, say


def _state(row: Row) -> str:
    if row.get("is_stalled"):
        return "stalled"
    return "online" if row.get("is_online") else "offline"


def _state_style(state: str) -> str:
    return {"stalled": "bold red", "online": "green"}.get(state, "dim")


STATE = Column("State", _state, style=_state_style)
TABLE = (
    Column("Channel", "channel", style="cyan"),
    Column("Name", name_of),
    STATE,
    number_column("Members", "members_count"),
    number_column("Lag", "lag", notice),
    number_column("Pending", "pending"),
    number_column("Unsent", "unsent"),
    number_column("Last sent", "last_sent"),
    Column("Oldest unacked", "oldest_unacked_time", lambda value: ago(value) if value else ""),
    number_column("Redelivered", "redelivered"),
    number_column("Lost", "lost", alarm),
)
FACTS = (
    STATE,
    Column("Durable", "is_durable", yes),
    Column("Lag", "lag", count, notice),
    Column("Pending", "pending", count),
    Column("Unsent", "unsent", count),
    Column("Last sent", "last_sent", count),
    Column("Oldest unacked", "oldest_unacked", lambda value: count(value) if value else "none"),
    Column("Oldest unacked time", "oldest_unacked_time", ago),
    Column("Redelivered", "redelivered", count),
    Column("Lost to limits", "lost", count, alarm),
)
MEMBERS = (
    Column("Client", "client_id", style="cyan"),
    STATE,
    number_column("Pending", "pending"),
    number_column("Max in flight", "max_in_flight"),
    Column("Ack wait", "ack_wait_s", span, right=True),
    number_column("Last sent", "last_sent"),
    Column("Inbox", "inbox", style="dim"),
)

durable = Group("durable", help="Durables and queue groups: list, look into, move, delete, resend.")


def _named(command: F) -> F:
    client = click.option("--client", "client_id", help="client ID, where NAME is a durable's")
    name = click.argument("name", shell_complete=complete_durable)
    return channel_argument(name(client(command)))


def find(channel: str, name: str, client_id: str | None) -> tuple[str, dict[str, str]]:
    """What the service calls the durable or group of this name: for words, and for a request.

    Raises AdminError when there is none, and UsageError when there are several."""
    if client_id is not None:
        return f"{client_id}/{name}", {"client_id": client_id, "durable": name}
    rows = list_rows("durable.list", "durables", channel=channel)
    found = [row for row in rows if name_of(row) == name]
    found = found or [row for row in rows if not row["queue_group"] and row["durable"] == name]
    if not rows:
        request("channel.info", channel=channel)  # which says so when it is not there
    if not found:
        there = ", ".join(name_of(row) for row in rows[:5]) or "none"
        more = ", ..." if len(rows) > 5 else ""
        text = f'channel "{channel}" has no durable or group "{name}" (there are: {there}{more})'
        raise stan.AdminError(404, text)
    if len(found) > 1:
        names = ", ".join(name_of(row) for row in found[:5])
        raise click.UsageError(f'"{name}" is not the name of one only: {names}')
    row = found[0]
    if row["queue_group"]:
        return name_of(row), {"queue_group": row["queue_group"]}
    return name_of(row), {"client_id": row["client_id"], "durable": row["durable"]}


@durable.command("ls")
@click.argument("channel", required=False, shell_complete=complete_channel)
@click.option("--filter", "pattern", help="only names with this part, or that match it")
@click.option("--stalled", is_flag=True, help="only those that are stalled")
@names_option
@json_option
def ls(channel: str | None, pattern: str | None, stalled: bool, names: bool, as_json: bool) -> None:
    """List durables and groups: all, or those of CHANNEL."""
    wanted: dict[str, Any] = {"channel": channel, "filter": pattern, "stalled": stalled or None}
    rows = list_rows("durable.list", "durables", **wanted)
    if as_json:
        show_json(rows)
    elif names:
        show_names(name_of(row) for row in rows)
    elif rows or not is_terminal():
        show_table(TABLE, rows)
    else:
        complain("no durables and no groups")


@durable.command("info")
@_named
@json_option
def info(channel: str, name: str, client_id: str | None, as_json: bool) -> None:
    """Show one, and its members."""
    words, named = find(channel, name, client_id)
    row = request("durable.info", channel=channel, **named)
    if as_json:
        show_json(row)
        return
    head = () if is_terminal() else (Column("Channel", "channel"), Column("Name", name_of))
    show_facts((*head, *FACTS), row, f"{words} of channel {channel}")
    if row.get("members"):
        say("")
        show_table(MEMBERS, row["members"], "Members")


@durable.command("move")
@_named
@click.option("--to", type=click.Choice(("first", "new", "last")), help="a place")
@click.option("--seq", "sequence", type=click.IntRange(min=0), help="the next message to send")
@click.option("--at", "time", type=MOMENT, help="a time, or how long ago: 2h")
@destroying
@json_option
def move(
    channel: str,
    name: str,
    client_id: str | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Have it go on elsewhere: at a sequence, a time, the first, the last or new messages."""
    place = {key: value for key, value in where.items() if value is not None}
    if len(place) != 1:
        raise click.UsageError("say where to: --to first|last|new, --seq N or --at TIME")
    words, named = find(channel, name, client_id)
    fields = {"channel": channel, **named, **place}
    if dry_run or not force:
        before = request("durable.info", channel=channel, **named)
        row = request("durable.move", **fields, dry_run=True)
        change = (
            f"{words}, which would get sequence {before['last_sent'] + 1:,} next, to sequence "
            f"{row['sequence']:,}: its lag from {before['lag']:,} to {row['lag']:,}, "
            f"{row.get('released', 0):,} in flight given up"
        )
        if dry_run:
            tell(row, as_json, f"Would move {change}.")
            return
        confirm(f"Move {change}?", force)
    row = request("durable.move", **fields)
    tell(row, as_json, f"Moved {words} to sequence {row['sequence']:,}: its lag is {row['lag']:,}.")


@durable.command("rm")
@_named
@destroying
@json_option
def rm(
    channel: str, name: str, client_id: str | None, dry_run: bool, force: bool, as_json: bool
) -> None:
    """Delete it, and with it its position; nobody's messages are removed."""
    words, named = find(channel, name, client_id)
    fields = {"channel": channel, **named}
    if dry_run or not force:
        row = request("durable.delete", **fields, force=True, dry_run=True)
        members = row["members"]
        online = f" (clients that receive by it now: {members:,})" if members else ""
        lag = row.get("unsent", 0) + row.get("pending", 0)
        what = f"{words} of channel {channel!r}{online}, with {lag:,} messages that it has not done"
        if dry_run:
            tell(row, as_json, f"Would delete {what}.")
            return
        confirm(f"Delete {what}?", force)
    row = request("durable.delete", **fields, force=True)
    tell(row, as_json, f"Deleted {words} of channel {channel!r}.")


@durable.command("resend")
@_named
@click.option("--dry-run", is_flag=True, help="show how many messages, and send none")
@json_option
def resend(channel: str, name: str, client_id: str | None, dry_run: bool, as_json: bool) -> None:
    """Send what is pending once more, now."""
    words, named = find(channel, name, client_id)
    row = request("durable.resend", channel=channel, **named, dry_run=dry_run or None)
    verb = "Would send" if dry_run else "Sent"
    tell(row, as_json, f"{verb} {row['resent']:,} messages to {words} again.")
