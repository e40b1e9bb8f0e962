"""stan outbox: the commands of stan.cli.outbox, which read their own flags."""

import click

from stan.cli import outbox as commands


@click.command(
    "outbox",
    help="Publish the rows of an outbox table, show those set aside, move them back.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def outbox(arguments: tuple[str, ...]) -> int:
    """Hand everything over: the flags are those of the older commands."""
    return commands.main(list(arguments))
