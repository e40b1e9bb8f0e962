"""stan channel: what channels there are, what they hold and may hold, and what of it goes.

Only words, questions and columns live here; the operations are the server's. Reading messages
is in `reading`.
"""

from typing import Any

import click

from stan.cli.arguments import (
    COUNT,
    MOMENT,
    SIZE,
    SPAN,
    F,
    channel_argument,
    complete_channel,
    destroying,
    json_option,
    names_option,
)
from stan.cli.asking import confirm, list_rows, request, watch_removal
from stan.cli.commands.reading import get, peek, tail
from stan.cli.group import Group
from stan.cli.tables import (
    Column,
    Row,
    ago,
    count,
    is_terminal,
    notice,
    number_column,
    show_facts,
    show_json,
    show_names,
    show_table,
    size,
    span,
    tell,
    unlimited,
    when,
)
from stan.cli.text import complain

SORTS = ("name", "messages", "bytes", "last", "subscriptions")
SCREEN_ROWS = 500
NAME = Column("Channel", "name", style="cyan")
LAST = Column("Last", "last_time", ago)
TABLE = (
    NAME,
    number_column("Messages", "messages"),
    Column("Bytes", "bytes", size, right=True),
    number_column("First", "first_sequence"),
    number_column("Last seq", "last_sequence"),
    LAST,
    number_column("Subs", "subscriptions"),
    number_column("Durables", "durables"),
    number_column("Removing", "removing", notice),
)


def _limit(name: str, show: Any) -> Column:
    title = name.removesuffix("_s").replace("_", " ").capitalize()
    return Column(title, lambda row: row.get("limits", {}).get(name, 0), unlimited(show))


LIMITS = (
    _limit("max_msgs", count),
    _limit("max_bytes", size),
    _limit("max_age_s", span),
    _limit("max_inactivity_s", span),
    _limit("max_subs", count),
)
FACTS = (
    Column("Messages", "messages", count),
    Column("Bytes", "bytes", size),
    Column("First sequence", "first_sequence", count),
    Column("First time", "first_time", when),
    Column("Last sequence", "last_sequence", count),
    Column("Last time", "last_time", when),
    Column("Subscriptions", "subscriptions", count),
    Column("Durables", "durables", count),
    *LIMITS,
    Column("Limits are", "limits_source"),
    Column("Removing", "removing", count, notice),
)

channel = Group("channel", help="List, look into, limit, purge and delete channels.")
for reader in (peek, get, tail):
    channel.add_command(reader)


@channel.command("ls")
@click.argument("pattern", required=False)
@click.option("--sort", type=click.Choice(SORTS), default="name", show_default=True)
@click.option("-r", "--reverse", is_flag=True, help="the other way round")
@click.option("--limit", type=COUNT, help=f"rows at most; {SCREEN_ROWS} on a terminal, 0 for all")
@names_option
@json_option
def ls(
    pattern: str | None, sort: str, reverse: bool, limit: int | None, names: bool, as_json: bool
) -> None:
    """List channels: all, or those that PATTERN is a part of, or matches (orders.*)."""
    drawn = is_terminal() and not (names or as_json)
    most = limit if limit is not None else SCREEN_ROWS if drawn else 0
    wanted = {"filter": pattern, "sort": sort, "reverse": reverse or None}
    rows = list_rows("channel.list", "channels", most + drawn if most else 0, **wanted)
    has_more = drawn and most and len(rows) > most
    rows = rows[:most] if has_more else rows
    if as_json:
        show_json(rows)
    elif names:
        show_names(row["name"] for row in rows)
    elif rows or not drawn:
        show_table(TABLE, rows)
    else:
        complain("no channels" if pattern is None else "no such channels")
    if has_more:
        complain(f"The first {most:,}; --limit 0 lists all.")


@channel.command("info")
@channel_argument
@json_option
def info(channel: str, as_json: bool) -> None:
    """Show one channel."""
    _show(request("channel.info", channel=channel), as_json)


def _show(row: Row, as_json: bool) -> None:
    if as_json:
        show_json(row)
    else:
        facts = FACTS if is_terminal() else (Column("Channel", "name"), *FACTS)
        show_facts(facts, row, f"Channel {row['name']}")


def _limit_options(command: F) -> F:
    for option in (
        click.option("--max-subs", type=COUNT, help="subscriptions at most"),
        click.option("--max-inactivity", type=SPAN, help="deleted when unused for so long"),
        click.option("--max-age", type=SPAN, help="how long messages are kept: 90s, 12h, 7d"),
        click.option("--max-bytes", type=SIZE, help="bytes at most: 1000, 64KB, 2GB"),
        click.option("--max-msgs", type=COUNT, help="messages at most; 0 for no limit"),
    ):
        command = option(command)
    return command


def _gather(given: dict[str, Any]) -> dict[str, Any]:
    """The limits that were given, by the service's names."""
    names = {"max_age": "max_age_s", "max_inactivity": "max_inactivity_s"}
    return {names.get(name, name): value for name, value in given.items() if value is not None}


