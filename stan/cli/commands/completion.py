"""stan completion: the script with which a shell completes commands, channels and clients."""

import click
from click.shell_completion import get_completion_class

from stan.cli.text import say

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  eval "$(stan completion bash)"        in ~/.bashrc
    zsh:   eval "$(stan completion zsh)"         in ~/.zshrc
    fish:  stan completion fish | source         in ~/.config/fish/config.fish
    """
    complete = get_completion_class(shell)
    assert complete is not None
    say(complete(context.find_root().command, {}, "stan", "_STAN_COMPLETE").source())
