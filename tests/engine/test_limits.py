"""Which limits a channel gets, and which limits the server refuses to start with."""

import pytest

from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.errors import ConfigError


def test_defaults_are_those_of_the_protocol() -> None:
    limits = StoreLimits()
    assert limits.max_channels == 100
    assert limits.resolve("foo") == ChannelLimits(1000, 1_000_000, 1_024_000_000, 0, 0)


def test_zero_is_unlimited_and_nothing_is_inherited_095() -> None:
    limits = StoreLimits(
        defaults=ChannelLimits(max_messages=50, max_bytes=1000),
        channels={"foo": ChannelOverrides(max_messages=0), "bar": ChannelOverrides()},
    )
    assert limits.resolve("foo") == ChannelLimits(max_messages=0, max_bytes=1000)
    assert limits.resolve("bar") == limits.defaults


def test_a_negative_override_is_unlimited_100() -> None:
    limits = StoreLimits(
        defaults=ChannelLimits(max_inactivity_ns=5),
        channels={"foo": ChannelOverrides(max_inactivity_ns=-1)},
    )
    assert limits.resolve("foo").max_inactivity_ns == 0
    assert limits.resolve("bar").max_inactivity_ns == 5


def test_the_narrowest_wildcard_wins_096() -> None:
    limits = StoreLimits(
        channels={"foo.>": ChannelOverrides(max_messages=2), ">": ChannelOverrides(max_messages=3)}
    )
    assert limits.resolve("foo.bar").max_messages == 2
    assert limits.resolve("bar").max_messages == 3


def test_a_wildcard_inherits_only_from_what_covers_it() -> None:
    limits = StoreLimits(
        channels={
            "foo.*": ChannelOverrides(max_messages=3),
            "*.bar": ChannelOverrides(max_messages=2, max_bytes=9),
        }
    )
    assert limits.resolve("foo.bar") == ChannelLimits(max_messages=3)


def test_wildcards_do_not_count_towards_max_channels_097() -> None:
    entry = ChannelOverrides()
    StoreLimits(max_channels=1, channels={"foo": entry, "bar.*": entry, ">": entry}).check()
    StoreLimits(max_channels=0, channels={"foo": entry, "bar": entry}).check()
    with pytest.raises(ConfigError) as caught:
        StoreLimits(max_channels=1, channels={"foo": entry, "bar": entry}).check()
    assert str(caught.value) == (
        "too many channels defined (2). The max channels limit is set to 1"
    )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (StoreLimits(max_channels=-1), "max channels limit cannot be negative (-1)"),
        (
            StoreLimits(defaults=ChannelLimits(max_subscriptions=-2)),
            "max subscriptions limit cannot be negative (-2)",
        ),
        (
            StoreLimits(defaults=ChannelLimits(max_messages=-1)),
            "max messages limit cannot be negative (-1)",
        ),
        (
            StoreLimits(defaults=ChannelLimits(max_bytes=-1)),
            "max bytes limit cannot be negative (-1)",
        ),
        (
            StoreLimits(defaults=ChannelLimits(max_age_ns=-1_000_000_000)),
            "max age limit cannot be negative (-1s)",
        ),
        (
            StoreLimits(defaults=ChannelLimits(max_inactivity_ns=-1_500_000_000)),
            "max inactivity limit cannot be negative (-1.5s)",
        ),
        (
            StoreLimits(channels={"foo.*bar": ChannelOverrides()}),
            'invalid channel name "foo.*bar"',
        ),
    ],
)
def test_limits_that_make_no_sense_are_refused_098(limits: StoreLimits, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        limits.check()
    assert str(caught.value) == message


def test_the_listing_puts_every_entry_below_those_that_cover_it() -> None:
    entry = ChannelOverrides()
    names = ["foo.bar", "foo.>", ">", "bar", "*.bar", "foo.*", "*", "foo.*.baz"]
    listed = StoreLimits(channels=dict.fromkeys(names, entry)).listing()
    assert [(one.depth, one.name) for one in listed] == [
        (0, ">"),
        (1, "*"),
        (1, "*.bar"),
        (2, "bar"),
        (1, "foo.>"),
        (2, "foo.*"),
        (2, "foo.*.baz"),
        (4, "foo.bar"),
    ]


def test_the_listing_says_what_was_inherited() -> None:
    limits = StoreLimits(
        channels={"foo.>": ChannelOverrides(max_messages=2), "foo.bar": ChannelOverrides(0)}
    )
    narrow = limits.listing()[1]
    assert narrow.inherited == ChannelLimits(max_messages=2)
    assert narrow.limits == ChannelLimits(max_subscriptions=0, max_messages=2)