@channel.command("create")
@click.argument("channel")
@_limit_options
@json_option
def create(channel: str, as_json: bool, **limits: Any) -> None:
    """Create a channel, with limits of its own if given."""
    row = request("channel.create", channel=channel, limits=_gather(limits) or None)
    _show(row, as_json)


@channel.command("limits")
@channel_argument
@_limit_options
@click.option("--reset", is_flag=True, help="back to the configured limits")
@destroying
@json_option
def limits(
    channel: str, reset: bool, dry_run: bool, force: bool, as_json: bool, **given: Any
) -> None:
    """Show a channel's limits, or change those that are given."""
    wanted = _gather(given)
    if reset and wanted:
        raise click.UsageError("--reset takes no limits")
    if reset or wanted:
        row = _change_limits(channel, None if reset else wanted, dry_run, force)
    else:
        row = request("channel.info", channel=channel)
    if as_json:
        show_json(row)
        return
    facts = (*LIMITS, Column("Limits are", "limits_source"))
    if row.get("dry_run"):
        trial = Column("Would be removed", lambda row: _excess(row) or "nothing")
        show_facts((*facts, trial), row, f"Channel {channel}, as it would be")
    else:
        show_facts(facts, row, f"Channel {channel}")


def _change_limits(channel: str, limits: dict[str, Any] | None, dry_run: bool, force: bool) -> Row:
    from stan.cli.asking import ask

    fields = {"channel": channel, "limits": limits}
    if dry_run or not force:
        row = ask(lambda admin: admin.send("channel.limits", {**fields, "dry_run": True}))
        if dry_run:
            return row
        gone = _excess(row)
        if gone:
            confirm(f"Remove {gone} for good?", force)
    return ask(lambda admin: admin.send("channel.limits", fields))


def _excess(row: Row) -> str:
    """What a channel holds above its limits, in words."""
    most, most_bytes = row["limits"]["max_msgs"], row["limits"]["max_bytes"]
    if 0 < most < row["messages"]:
        return _messages(row["messages"] - most)
    if 0 < most_bytes < row["bytes"]:
        return f"{size(row['bytes'] - most_bytes)} of messages"
    return ""


@channel.command("purge")
@channel_argument
@click.option("--up-to", type=COUNT, help="messages up to and with this sequence")
@click.option("--before", type=MOMENT, help="messages older than this: a time, or 2d")
@click.option("--keep", type=COUNT, help="all but the last so many messages")
@destroying
@click.option("--no-wait", is_flag=True, help="do not wait for removing in the background")
@json_option
def purge(
    channel: str,
    up_to: int | None,
    before: str | None,
    keep: int | None,
    dry_run: bool,
    force: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Remove messages: all, or those that an option names."""
    which = {"up_to": up_to, "before": before, "keep": keep}
    if sum(value is not None for value in which.values()) > 1:
        raise click.UsageError("give only one of --up-to, --before and --keep")
    if all(value is None for value in which.values()):
        which = {"all": True}
    if dry_run or not force:
        row = request("channel.purge", channel=channel, **which, dry_run=True)
        messages = f"{_messages(row['purged'])} of channel {channel!r}"
        if dry_run:
            tell(row, as_json, f"Would remove {messages}.")
            return
        confirm(f"Remove {messages} for good?", force)
    row = request("channel.purge", channel=channel, **which)
    if not no_wait:
        watch_removal(channel, row.get("removing", 0))
    tell(row, as_json, f"Removed {_messages(row['purged'])} of channel {channel!r}.")


@channel.command("rm")
@click.argument("channels", nargs=-1, required=True, shell_complete=complete_channel)
@destroying
@json_option
def rm(channels: tuple[str, ...], dry_run: bool, force: bool, as_json: bool) -> None:
    """Delete channels with all they hold: messages, durables, subscriptions."""
    for channel in channels:
        if dry_run or not force:
            row = request("channel.delete", channel=channel, force=True, dry_run=True)
            what = f"channel {channel!r} with {_messages(row['messages'])}"
            if row["subscriptions"]:
                what += f" and {_plural(row['subscriptions'], 'subscription')}"
            if dry_run:
                tell(row, as_json, f"Would delete {what}.")
                continue
            confirm(f"Delete {what} for good?", force)
        row = request("channel.delete", channel=channel, force=True)
        tell(row, as_json, f"Deleted channel {channel!r} with {_messages(row['messages'])}.")


@channel.command("rmm")
@channel_argument
@click.argument("sequence", type=click.IntRange(min=1))
@destroying
@json_option
def rmm(channel: str, sequence: int, dry_run: bool, force: bool, as_json: bool) -> None:
    """Delete one message; its sequence stays used."""
    what = f"message {sequence} of channel {channel!r}"
    fields = {"channel": channel, "sequence": sequence}
    if dry_run or not force:
        row = request("message.delete", **fields, dry_run=True)
        if dry_run:
            tell(row, as_json, f"Would delete {what}.")
            return
        confirm(f"Delete {what} for good?", force)
    tell(request("message.delete", **fields), as_json, f"Deleted {what}.")


def _messages(number: int) -> str:
    return _plural(number, "message")


def _plural(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
