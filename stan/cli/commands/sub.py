"""stan sub: subscribe to a channel and print what comes."""

import asyncio
import sys
from typing import Any

import click

import stan
from stan.cli.arguments import MOMENT, SPAN, channel_argument
from stan.cli.commands.reading import form_options
from stan.cli.group import Command
from stan.cli.naming import explain_channel, own_client_id
from stan.cli.payload import Shown, write_message
from stan.cli.receiving import Receiving, Wanted
from stan.cli.session import connect
from stan.cli.text import complain

INTERRUPTED = 130


class _Words:
    """What is said: messages to stdout, the rest to whoever sits at a terminal."""

    def __init__(self, channel: str, own_id: str, form: str) -> None:
        self._channel = channel
        self._id = own_id
        self._form = form

    def connected(self) -> None:
        return

    def listening(self) -> None:
        if sys.stderr.isatty():
            complain(f'Subscribed to "{self._channel}" as {self._id}; Ctrl-C ends.')

    def show(self, _: int, message: stan.Message) -> None:
        write_message(Shown.of(message), self._form)

    def interrupted(self) -> None:
        return


@click.command("sub", cls=Command)
@channel_argument
@click.option("--all", "first", is_flag=True, help="start with all messages that are kept")
@click.option("--last", is_flag=True, help="start with the last message")
@click.option("--new", is_flag=True, help="start with new messages (the default)")
@click.option("--seq", "sequence", type=click.IntRange(min=1), help="start at this sequence")
@click.option("--since", type=SPAN, help="start with messages of the last 90s, 1h30m, 2d")
@click.option("--start-time", type=MOMENT, help="start at this time")
@click.option("--queue", default="", help="queue group to join")
@click.option("--durable", default="", help="name under which the server keeps the position")
@click.option("--unsubscribe", is_flag=True, help="end the durable when leaving")
@click.option("-n", "--count", type=click.IntRange(min=1), help="leave after so many messages")
@click.option("--follow/--no-follow", default=True, help="leave when nothing more comes")
@click.option("--id", "client_id", help="client ID to connect with; a durable needs the same")
@form_options
def sub(
    channel: str,
    queue: str,
    durable: str,
    unsubscribe: bool,
    count: int | None,
    follow: bool,
    client_id: str | None,
    form: str | None,
    **starts: Any,
) -> None:
    """Print the messages of CHANNEL as they come."""
    wrong = explain_channel(channel, "subscribed to")
    if wrong is not None:
        raise click.UsageError(wrong)
    wanted = Wanted(
        channel,
        queue,
        durable,
        choose_start(starts),
        count=count or 0,
        follows=follow,
        unsubscribes=unsubscribe,
        interrupt_code=INTERRUPTED,
    )
    own_id = client_id or ("stan-sub" if durable else own_client_id("stan-sub"))

    async def receive() -> int:
        receiving = Receiving(wanted, _Words(channel, own_id, form or "text"))
        return await receiving.run(lambda lost: connect(own_id, connection_lost_cb=lost))

    code = asyncio.run(receive())
    if code:
        raise click.exceptions.Exit(code)


def choose_start(starts: dict[str, Any]) -> dict[str, Any]:
    """Where to begin, as `subscribe` takes it. Raises UsageError for several places."""
    given = {name: value for name, value in starts.items() if value}
    if len(given) > 1:
        raise click.UsageError(
            "give only one of --all, --last, --new, --seq, --since, --start-time"
        )
    for name, position in (("first", "first"), ("last", "last"), ("new", "new")):
        if given.get(name):
            return {"start_at": position}
    if "sequence" in given:
        return {"sequence": given["sequence"]}
    if "since" in given:
        return {"delta": given["since"]}
    if "start_time" in given:
        from datetime import datetime

        return {"time": datetime.fromisoformat(given["start_time"])}
    return {"start_at": "new"}
