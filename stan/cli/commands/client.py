"""stan client: who is registered, with what; and freeing a client ID that somebody else needs."""

import click

from stan.cli.arguments import complete_client, destroying, json_option, names_option
from stan.cli.asking import confirm, list_rows, request
from stan.cli.group import Group
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
    tell,
)
from stan.cli.text import complain, say

TABLE = (
    Column("Client", "client_id", style="cyan"),
    number_column("Subs", "subscriptions_count"),
    Column("Last heard", "last_heard", ago),
    number_column("Failed heartbeats", "failed_heartbeats", notice),
    Column("Heartbeat inbox", "heartbeat_inbox", style="dim"),
)
FACTS = (
    Column("Subscriptions", "subscriptions_count", count),
    Column("Last heard", "last_heard", ago),
    Column("Failed heartbeats", "failed_heartbeats", count, notice),
    Column("Heartbeat inbox", "heartbeat_inbox"),
)
SUBSCRIPTIONS = (
    Column("Channel", "channel", style="cyan"),
    Column("Durable", "durable"),
    Column("Group", "queue_group"),
    Column("Stalled", "is_stalled", lambda value: "yes" if value else "no", alarm),
    number_column("Pending", "pending"),
    number_column("Last sent", "last_sent"),
)

client = Group("client", help="Who is connected; free a client ID.")
_argument = click.argument("client_id", shell_complete=complete_client)


@client.command("ls")
@click.argument("pattern", required=False)
@names_option
@json_option
def ls(pattern: str | None, names: bool, as_json: bool) -> None:
    """List clients: all, or those that PATTERN is a part of, or matches."""
    rows = list_rows("client.list", "clients", filter=pattern)
    if as_json:
        show_json(rows)
    elif names:
        show_names(row["client_id"] for row in rows)
    elif rows or not is_terminal():
        show_table(TABLE, rows)
    else:
        complain("no clients" if pattern is None else "no such clients")


@client.command("info")
@_argument
@json_option
def info(client_id: str, as_json: bool) -> None:
    """Show one client, and its subscriptions."""
    row = request("client.info", client_id=client_id)
    if as_json:
        show_json(row)
        return
    head = () if is_terminal() else (Column("Client", "client_id"),)
    show_facts((*head, *FACTS), row, f"Client {client_id}")
    if row.get("subscriptions"):
        say("")
        show_table(SUBSCRIPTIONS, row["subscriptions"], "Subscriptions")


@client.command("kick")
@_argument
@destroying
@json_option
def kick(client_id: str, dry_run: bool, force: bool, as_json: bool) -> None:
    """End a client's registration, so that its ID is free; durables keep their position."""
    if dry_run or not force:
        row = request("client.disconnect", client_id=client_id, dry_run=True)
        what = f"{client_id} with {_subscriptions(row)}"
        if dry_run:
            tell(row, as_json, f"Would disconnect {what}.")
            return
        confirm(f"Disconnect {what}?", force)
    row = request("client.disconnect", client_id=client_id)
    tell(row, as_json, f"Disconnected {client_id} with {_subscriptions(row)}.")


def _subscriptions(row: Row) -> str:
    number = row.get("subscriptions", 0)
    return f"{number:,} subscription{'' if number == 1 else 's'}"
