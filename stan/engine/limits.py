"""What a channel may hold, and which configured limits apply to it.

Only the policy of inheritance lives here; enforcing a limit is the channel's business.
A resolved limit of 0 means unlimited. Resolution is a pure function of the name: asking
twice gives the same answer, and naming a channel in the limits never creates it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from stan.errors import ConfigError
from stan.units import format_duration
from stan.wire.subjects import is_valid_channel_pattern, pattern_covers, pattern_matches

# Compared token by token, from the widest to the narrowest.
_WIDTHS = {">": 0, "*": 1}
_LITERAL = 2


@dataclass(slots=True, frozen=True)
class ChannelLimits:
    """The limits of one channel, all inheritance done; 0 is unlimited."""

    max_subscriptions: int = 1000
    max_messages: int = 1_000_000
    max_bytes: int = 1_024_000_000
    max_age_ns: int = 0
    max_inactivity_ns: int = 0

    def with_overrides(self, overrides: "ChannelOverrides") -> "ChannelLimits":
        """These limits where `overrides` says nothing, else what it says."""
        return ChannelLimits(
            _override(self.max_subscriptions, overrides.max_subscriptions),
            _override(self.max_messages, overrides.max_messages),
            _override(self.max_bytes, overrides.max_bytes),
            _override(self.max_age_ns, overrides.max_age_ns),
            _override(self.max_inactivity_ns, overrides.max_inactivity_ns),
        )


@dataclass(slots=True, frozen=True)
class ChannelOverrides:
    """What the configuration says of one channel or wildcard: None inherits, 0 or a
    negative number is unlimited."""

    max_subscriptions: int | None = None
    max_messages: int | None = None
    max_bytes: int | None = None
    max_age_ns: int | None = None
    max_inactivity_ns: int | None = None


@dataclass(slots=True, frozen=True)
class ListedLimits:
    """One configured entry as the startup banner lists it: `depth` entries cover it, the
    narrowest of them (or the defaults) gave `inherited`."""

    name: str
    depth: int
    limits: ChannelLimits
    inherited: ChannelLimits


@dataclass(slots=True)
class StoreLimits:
    """The limits of the whole store; `max_channels` 0 is unlimited."""

    max_channels: int = 100
    defaults: ChannelLimits = field(default_factory=ChannelLimits)
    channels: dict[str, ChannelOverrides] = field(default_factory=dict)
    # There may be thousands of entries and of channels: only wildcards are searched through,
    # and what an entry comes to is found once.
    _wildcards: list[str] = field(init=False, repr=False, compare=False)
    _known: dict[str, ChannelLimits] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._wildcards = [name for name in self.channels if not _is_literal(name)]
        self._known = {}

    def resolve(self, channel: str) -> ChannelLimits:
        """The limits of a literal channel name.

        The narrowest entry that matches the name applies. It inherits what it leaves open
        from the narrowest entry that covers all of it, and so on up to the defaults.
        """
        if channel in self.channels:
            return self._entry(channel)
        return self._narrowest(name for name in self._wildcards if pattern_matches(name, channel))

    def listing(self) -> list[ListedLimits]:
        """The configured entries from wide to narrow, each after all that cover it."""
        listed = []
        for name in sorted(self.channels, key=_width):
            above = self._above(name)
            listed.append(ListedLimits(name, len(above), self._entry(name), self._narrowest(above)))
        return listed

    def check(self) -> None:
        """Raise ConfigError when the server must not start with these limits."""
        defaults = self.defaults
        for field_name, words, value in (
            ("max_channels", "channels", str(self.max_channels)),
            ("max_subscriptions", "subscriptions", str(defaults.max_subscriptions)),
            ("max_messages", "messages", str(defaults.max_messages)),
            ("max_bytes", "bytes", str(defaults.max_bytes)),
            ("max_age_ns", "age", format_duration(defaults.max_age_ns)),
            ("max_inactivity_ns", "inactivity", format_duration(defaults.max_inactivity_ns)),
        ):
            if value.startswith("-"):
                raise ConfigError(
                    f"max {words} limit cannot be negative ({value})", about=field_name
                )
        for name in self.channels:
            if not is_valid_channel_pattern(name):
                raise ConfigError(f'invalid channel name "{name}"', about=f"channels {name}")
        literals = sum(1 for name in self.channels if _is_literal(name))
        if 0 < self.max_channels < literals:
            raise ConfigError(
                f"too many channels defined ({literals}). "
                f"The max channels limit is set to {self.max_channels}",
                about="max_channels",
            )

    def _narrowest(self, names: Iterable[str]) -> ChannelLimits:
        """The limits of the narrowest of these entries; the defaults when there is none."""
        narrowest = max(names, key=_width, default=None)
        return self.defaults if narrowest is None else self._entry(narrowest)

    def _entry(self, name: str) -> ChannelLimits:
        """What an entry comes to, inheritance done."""
        known = self._known.get(name)
        if known is None:
            known = self._narrowest(self._above(name)).with_overrides(self.channels[name])
            self._known[name] = known
        return known

    def _above(self, name: str) -> list[str]:
        """The entries that cover this one."""
        return [wide for wide in self._wildcards if wide != name and pattern_covers(wide, name)]


def _override(inherited: int, override: int | None) -> int:
    return inherited if override is None else max(override, 0)


def _width(name: str) -> list[tuple[int, str]]:
    return [(_WIDTHS.get(token, _LITERAL), token) for token in name.split(".")]


def _is_literal(name: str) -> bool:
    return all(token not in _WIDTHS for token in name.split("."))
