"""stan channel peek, get and tail: look at stored messages without subscribing.

What is read leaves no trace: no client is registered and no position moves. Messages are
fetched in pages that fit one answer.
"""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click

import stan
from stan.cli.arguments import MOMENT, F, channel_argument
from stan.cli.asking import ask
from stan.cli.group import Command
from stan.cli.payload import FORMS, Shown, write_message
from stan.client.answers import read_time_ns

PAGE_MESSAGES = 256
POLL_S = 0.25


def form_options(command: F) -> F:
    """``--raw``, ``--json``, ``--quote``; text is the default."""
    about = {
        "raw": "print the payload only",
        "json": "print a JSON object a message",
        "quote": "print the payload quoted, with octal escapes",
    }
    for name in FORMS[1:]:
        option = click.option(f"--{name}", "form", flag_value=name, help=about[name])
        command = option(command)
    return command


@click.command("peek", cls=Command)
@channel_argument
@click.option("-n", "--count", type=click.IntRange(min=1), default=10, show_default=True)
@form_options
def peek(channel: str, count: int, form: str | None) -> None:
    """Print the last messages."""

    async def read(admin: stan.Admin) -> None:
        start: dict[str, int] = {"last": count}
        if count > PAGE_MESSAGES:
            info = await admin.request("channel.info", channel=channel)
            first = max(info["first_sequence"], info["last_sequence"] - count + 1, 1)
            start = {"sequence": first}
        async for shown in walk(admin, channel, count, **start):
            write_message(shown, form or "text")

    ask(read)


@click.command("get", cls=Command)
@channel_argument
@click.argument("sequence", type=click.IntRange(min=1), required=False)
@click.option(
    "--at", type=MOMENT, help="the first message from this time on, or from so long ago: 2h"
)
@click.option("--last", is_flag=True, help="the last message")
@click.option("-n", "--count", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="to a file")
@form_options
def get(
    channel: str,
    sequence: int | None,
    at: str | None,
    last: bool,
    count: int,
    output: Path | None,
    form: str | None,
) -> None:
    """Print a message by its SEQUENCE, or by time; or several from there on."""
    starts = {"sequence": sequence, "time": at, "last": 1 if last else None}
    chosen = {name: value for name, value in starts.items() if value is not None}
    if len(chosen) != 1:
        raise click.UsageError("say which message: a SEQUENCE, --at TIME or --last")

    async def read(admin: stan.Admin) -> list[Shown]:
        return [shown async for shown in walk(admin, channel, count, **chosen)]

    found = ask(read)
    if not found or (sequence is not None and count == 1 and found[0].sequence != sequence):
        what = f"message {sequence}" if sequence is not None else "such message"
        raise stan.AdminError(404, f"channel {channel!r} has no {what}")
    if output is not None:
        output.write_bytes(b"".join(shown.data for shown in found))
        return
    exact = len(found) == 1 and not sys.stdout.isatty()
    for shown in found:
        write_message(shown, form or "text", newline=not exact)


@click.command("tail", cls=Command)
@channel_argument
@click.option("-n", "--count", type=click.IntRange(min=0), default=10, show_default=True)
@click.option("-f/-F", "--follow/--no-follow", default=True, help="go on as messages come")
@form_options
def tail(channel: str, count: int, follow: bool, form: str | None) -> None:
    """Print the last messages, and those that come, until interrupted."""

    async def read(admin: stan.Admin) -> None:
        info = await admin.request("channel.info", channel=channel)
        sequence = max(info["last_sequence"] - count + 1, info["first_sequence"], 1)
        while True:
            answer = await _page(admin, channel, sequence=sequence, count=PAGE_MESSAGES)
            for row in answer["messages"]:
                write_message(_shown(channel, row), form or "text")
                sequence = row["sequence"] + 1
            if not answer["messages"]:
                if not follow:
                    return
                await asyncio.sleep(POLL_S)

    ask(read)


async def walk(admin: stan.Admin, channel: str, count: int, **start: Any) -> AsyncIterator[Shown]:
    """Up to so many messages from a start on, page by page."""
    while count > 0:
        answer = await _page(admin, channel, count=min(count, PAGE_MESSAGES), **start)
        rows = answer["messages"][:count]
        for row in rows:
            yield _shown(channel, row)
        if not rows:
            return
        count -= len(rows)
        start = {"sequence": rows[-1]["sequence"] + 1}


async def _page(admin: stan.Admin, channel: str, **fields: Any) -> dict[str, Any]:
    """What one answer holds; no messages where there are none, while the channel exists."""
    try:
        return await admin.request("message.get", channel=channel, **fields)
    except stan.AdminError as error:
        if error.code != 404:
            raise
        await admin.request("channel.info", channel=channel)
        return {"messages": []}


def _shown(channel: str, row: dict[str, Any]) -> Shown:
    return Shown(
        channel,
        row["sequence"],
        read_time_ns(row["time"]),
        base64.b64decode(row["data"]),
        row.get("reply", ""),
    )
