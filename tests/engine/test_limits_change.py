"""Limits that change under a running engine: what exists follows at once."""

from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.engine.records import Result
from stan.engine.settings import Settings
from stan.errors import StoreUnavailableError
from stan.units import SECOND_NS
from tests.tools.rig import Rig, limited


def change(rig: Rig, limits: StoreLimits) -> None:
    """What the pump does when the operator's limits changed."""
    rig.engine.change_limits(limits, rig.now_ns)
    rig.run()


def connected(settings: Settings | None = None) -> Rig:
    rig = Rig(settings)
    assert rig.connect().error == ""
    return rig


def bounds(rig: Rig, channel: str = "foo") -> tuple[int, int]:
    """First and last sequence."""
    found = rig.engine.channels.by_name[channel]
    return found.first, found.last


def test_fewer_messages_are_trimmed_by_the_next_batch() -> None:
    rig = connected()
    rig.publish(*(b"%d" % number for number in range(1, 11)))
    change(rig, StoreLimits(defaults=ChannelLimits(max_messages=3)))
    assert bounds(rig) == (8, 10)
    assert [text for level, text in rig.notices if level == "warning"] == [
        'Reached limits for store "foo" (msgs=10/3 bytes=201/1024000000), '
        "dropping old messages to make room for new ones"
    ]
    rig.publish(b"11")
    assert bounds(rig) == (9, 11)


def test_fewer_bytes_are_trimmed_and_the_last_message_stays() -> None:
    rig = connected()
    rig.publish(b"one", b"two", b"three")
    change(rig, StoreLimits(defaults=ChannelLimits(max_bytes=1)))
    assert bounds(rig) == (3, 3)


def test_each_channel_takes_its_own_limits() -> None:
    rig = connected()
    for channel in ("foo", "bar.a", "bar.b"):
        rig.publish(b"1", b"2", b"3", b"4", channel=channel)
    overrides = {"bar.*": ChannelOverrides(max_messages=2), "bar.b": ChannelOverrides(0, 0)}
    change(rig, StoreLimits(defaults=ChannelLimits(max_messages=3), channels=overrides))
    assert bounds(rig, "foo") == (2, 4)
    assert bounds(rig, "bar.a") == (3, 4)
    assert bounds(rig, "bar.b") == (1, 4)


def test_higher_limits_keep_more_from_now_on() -> None:
    rig = connected(limited(max_messages=2))
    rig.publish(b"1", b"2", b"3")
    change(rig, StoreLimits(defaults=ChannelLimits(max_messages=4)))
    rig.publish(b"4", b"5", b"6")
    assert bounds(rig) == (3, 6)


def test_an_age_is_watched_from_the_change_on() -> None:
    rig = connected()
    rig.publish(b"1")
    rig.wait(10 * SECOND_NS)
    rig.publish(b"2")
    change(rig, StoreLimits(defaults=ChannelLimits(max_age_ns=15 * SECOND_NS)))
    assert bounds(rig) == (1, 2)
    rig.wait(5 * SECOND_NS)
    assert bounds(rig) == (2, 2)


def test_what_is_older_than_a_lower_age_goes_at_once() -> None:
    rig = connected(limited(max_age_ns=3600 * SECOND_NS))
    rig.publish(b"1")
    rig.wait(10 * SECOND_NS)
    change(rig, StoreLimits(defaults=ChannelLimits(max_age_ns=10 * SECOND_NS)))
    assert bounds(rig) == (2, 1)


def test_an_age_that_is_lifted_is_watched_no_more() -> None:
    rig = connected(limited(max_age_ns=10 * SECOND_NS))
    rig.publish(b"1")
    change(rig, StoreLimits())
    rig.close()
    rig.wait(60 * SECOND_NS)
    assert bounds(rig) == (1, 1)
    assert rig.engine.next_deadline_ns() is None


def test_inactivity_counts_from_the_change_when_nobody_counted_before() -> None:
    rig = connected()
    rig.publish(b"1")
    rig.wait(60 * SECOND_NS)
    change(rig, StoreLimits(defaults=ChannelLimits(max_inactivity_ns=10 * SECOND_NS)))
    rig.wait(9 * SECOND_NS)
    assert "foo" in rig.engine.channels.by_name
    rig.wait(1 * SECOND_NS)
    assert rig.engine.channels.by_name == {}


