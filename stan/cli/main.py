"""The command `stan`: look into a cluster and change it, publish, subscribe, measure.

Only the list of commands and how everything ends live here. Exit codes: 0 done, 1 refused or
failed, 2 a command line that cannot be understood, 3 nobody answers (NATS, or the admin
service), 4 not allowed, 5 no such thing, 130 interrupted. Each failure is one line.
"""

import sys
from typing import NoReturn

import click

from stan import __version__
from stan.cli.group import Group
from stan.cli.text import complain, leave, say
from stan.errors import (
    AdminError,
    ClientIDTakenError,
    ConfigError,
    ConnectError,
    InvalidConnectionError,
    StanError,
)

FAILED, MISUNDERSTOOD, UNREACHABLE, FORBIDDEN, MISSING, INTERRUPTED = 1, 2, 3, 4, 5, 130
_CODES = {403: FORBIDDEN, 404: MISSING, 503: UNREACHABLE}
_COMMANDS = {
    "channel": ("channel:channel", "list, look into, limit, purge and delete channels"),
    "durable": ("durable:durable", "durables and queue groups: lag, position, members"),
    "client": ("client:client", "who is connected; free a client ID"),
    "server": ("server:server", "the server: state, limits, configuration, hand over"),
    "top": ("top:top", "live: rates, lag, who is stalled"),
    "pub": ("pub:pub", "publish"),
    "sub": ("sub:sub", "subscribe and print messages"),
    "outbox": ("outbox:outbox", "publish what applications wrote into an outbox table"),
    "bench": ("bench:bench", "measure throughput"),
    "mkpasswd": ("mkpasswd:mkpasswd", "hash a password for a configuration"),
    "completion": ("completion:completion", "print the completion script of a shell"),
}


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        say(f"stan version {__version__}")
        context.exit()


program = Group(
    "stan",
    help="Look into a cluster of NATS Streaming servers and change it; publish and subscribe.",
    epilog="Saved contexts of the nats command are read. Guide: docs/cli.md",
    lazy={name: (f"stan.cli.commands.{at}", about) for name, (at, about) in _COMMANDS.items()},
    hidden=False,
    no_args_is_help=True,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="show the version",
        )
    ],
)


def main(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        code = program.main(argv, "stan", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 0
    except click.UsageError as error:
        _explain(error)
        return MISUNDERSTOOD
    except click.ClickException as error:
        complain(f"stan: {error.format_message()}")
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except AdminError as error:
        complain(f"stan: {_words(error)}")
        return _CODES.get(error.code, FAILED)
    except ClientIDTakenError as error:
        complain(f"stan: {error}")
        return FAILED
    except (ConnectError, InvalidConnectionError, TimeoutError) as error:
        complain(f"stan: {error}")
        return UNREACHABLE
    except ConfigError as error:
        complain(f"stan: {error}")
        return MISUNDERSTOOD
    except StanError as error:
        complain(f"stan: {error}")
        return FAILED
    except KeyError as error:
        complain(f"stan: the server's answer has no {error}: is it an older one?")
        return FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"stan: {error.filename or ''}{': ' if error.filename else ''}{error.strerror}")
        return FAILED


def _words(error: AdminError) -> str:
    text = str(error)
    if error.code == 403 and "-admin full" not in text:
        text += ": changes need a server started with -admin full"
    return text


def _explain(error: click.UsageError) -> None:
    """What is wrong, and where the help is: two lines."""
    path = error.ctx.command_path if error.ctx is not None else "stan"
    complain(f"stan: {error.format_message()}\nTry `{path} --help`.")


def run() -> NoReturn:
    """The console script."""
    leave(main)


if __name__ == "__main__":
    sys.argv[0] = "stan"
    run()
