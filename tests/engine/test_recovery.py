"""A new engine on what the old one stored: nothing acked is lost, nothing kept is skipped."""

from stan.engine import invariants
from stan.engine.records import Batch, ChannelRecord
from stan.store.memory import MemoryStore
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import StartPosition
from tests.tools.rig import Rig, limited, recover


def test_clients_and_subscriptions_go_on_016(rig: Rig) -> None:
    inbox = rig.subscribe().ackInbox
    rig.publish(b"a")
    rig.wait(SECOND_NS // 2)
    rig.ack(inbox, 1)
    rig.wait(SECOND_NS)
    again = rig.restart()
    again.engine.start(again.now_ns)
    again.publish(b"b")
    assert [(m.sequence, m.redelivered) for m in again.messages()] == [(2, False)]
    again.ack(inbox, 2)
    (member,) = again.engine.subscriptions.by_ack_inbox.values()
    assert not member.in_flight


def test_what_was_in_flight_comes_first_and_counts_from_one_056(rig: Rig) -> None:
    rig.subscribe(maxInFlight=3)
    rig.publish(*(b"%d" % n for n in range(5)))
    rig.wait(10 * SECOND_NS)
    again = rig.restart()
    again.engine.start(again.now_ns)
    again.run()
    got = [(m.sequence, m.redelivered, m.redeliveryCount) for m in again.messages()]
    assert got == [(1, True, 1), (2, True, 1), (3, True, 1)]


def test_what_is_young_in_flight_waits_for_its_time(rig: Rig) -> None:
    rig.subscribe(ackWaitInSecs=30)
    rig.publish(b"a")
    rig.wait(SECOND_NS)
    again = rig.restart()
    again.engine.start(again.now_ns)
    again.run()
    assert again.messages() == []
    again.wait(29 * SECOND_NS)
    assert [m.redelivered for m in again.messages()] == [True]


def test_a_closed_durable_stays_closed_071(rig: Rig) -> None:
    inbox = rig.subscribe(durableName="d").ackInbox
    rig.unsubscribe(inbox, close=True)
    again = rig.restart()
    assert not again.engine.subscriptions.by_ack_inbox
    again.publish(b"a")
    again.subscribe(inbox="next", durableName="d")
    assert again.sequences("next") == [1]


def test_a_group_is_put_together_again_089(rig: Rig) -> None:
    for inbox in ("a", "b"):
        rig.subscribe(inbox=inbox, qGroup="g", durableName="d")
    rig.publish(*(b"%d" % n for n in range(4)))
    rig.wait(10 * SECOND_NS)
    again = rig.restart()
    invariants.check(again.engine)
    members = list(again.engine.subscriptions.by_ack_inbox.values())
    assert len({member.cursor for member in members}) == 1
    assert sorted(s for member in members for s in member.in_flight) == [1, 2, 3, 4]


def test_a_group_is_where_its_furthest_member_was(rig: Rig) -> None:
    inboxes = [rig.subscribe(inbox=inbox, qGroup="g").ackInbox for inbox in ("a", "b")]
    for number, inbox in enumerate(inboxes, 1):
        rig.publish(b"x")
        rig.ack(inbox, number)
        rig.wait(SECOND_NS)
    assert [record.last_sent for record in recover(rig.store).subscriptions] == [1, 2]
    again = rig.restart()
    assert {m.cursor.last_sent for m in again.engine.subscriptions.by_ack_inbox.values()} == {2}


def test_an_offline_group_is_recovered_as_a_shadow(rig: Rig) -> None:
    inbox = rig.subscribe(qGroup="g", durableName="d").ackInbox
    rig.publish(b"a", b"b")
    rig.unsubscribe(inbox, close=True)
    again = rig.restart()
    invariants.check(again.engine)
    again.publish(b"c")
    again.subscribe(inbox="next", qGroup="g", durableName="d")
    assert again.sequences("next") == [1, 2, 3]


def test_lower_limits_trim_at_restart_101(rig: Rig) -> None:
    rig.publish(*(b"%d" % n for n in range(10)))
    rig.settings = limited(max_messages=4)
    again = rig.restart()
    again.engine.start(again.now_ns)
    again.run()
    channel = again.engine.channels.by_name["foo"]
    assert (channel.first, channel.last, channel.count) == (7, 10, 4)


def test_sequences_go_on_after_everything_expired_094() -> None:
    rig = Rig(limited(max_age_ns=SECOND_NS))
    rig.connect()
    rig.publish(*(b"%d" % n for n in range(15)))
    rig.wait(2 * SECOND_NS)
    again = rig.restart()
    again.subscribe(startPosition=StartPosition.TimeDeltaStart, startTimeDelta=10 * SECOND_NS)
    again.publish(b"new")
    assert again.sequences() == [16]


def test_age_is_watched_although_the_clock_went_back() -> None:
    rig = Rig(limited(max_age_ns=SECOND_NS))
    rig.connect()
    rig.publish(b"a")
    rig.engine.tick(rig.now_ns + SECOND_NS)
    rig.now_ns -= SECOND_NS
    rig.run()
    rig.wait(3 * SECOND_NS)
    assert rig.engine.channels.by_name["foo"].count == 0


def test_an_inactive_channel_goes_with_its_offline_durables_099() -> None:
    rig = Rig(limited(max_inactivity_ns=SECOND_NS))
    rig.connect()
    inbox = rig.subscribe(durableName="d").ackInbox
    rig.wait(5 * SECOND_NS)
    assert "foo" in rig.engine.channels.by_name
    rig.unsubscribe(inbox, close=True)
    rig.wait(SECOND_NS)
    assert not rig.engine.channels.by_name
    rig.publish(b"a")
    assert rig.engine.channels.by_name["foo"].last == 1


def test_channels_that_differ_in_case_only_come_from_an_old_store_and_may_go() -> None:
    store = MemoryStore()
    names = [ChannelRecord(1, "Foo"), ChannelRecord(2, "foo")]
    store.commit_now(Batch(1, channels_created=names))
    rig = Rig(limited(max_inactivity_ns=SECOND_NS), store)
    rig.connect()
    rig.publish(b"a", channel="foo")
    rig.publish(b"b", channel="Foo")
    rig.publish(b"c", channel="FOO")
    assert [error[:9] for _, error in rig.acks()] == ["", "", "rejecting"]
    rig.wait(SECOND_NS)
    assert not rig.engine.channels.by_name
