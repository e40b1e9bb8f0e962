"""The frame of the `stan` command: groups that load a command when it is used, and the options
of connecting, which every command takes at any place.

What is given is kept in click's `meta`, the innermost place winning; `target` makes sense of it.
Nothing of a command lives here, and nothing is imported that `stan --help` does not need.
"""

import difflib
import importlib
import os
from collections.abc import Mapping
from typing import Any

import click

from stan.cli.target import SETTINGS, Setting, Target, choose_target

_GIVEN = "stan.cli.given"
_FOOT = "Where and as whom to connect: see `stan --help`."


def target() -> Target:
    """Where the running command connects. Raises ConfigError."""
    meta = click.get_current_context().meta
    return choose_target(meta.get(_GIVEN, {}), os.environ)


def given_settings(context: click.Context) -> dict[str, Any]:
    """What was given of the options of connecting, as far as the line was read."""
    given: dict[str, Any] = context.meta.setdefault(_GIVEN, {})
    return given


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value not in (None, False):
        assert parameter.name is not None
        given_settings(context)[parameter.name.removeprefix("to_")] = value


def _option(setting: Setting, hidden: bool) -> click.Option:
    default = f" [env: {setting.variable}]" if setting.variable else ""
    return click.Option(
        [f"to_{setting.name}", *setting.flags],
        help=setting.about + default,
        is_flag=setting.is_switch,
        default=False if setting.is_switch else None,
        expose_value=False,
        callback=_keep,
        hidden=hidden,
        metavar=None if setting.is_switch else setting.name.upper(),
        shell_complete=_complete_context if setting.name == "context" else None,
    )


def _complete_context(_: click.Context, __: click.Parameter, start: str) -> list[Any]:
    from stan.cli.target import list_contexts

    return [name for name in list_contexts(os.environ) if name.startswith(start)]


class Command(click.Command):
    """A command that connects."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("epilog", _FOOT)
        options.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*arguments, **options)
        for parameter in self.params:
            if isinstance(parameter, click.Option) and isinstance(parameter.type, click.IntRange):
                parameter.metavar = parameter.metavar or "N"
        taken = {name for parameter in self.params for name in parameter.opts}
        for setting in SETTINGS:
            if taken.isdisjoint(setting.flags):
                self.params.append(_option(setting, hidden=True))


class Group(click.Group):
    """Commands by name, each loaded when it is used: ``lazy`` maps a name to ``module:object``
    and the line that tells about it."""

    command_class = Command

    def __init__(
        self,
        *arguments: Any,
        lazy: Mapping[str, tuple[str, str]] | None = None,
        hidden: bool = True,
        **options: Any,
    ) -> None:
        options.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*arguments, **options)
        self.lazy = dict(lazy or {})
        self.params += [_option(setting, hidden) for setting in SETTINGS]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.lazy, *(name for name in self.commands if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy:
            module, _, name = self.lazy[cmd_name][0].partition(":")
            command = getattr(importlib.import_module(module), name)
            assert isinstance(command, click.Command)
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not self.lazy:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in self.lazy.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"there is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)
