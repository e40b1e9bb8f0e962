"""Single messages that operators delete or publish, and the limits of a channel's own."""

import pytest

from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.engine.records import (
    CreateChannel,
    DeleteMessage,
    LimitChannel,
    MoveDurable,
    Outcome,
    PublishMessage,
    Purge,
)
from stan.engine.settings import Settings
from stan.errors import StoreRefusedError, StoreUnavailableError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import StartPosition
from tests.engine.test_administration import DURABLE, ask, filled, kept, refused, with_durable
from tests.tools.rig import Rig, recover

# Single messages deleted.


def read(rig: Rig, inbox: str = "reader") -> list[int]:
    """What somebody gets who begins at the first message."""
    rig.subscribe(inbox=inbox, startPosition=StartPosition.First)
    return rig.sequences(inbox)


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize(
    ("gone", "left"), [([1], [2, 3, 4, 5]), ([3], [1, 2, 4, 5]), ([2, 1], [3, 4, 5])]
)
def test_readers_go_past_a_deleted_message(
    gone: list[int], left: list[int], is_cached: bool
) -> None:
    rig = filled()
    for sequence in gone:
        assert ask(rig, DeleteMessage("foo", sequence), is_trial=True) == [
            Outcome(1, {"deleted": 1})
        ]
        assert ask(rig, DeleteMessage("foo", sequence)) == [Outcome(1, {"deleted": 1})]
    if not is_cached:
        rig = rig.restart()
        rig.engine.start(rig.now_ns)
    assert read(rig) == left
    assert kept(rig) == (left[0], 5, len(left))
    rig.publish(b"six")
    assert rig.sequences("reader") == [6]


def test_the_sequence_of_a_deleted_last_message_stays_used() -> None:
    rig = filled()
    ask(rig, DeleteMessage("foo", 5))
    rig.subscribe(inbox="last", startPosition=StartPosition.LastReceived)
    rig.publish(b"next")
    assert rig.sequences("last") == [6]
    assert read(rig) == [1, 2, 3, 4, 6]


@pytest.mark.parametrize("sequence", [0, 6])
def test_what_is_not_there_is_not_deleted(sequence: int) -> None:
    rig = filled()
    told = refused(rig, DeleteMessage("foo", sequence))
    assert told == (404, f'channel "foo" has no message {sequence}')
    assert refused(rig, DeleteMessage("bar", 1)) == (404, 'channel "bar" does not exist')


def test_a_message_is_deleted_once() -> None:
    rig = filled()
    ask(rig, DeleteMessage("foo", 3))
    assert refused(rig, DeleteMessage("foo", 3))[0] == 404
    assert kept(rig) == (1, 5, 4)


def test_a_deleted_message_is_not_sent_again() -> None:
    rig, inbox = with_durable()
    ask(rig, DeleteMessage("foo", 2))
    rig.ack(inbox, 1)
    rig.wait(31 * SECOND_NS)
    assert sorted(set(rig.sequences())) == [3, 4, 5]


def test_a_durable_that_is_stuck_behind_a_message_goes_on() -> None:
    rig = filled()
    rig.subscribe(durableName="dur", startPosition=StartPosition.First, maxInFlight=1)
    assert rig.sequences() == [1]
    ask(rig, DeleteMessage("foo", 1))
    assert rig.sequences() == [2]


def test_what_was_read_before_it_was_deleted_does_not_leave() -> None:
    rig = filled().restart()  # nothing of it is in the cache
    rig.engine.start(rig.now_ns)
    rig.hold_loads = True
    rig.subscribe(startPosition=StartPosition.First)
    (load,) = rig.loads
    history = rig.store.load_now(load)
    ask(rig, DeleteMessage("foo", 3))
    rig.loads = []
    rig.engine.loaded(load, history, rig.now_ns)
    rig.hold_loads = False
    rig.run()
    assert rig.sequences() == [1, 2, 4, 5]


def test_a_moved_durable_goes_past_a_deleted_message() -> None:
    rig, _ = with_durable(acked=5)
    ask(rig, DeleteMessage("foo", 2))
    ask(rig, MoveDurable(DURABLE, sequence=2))
    assert rig.sequences() == [3, 4, 5]


def test_a_deletion_is_told_when_it_is_true() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, DeleteMessage("foo", 1)) == []
    rig.fail(StoreUnavailableError("away"))
    assert rig.engine.take_outcomes() == []
    rig.hold = False
    rig.wait(SECOND_NS)
    assert rig.engine.take_outcomes() == [Outcome(1, {"deleted": 1})]
    assert kept(rig) == (2, 5, 4)


def test_a_deletion_that_the_store_refuses_is_done_when_it_can_be() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, DeleteMessage("foo", 3)) == []
    rig.fail(StoreRefusedError("disk full"))
    (outcome,) = rig.engine.take_outcomes()
    assert outcome.error == "disk full"
    assert kept(rig) == (1, 5, 5)
    rig.hold = False
    rig.wait(SECOND_NS)
    assert read(rig) == [1, 2, 4, 5]


def test_a_purge_counts_what_was_there() -> None:
    rig = filled()
    ask(rig, DeleteMessage("foo", 2))
    assert ask(rig, Purge("foo", up_to=3)) == [Outcome(1, {"purged": 2})]
    assert kept(rig) == (4, 5, 2)


