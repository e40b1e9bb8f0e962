"""The startup lines, column by column."""

from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.server.banner import describe_next_steps, describe_recovery, describe_store

DEFAULT_BOX = """\
Message store is MEMORY
---------- Store Limits ----------
Channels:                  100 *
--------- Channels Limits --------
  Subscriptions:          1000 *
  Messages     :       1000000 *
  Bytes        :     976.56 MB *
  Age          :     unlimited *
  Inactivity   :     unlimited *
----------------------------------"""

CHANNELS_BOX = """\
  Messages     :            50
  Bytes        :     976.56 MB *
  Age          :     unlimited *
  Inactivity   :     unlimited *
-------- List of Channels --------
>
 |-> Messages                   10
 bar
  |-> Subscriptions             30
 foo.>
  |-> Bytes                1.00 KB
  |-> Inactivity                5s
  foo.bar
   |-> Messages          unlimited
   |-> Age                  1h0m0s
----------------------------------"""

WIDE_BOX = """\
--------- List of Channels ---------
>
 *.bar
  |-> Messages                    7
 foo.>
  foo.*
  foo.*.baz
   |-> Age                1h30m5.5s
    foo.bar
     |-> Messages          unlimited
------------------------------------"""


def test_the_box_of_the_defaults() -> None:
    assert "\n".join(describe_store("MEMORY", "", StoreLimits())) == DEFAULT_BOX


def test_the_location_comes_after_the_type() -> None:
    assert describe_store("SQL", "data/stan.db", StoreLimits())[:2] == [
        "Message store is SQL",
        "Store location: data/stan.db",
    ]


def test_unlimited_and_changed_values_have_no_mark() -> None:
    limits = StoreLimits(0, ChannelLimits(max_messages=0, max_age_ns=90_000_000_000))
    lines = describe_store("MEMORY", "", limits)
    assert lines[2] == "Channels:            unlimited"
    assert lines[5] == "  Messages     :     unlimited"
    assert lines[7] == "  Age          :         1m30s"


def test_channels_are_listed_below_what_they_inherit_from() -> None:
    limits = StoreLimits(
        defaults=ChannelLimits(max_messages=50),
        channels={
            ">": ChannelOverrides(max_messages=10),
            "foo.>": ChannelOverrides(max_bytes=1024, max_inactivity_ns=5_000_000_000),
            "foo.bar": ChannelOverrides(max_age_ns=3_600_000_000_000, max_messages=0),
            "bar": ChannelOverrides(max_subscriptions=30),
        },
    )
    assert "\n".join(describe_store("MEMORY", "", limits)[5:]) == CHANNELS_BOX


def test_the_list_grows_with_its_deepest_entry() -> None:
    limits = StoreLimits(
        channels={
            ">": ChannelOverrides(),
            "*.bar": ChannelOverrides(max_messages=7),
            "foo.>": ChannelOverrides(),
            "foo.*": ChannelOverrides(),
            "foo.*.baz": ChannelOverrides(max_age_ns=5_405_500_000_000),
            "foo.bar": ChannelOverrides(max_messages=0),
        }
    )
    lines = describe_store("MEMORY", "", limits)[9:]
    assert "\n".join(lines) == WIDE_BOX


def test_recovery_is_told() -> None:
    assert describe_recovery(0) == "No recovered state"
    assert describe_recovery(2) == "Recovered 2 channel(s)"


def test_the_next_steps_name_what_is_not_the_default() -> None:
    assert describe_next_steps("test-cluster", "nats://127.0.0.1:4222", ".venv/bin") == [
        'In another terminal, publish a message:  .venv/bin/stan-pub foo "msg one"',
        "and receive it, now or after a restart:  .venv/bin/stan-sub --all foo",
    ]
    publish, subscribe = describe_next_steps("mine", "nats://127.0.0.1:5222")
    assert publish.endswith('  stan-pub -c mine -s nats://127.0.0.1:5222 foo "msg one"')
    assert subscribe.endswith("  stan-sub -c mine -s nats://127.0.0.1:5222 --all foo")
