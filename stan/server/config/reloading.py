"""A configuration read again while the server runs: what changes, what has to wait.

Limits, levels and the log are adopted; everything else is built in at the start and stays
as it is until a restart, which is said. Only the comparison lives here: who runs the
server applies it. Invariant: a file with a mistake anywhere changes nothing.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator

from stan.engine.limits import ChannelOverrides
from stan.errors import ConfigError
from stan.server.config.config import ACTIONS, Config, format_value, option_name
from stan.server.config.declaring import Option
from stan.server.config.file import CHANNEL_FIELDS
from stan.server.config.options import OPTIONS

LIMITS = frozenset({"max_channels", *CHANNEL_FIELDS})
LOG = frozenset(
    {
        *("stan_debug", "stan_trace", "stan_debug_trace"),
        *("nats_debug", "nats_trace"),
        *("log_file", "log_time", "log_format", "syslog", "remote_syslog"),
    }
)


def read_again(read: Callable[[], Config]) -> Config:
    """The configuration as it is now, complete and checked.

    Raises ConfigError, naming file, line and key where the file is to blame.
    """
    config = read()
    try:
        config.check()
    except ConfigError as error:
        raise blame(error, config) from None
    return config


def blame(error: ConfigError, config: Config) -> ConfigError:
    """The error, opened by the place in the file that it is about; by the file if that is
    not known."""
    place = config.places.get(error.about, config.stan_config)
    return ConfigError(f"{place}: {error}", error.about) if place else error


class Reloading:
    """The step from the configuration in effect to the one just read."""

    def __init__(self, old: Config, new: Config) -> None:
        self._old = old
        self._new = new
        self._changed = [
            option
            for option in OPTIONS
            if option.field not in ACTIONS
            and getattr(old, option.field, None) != getattr(new, option.field, None)
        ]

    @property
    def changes_limits(self) -> bool:
        """Whether the engine has to be told."""
        fields = {option.field for option in self._changed}
        return bool(fields & LIMITS) or self._old.channels != self._new.channels

    @property
    def effective(self) -> Config:
        """The old configuration with what can be adopted of the new one."""
        adopted = {name: getattr(self._new, name) for name in LIMITS | LOG}
        return dataclasses.replace(
            self._old, **adopted, channels=self._new.channels, warnings=self._new.warnings
        )

    def describe(self) -> list[tuple[int, str]]:
        """A line, with its level, for each thing that changed or would have, and a last one."""
        adopted = [option for option in self._changed if option.field in LIMITS | LOG]
        waiting = [option for option in self._changed if option.field not in LIMITS | LOG]
        answers = [line for line in self._new.warnings if line not in self._old.warnings]
        lines = [
            *((logging.INFO, self._adopted(option)) for option in adopted),
            *((logging.INFO, line) for line in self._channels()),
            *((logging.WARNING, self._waiting(option)) for option in waiting),
            *((logging.WARNING, line) for line in answers),
        ]
        end = "Reloaded the configuration"
        return [*lines, (logging.INFO, end if lines else f"{end}: no change")]

    def _values(self, option: Option) -> tuple[str, str]:
        old, new = (getattr(one, option.field) for one in (self._old, self._new))
        return _shown(option, old), _shown(option, new)

    def _adopted(self, option: Option) -> str:
        old, new = self._values(option)
        return f"Reloaded {option_name(option)}: {new} (was {old})"

    def _waiting(self, option: Option) -> str:
        old, new = self._values(option)
        name = option_name(option)
        if option.secret:
            return f"{name} has changed in the configuration: that takes a restart"
        return f"{name} is {new} in the configuration: it stays {old} until a restart"

    def _channels(self) -> Iterator[str]:
        """What changed in the entries of channels and wildcards, by name."""
        inherits = ChannelOverrides()
        options = [option for option in OPTIONS if option.field in CHANNEL_FIELDS]
        for name in sorted(self._old.channels | self._new.channels):
            before = self._old.channels.get(name, inherits)
            after = self._new.channels.get(name, inherits)
            for option in options:
                old, new = getattr(before, option.field), getattr(after, option.field)
                if old != new:
                    key = option_name(option).rpartition(".")[2]
                    shown = [
                        "inherited" if one is None else format_value(option, one)
                        for one in (new, old)
                    ]
                    yield f"Reloaded limits of {name}: {key}: {shown[0]} (was {shown[1]})"


def _shown(option: Option, value: str | int | bool) -> str:
    return format_value(option, value) or '""'
