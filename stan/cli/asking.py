"""Asking the admin service from a command: a connection for the question, an answer, an end.

Nothing stays connected while a person thinks. What destroys is confirmed, or forced, or refused
where there is nobody to ask. Failures are raised for `main` to say.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

import stan
from stan.cli.group import target
from stan.cli.target import Target
from stan.client.transport import dial_plainly
from stan.errors import ConnectError
from stan.link.connecting import hide_password

T = TypeVar("T")
POLL_S = 0.25
NOBODY_TO_ASK = (
    "this destroys something, and there is no terminal to ask on: say -f to do it, or --dry-run "
    "to see what would go"
)


def ask(work: Callable[[stan.Admin], Awaitable[T]]) -> T:
    """Connect as the command line says, do the work, disconnect. Raises StanErrors."""
    return asyncio.run(_ask(target(), work))


async def _ask(at: Target, work: Callable[[stan.Admin], Awaitable[T]]) -> T:
    client = await dial(at)
    try:
        return await work(stan.admin(client, at.cluster_id, timeout=at.timeout_s))
    finally:
        await client.close()


async def dial(at: Target) -> Any:
    """A NATS connection. Raises ConnectError, which names the servers."""
    try:
        return await dial_plainly(at.urls, "stan", dict(at.nats_options))
    except ConnectError as error:
        raise ConnectError(f"{error} ({hide_password(at.servers)})") from None


def request(endpoint: str, **fields: Any) -> dict[str, Any]:
    """One endpoint's answer; what is None is not sent."""
    return ask(lambda admin: admin.request(endpoint, **fields))


def list_rows(endpoint: str, key: str, limit: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """All rows of a list, or the first ones."""

    async def collect(admin: stan.Admin) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = min(limit, 1024) if limit else 1024
        async with contextlib.aclosing(admin.rows(endpoint, key, page=page, **fields)) as rows:
            async for row in rows:
                found.append(row)
                if len(found) == limit:
                    break
        return found

    return ask(collect)


def confirm(question: str, force: bool) -> None:
    """Go on only when the user says yes, now or with -f. Raises ClickException, and Abort."""
    if force:
        return
    if not sys.stdin.isatty():
        raise click.ClickException(NOBODY_TO_ASK)
    if not click.confirm(question, err=True):
        raise click.ClickException("nothing was changed")


def watch_removal(channel: str, removing: int) -> None:
    """Show how far the background is with what a purge took out, until nothing is left.

    An interrupt ends the showing, not the removal."""
    if not removing:
        return

    async def poll(admin: stan.Admin, show: Callable[[int], object]) -> None:
        left = removing
        while left:
            await asyncio.sleep(POLL_S)
            try:
                answer = await admin.request("channel.info", channel=channel)
                left = int(answer.get("removing", 0))
            except stan.AdminError as error:
                if error.code != 404:
                    raise
                left = 0  # somebody deleted the channel meanwhile
            show(left)

    if not sys.stderr.isatty():
        ask(lambda admin: poll(admin, lambda left: None))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("removing"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=removing)
        ask(
            lambda admin: poll(admin, lambda left: progress.update(task, completed=removing - left))
        )
