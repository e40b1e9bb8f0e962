"""stan bench: the load and the report of stan-bench, with the options of `stan`."""

import asyncio
import json
import sys
from contextlib import ExitStack
from typing import Any

import click

from stan.cli.arguments import SIZE, channel_argument
from stan.cli.bench import loop_factory
from stan.cli.group import Command, target
from stan.cli.load import LoadError, Plan, run_load
from stan.cli.naming import explain_channel, own_client_id
from stan.cli.report import Sample, format_report, merge, save_csv
from stan.cli.text import say
from stan.identifiers import new_id

ONE = click.IntRange(min=1)
ANY = click.IntRange(min=0)


@click.command("bench", cls=Command)
@channel_argument
@click.option("--pubs", type=ANY, default=1, show_default=True, help="publishers")
@click.option("--subs", type=ANY, default=0, show_default=True, help="subscribers")
@click.option("--msgs", type=ONE, default=100_000, show_default=True, help="messages in all")
@click.option("--size", type=SIZE, default=128, show_default=True, help="size of a message")
@click.option("--ahead", type=ONE, default=512, show_default=True, help="publishes without an ack")
@click.option("--sync", is_flag=True, help="publish one at a time, waiting for each ack")
@click.option("--queue", default="", help="queue group of the subscribers")
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="save the numbers here")
@click.option("--json", "as_json", is_flag=True, help="print the numbers as JSON")
def bench(
    channel: str,
    pubs: int,
    subs: int,
    msgs: int,
    size: int,
    ahead: int,
    sync: bool,
    queue: str,
    csv_path: str | None,
    as_json: bool,
) -> None:
    """Measure throughput: messages stored, and messages received."""
    wrong = explain_channel(channel, "published to")
    if wrong is not None:
        raise click.UsageError(wrong)
    if not pubs and not subs:
        raise click.UsageError("nothing to do: --pubs and --subs are both 0")
    at = target()
    plan = Plan(
        channel=channel,
        messages=msgs,
        message_bytes=size,
        publishers=pubs,
        subscribers=subs,
        cluster_id=at.cluster_id,
        client_id=own_client_id("stan-bench"),
        is_sync=sync,
        ignores_old=bool(pubs),
        queue=queue,
        max_pub_acks_inflight=ahead,
        servers=at.servers,
        nats_options=dict(at.nats_options),
    )
    publishers, subscribers = _run(plan)
    if csv_path:
        save_csv(csv_path, new_id(), publishers, subscribers)
    if as_json:
        say(
            json.dumps(
                {"publish": _numbers(publishers), "receive": _numbers(subscribers)}, indent=2
            )
        )
    else:
        say(format_report(publishers, subscribers))


def _run(plan: Plan) -> tuple[list[Sample], list[Sample]]:
    with ExitStack() as stack:
        show: Any = lambda percent: None  # noqa: E731
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            progress = Progress(console=Console(stderr=True), transient=True)
            stack.enter_context(progress)
            task = progress.add_task("messages", total=100)

            def show(percent: int) -> None:
                progress.update(task, completed=percent)

        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                return runner.run(run_load(plan, show))
        except LoadError as error:
            raise click.ClickException(str(error)) from None


def _numbers(samples: list[Sample]) -> dict[str, float] | None:
    if not samples:
        return None
    whole = merge(samples)
    return {
        "clients": len(samples),
        "messages": whole.messages,
        "bytes": whole.total_bytes,
        "seconds": round(whole.seconds, 6),
        "messages_per_second": round(whole.rate, 1),
    }
