"""stan pub: publish an argument, a file, standard input, or each line of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import click

import stan
from stan.cli.arguments import SPAN, channel_argument
from stan.cli.group import Command
from stan.cli.naming import explain_channel, own_client_id
from stan.cli.publishing import has_input, publish_all, read_lines, read_payload, repeat
from stan.cli.session import connect
from stan.cli.tables import is_terminal
from stan.cli.text import say
from stan.units import format_size

CHANNEL = "published to"


@click.command("pub", cls=Command)
@channel_argument
@click.argument("message", required=False)
@click.option("-i", "--file", help="publish what is in this file; - for standard input")
@click.option("--lines", is_flag=True, help="publish each line of the file or standard input")
@click.option("-n", "--count", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--sleep", "pause_s", type=SPAN, default=0, help="wait so long after each: 100ms")
@click.option("--msg-id", default="", help="stored once, however often it is published")
@click.option("--id", "client_id", help="client ID to connect with")
@click.option("-q", "--quiet", is_flag=True, help="say nothing when all went well")
def pub(
    channel: str,
    message: str | None,
    file: str | None,
    lines: bool,
    count: int,
    pause_s: float,
    msg_id: str,
    client_id: str | None,
    quiet: bool,
) -> None:
    """Publish MESSAGE to CHANNEL, and wait until it is stored.

    Without MESSAGE, or with -, standard input is the message.
    """
    wrong = explain_channel(channel, CHANNEL)
    if wrong is not None:
        raise click.UsageError(wrong)
    if message is not None and (lines or file is not None):
        raise click.UsageError("give either MESSAGE, or --file or --lines")
    if message is None and file is None and not has_input():
        raise click.UsageError("MESSAGE is missing: give it, or --file, or - for standard input")
    if lines and count != 1:
        raise click.UsageError("--count repeats one message: it does not go with --lines")
    if msg_id and (lines or count != 1):
        raise click.UsageError("--msg-id is for one message")
    payload = b"" if lines else read_payload(message, file)
    payloads = read_lines(file) if lines else repeat(payload, count)
    own_id = client_id or own_client_id("stan-pub")
    is_one = not lines and count == 1
    started_s = monotonic()
    if is_one:
        asyncio.run(_publish(channel, payload, msg_id, own_id))
        messages, size_bytes = 1, len(payload)
    else:
        total = None if lines else count
        messages, size_bytes = asyncio.run(_publish_many(channel, payloads, pause_s, own_id, total))
    if quiet:
        return
    what = (
        format_size(size_bytes) if is_one else f"{messages:,} messages, {format_size(size_bytes)},"
    )
    took = "" if is_one else f" in {monotonic() - started_s:.2f} s"
    say(f'Published {what} to "{channel}"{took}')


async def _publish(channel: str, payload: bytes, msg_id: str, own_id: str) -> None:
    async with await connect(own_id) as connection:
        await connection.publish(channel, payload, msg_id=msg_id)


async def _publish_many(
    channel: str,
    payloads: AsyncIterator[bytes],
    pause_s: float,
    own_id: str,
    total: int | None,
) -> tuple[int, int]:
    messages = size_bytes = 0
    with ExitStack() as stack:
        progress: Any = None
        if is_terminal() and total is not None:
            from rich.progress import Progress

            progress = stack.enter_context(Progress(transient=True))
            progress.add_task("publishing", total=total)

        def acked(payload_bytes: int) -> None:
            nonlocal messages, size_bytes
            messages += 1
            size_bytes += payload_bytes
            if progress is not None:
                progress.update(progress.task_ids[0], completed=messages)

        async with await connect(own_id) as connection:
            try:
                await publish_all(connection, channel, payloads, acked, pause_s)
            except stan.PublishError as error:
                raise stan.PublishError(f"after {messages:,} messages: {error}") from None
    return messages, size_bytes