def test_inactivity_goes_on_counting_from_where_it_began() -> None:
    rig = connected(limited(max_inactivity_ns=30 * SECOND_NS))
    rig.publish(b"1", channel="foo")
    rig.wait(5 * SECOND_NS)
    rig.publish(b"1", channel="bar")
    rig.wait(5 * SECOND_NS)
    change(rig, StoreLimits(defaults=ChannelLimits(max_inactivity_ns=8 * SECOND_NS)))
    rig.wait(0)
    assert list(rig.engine.channels.by_name) == ["bar"]
    change(rig, StoreLimits(defaults=ChannelLimits(max_inactivity_ns=40 * SECOND_NS)))
    rig.wait(34 * SECOND_NS)
    assert list(rig.engine.channels.by_name) == ["bar"]
    rig.wait(1 * SECOND_NS)
    assert rig.engine.channels.by_name == {}


def test_inactivity_that_is_lifted_deletes_nothing() -> None:
    rig = connected(limited(max_inactivity_ns=10 * SECOND_NS))
    rig.publish(b"1")
    change(rig, StoreLimits())
    rig.wait(60 * SECOND_NS)
    assert bounds(rig) == (1, 1)


def test_a_channel_with_a_subscription_is_not_inactive() -> None:
    rig = connected()
    rig.subscribe()
    change(rig, StoreLimits(defaults=ChannelLimits(max_inactivity_ns=SECOND_NS)))
    rig.wait(60 * SECOND_NS)
    assert "foo" in rig.engine.channels.by_name


def test_fewer_channels_and_subscriptions_refuse_only_new_ones() -> None:
    rig = connected()
    rig.subscribe(inbox="a")
    rig.subscribe(inbox="b")
    rig.publish(b"1", channel="bar")
    change(rig, StoreLimits(1, ChannelLimits(max_subscriptions=1)))
    assert rig.subscribe(inbox="c").error == "too many subscriptions per channel"
    assert rig.subscribe("other", "c").error == "too many channels"
    rig.acks()
    rig.publish(b"1", channel="new")
    assert [error for _, error in rig.acks()] == ["too many channels"]
    assert list(rig.engine.channels.by_name) == ["foo", "bar"]
    change(rig, StoreLimits(3, ChannelLimits(max_subscriptions=3)))
    assert rig.subscribe(inbox="c").error == ""
    assert rig.subscribe("other", "d").error == ""


def test_a_batch_in_flight_is_followed_by_the_new_limits() -> None:
    rig = connected()
    rig.hold = True
    rig.publish(b"1", b"2", b"3")
    change(rig, StoreLimits(defaults=ChannelLimits(max_messages=1)))
    assert rig.batch is not None
    assert rig.batch.trims == []
    rig.commit()
    rig.hold = False
    rig.run()
    assert bounds(rig) == (3, 3)


def test_a_batch_that_failed_is_made_again_within_the_new_limits() -> None:
    rig = connected(limited(max_messages=1))
    rig.publish(b"1")
    rig.hold = True
    rig.publish(b"2", b"3")
    change(rig, StoreLimits(defaults=ChannelLimits(max_messages=2)))
    rig.hold = False
    rig.fail(StoreUnavailableError("away"))
    rig.wait(SECOND_NS)
    assert bounds(rig) == (2, 3)


def test_many_channels_are_trimmed_in_one_batch() -> None:
    rig = connected(limited(max_channels=0))
    for number in range(200):
        rig.publish(b"1", b"2", channel=f"c{number}")
    rig.hold = True
    change(rig, StoreLimits(0, ChannelLimits(max_messages=1)))
    assert rig.batch is not None
    assert len(rig.batch.trims) == 200


def test_nothing_is_due_when_nothing_changes() -> None:
    rig = connected(limited(max_messages=5))
    rig.publish(b"1")
    change(rig, StoreLimits(defaults=ChannelLimits(max_messages=5)))
    assert not rig.engine.changes.trims_due


def test_bounds_are_read_again_after_a_trim_of_unknown_extent() -> None:
    rig = connected(limited(max_messages=1))
    rig.publish(b"1")
    rig.hold = True
    rig.publish(b"2")
    batch, rig.batch = rig.batch, None
    assert batch is not None
    rig.store.commit_now(batch)
    unfinished = frozenset(trim.channel_id for trim in batch.trims)
    rig.engine.committed(batch, Result(unfinished=unfinished), rig.now_ns)
    rig.hold = False
    change(rig, StoreLimits())
    assert bounds(rig) == (2, 2)
    assert not rig.engine.changes.trims_due