def test_the_limit_of_messages_counts_those_that_are_there() -> None:
    settings = Settings(limits=StoreLimits(defaults=ChannelLimits(max_messages=4)))
    rig = filled(4, Rig(settings))
    ask(rig, DeleteMessage("foo", 2))
    rig.publish(b"five")
    assert read(rig) == [1, 3, 4, 5]
    rig.publish(b"six")
    assert kept(rig) == (3, 6, 4)


# Published by operators.


def test_an_operator_publishes() -> None:
    rig = filled()
    rig.subscribe()
    asked = PublishMessage("foo", b"from me", "answer.here")
    assert ask(rig, asked, is_trial=True) == [Outcome(1)]
    assert ask(rig, asked) == [Outcome(1, {"sequence": 6})]
    (message,) = rig.messages()
    assert (message.sequence, message.data, message.reply) == (6, b"from me", "answer.here")
    assert ask(rig, PublishMessage("new", b"")) == [Outcome(1, {"sequence": 1})]


def test_an_operators_message_is_told_when_it_is_stored() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, PublishMessage("foo", b"x")) == []
    rig.engine.administer(2, PublishMessage("foo", b"y"), rig.now_ns)
    rig.run()
    assert rig.engine.take_outcomes() == []
    rig.hold = False
    rig.run()
    told = rig.engine.take_outcomes()
    assert told == [Outcome(1, {"sequence": 6}), Outcome(2, {"sequence": 7})]


def test_an_operators_message_that_the_store_refuses_is_not_stored() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, PublishMessage("foo", b"x")) == []
    rig.fail(StoreRefusedError("disk full"))
    (outcome,) = rig.engine.take_outcomes()
    assert outcome.error == "disk full"
    rig.hold = False
    rig.run()
    assert kept(rig) == (1, 5, 5)


@pytest.mark.parametrize("name", ["", "a..b", "a.*", ">"])
def test_an_operator_publishes_into_a_channel(name: str) -> None:
    assert refused(Rig(), PublishMessage(name, b"x"))[0] == 400


def test_an_operators_message_has_a_size() -> None:
    rig = Rig(Settings(max_payload_bytes=1000))
    assert refused(rig, PublishMessage("foo", bytes(1000)))[0] == 400
    assert recover(rig.store).channels == []


def test_an_operator_publishes_within_the_limits() -> None:
    rig = filled(1, Rig(Settings(limits=StoreLimits(max_channels=1))))
    assert refused(rig, PublishMessage("bar", b"x")) == (409, "too many channels")
    assert refused(rig, PublishMessage("bar", b"x")) == (409, "too many channels")
    assert ask(rig, PublishMessage("foo", b"x")) == [Outcome(1, {"sequence": 2})]


# Limits of a channel's own.

FOUR = ChannelOverrides(max_messages=4)


def limits(rig: Rig, channel: str = "foo") -> ChannelLimits:
    return rig.engine.channels.by_name[channel].limits


def test_a_channel_is_created_with_limits_of_its_own() -> None:
    rig = Rig()
    assert ask(rig, CreateChannel("foo", FOUR)) == [Outcome(1)]
    filled(6, rig)
    assert kept(rig) == (3, 6, 4)
    assert limits(rig) == ChannelLimits(max_messages=4)


def test_other_limits_hold_at_once() -> None:
    rig = filled()
    assert ask(rig, LimitChannel("foo", ChannelOverrides(max_messages=2)), is_trial=True) == [
        Outcome(1)
    ]
    assert kept(rig) == (1, 5, 5)
    assert ask(rig, LimitChannel("foo", ChannelOverrides(max_messages=2))) == [Outcome(1)]
    rig.run()
    assert kept(rig) == (4, 5, 2)
    ask(rig, LimitChannel("foo", ChannelOverrides(max_age_ns=SECOND_NS)))
    rig.wait(2 * SECOND_NS)
    assert kept(rig)[2] == 0
    assert refused(rig, LimitChannel("bar", FOUR)) == (404, 'channel "bar" does not exist')


def test_a_channel_of_its_own_limits_goes_when_unused() -> None:
    rig = filled()
    ask(rig, LimitChannel("foo", ChannelOverrides(max_inactivity_ns=SECOND_NS)))
    rig.wait(2 * SECOND_NS)
    assert recover(rig.store).channels == []


def test_limits_of_its_own_outlive_a_restart_until_they_are_reset() -> None:
    rig = filled()
    ask(rig, LimitChannel("foo", FOUR))
    other = rig.restart()
    other.engine.start(other.now_ns)
    assert limits(other).max_messages == 4
    ask(other, LimitChannel("foo", ChannelOverrides()))
    assert limits(other) == ChannelLimits()
    assert limits(other.restart()) == ChannelLimits()


def test_configured_limits_are_below_those_of_its_own() -> None:
    rig = filled(1)
    ask(rig, LimitChannel("foo", FOUR))
    configured = StoreLimits(
        channels={"foo": ChannelOverrides(max_messages=9, max_subscriptions=5)}
    )
    rig.engine.change_limits(configured, rig.now_ns)
    assert limits(rig) == ChannelLimits(max_messages=4, max_subscriptions=5)


def test_limits_that_the_store_refuses_are_told() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, LimitChannel("foo", FOUR)) == []
    rig.fail(StoreRefusedError("disk full"))
    assert rig.engine.take_outcomes() == [Outcome(1, {}, "disk full")]
    rig.hold = False
    rig.wait(SECOND_NS)
    ((channel, _),) = recover(rig.store).channels
    assert (channel.limits, limits(rig).max_messages) == (FOUR, 4)  # what is shown is true
