"""stan mkpasswd: a password's hash as a NATS configuration takes it.

The password is typed, or read from standard input; it is never an argument, which everybody
on the machine could see.
"""

import sys

import click

from stan.cli.text import say

DEFAULT_COST = 11
# What bcrypt takes into account; it refuses or ignores the rest.
MAX_BYTES = 72


@click.command("mkpasswd")
@click.option("--cost", type=click.IntRange(4, 31), default=DEFAULT_COST, show_default=True)
def mkpasswd(cost: int) -> None:
    """Hash a password, typed or from standard input, for `console` or NATS `password`."""
    try:
        import bcrypt
    except ImportError:
        raise click.ClickException(
            "this needs the package bcrypt: pip install 'nats-stan[console]'"
        ) from None
    password = _read()
    if not password:
        raise click.ClickException("the password is empty")
    if len(password) > MAX_BYTES:
        raise click.ClickException(f"the password is longer than {MAX_BYTES} bytes")
    say(bcrypt.hashpw(password, bcrypt.gensalt(cost, b"2a")).decode())


def _read() -> bytes:
    if sys.stdin.isatty():
        typed = click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
        return str(typed).encode()
    return sys.stdin.buffer.read().removesuffix(b"\n").removesuffix(b"\r")
