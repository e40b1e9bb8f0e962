"""What people ask of a server: each operation is true before it is told, and told once."""

import pytest

from stan.engine.channels import MAX_NAME_BYTES
from stan.engine.records import (
    CreateChannel,
    DeleteChannel,
    DeleteDurable,
    DeleteMessage,
    Disconnect,
    DurableName,
    MoveDurable,
    Operation,
    OperationRefused,
    Outcome,
    Purge,
    ResendPending,
)
from stan.errors import StoreRefusedError, StoreUnavailableError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import StartPosition
from tests.tools.rig import Rig, limited, recover

DURABLE = DurableName("foo", client_id="me", durable="dur")


def ask(rig: Rig, operation: Operation, is_trial: bool = False) -> list[Outcome]:
    """Ask for it, and run; what is told then."""
    rig.engine.administer(1, operation, rig.now_ns, is_trial)
    rig.run()
    return rig.engine.take_outcomes()


def refused(rig: Rig, operation: Operation) -> tuple[int, str]:
    with pytest.raises(OperationRefused) as caught:
        rig.engine.administer(1, operation, rig.now_ns)
    rig.run()
    assert rig.engine.take_outcomes() == []
    return caught.value.code, str(caught.value)


def filled(messages: int = 5, rig: Rig | None = None) -> Rig:
    rig = rig or Rig()
    rig.connect()
    rig.publish(*(b"%d" % number for number in range(1, messages + 1)))
    rig.acks()
    return rig


def with_durable(acked: int = 0, rig: Rig | None = None, **fields: object) -> tuple[Rig, str]:
    """A durable that has got everything and acked so many."""
    rig = filled(rig=rig)
    fields.setdefault("durableName", "dur")
    inbox = rig.subscribe(startPosition=StartPosition.First, **fields).ackInbox
    rig.ack(inbox, *range(1, acked + 1))
    assert rig.sequences() == [1, 2, 3, 4, 5]
    return rig, inbox


def kept(rig: Rig) -> tuple[int, int, int]:
    ((_, bounds),) = recover(rig.store).channels
    return bounds.first_sequence, bounds.last_sequence, bounds.kept


# Purging.


@pytest.mark.parametrize(
    ("operation", "purged", "first"),
    [
        (Purge("foo"), 5, 6),
        (Purge("foo", up_to=2), 2, 3),
        (Purge("foo", up_to=99), 5, 6),
        (Purge("foo", keep=1), 4, 5),
        (Purge("foo", keep=0), 5, 6),
    ],
)
def test_a_purge_moves_the_bounds(operation: Purge, purged: int, first: int) -> None:
    rig = filled()
    assert ask(rig, operation, is_trial=True) == [Outcome(1, {"purged": purged})]
    assert kept(rig) == (1, 5, 5)
    assert ask(rig, operation) == [Outcome(1, {"purged": purged})]
    assert kept(rig) == (first, 5, 6 - first)
    rig.publish(b"next")
    assert kept(rig) == (first, 6, 7 - first)


@pytest.mark.parametrize("gone", [(3,), (2, 3), (4,), (2, 4), (2, 3, 4)])
@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("knows", [True, False])
def test_a_purge_counts_messages_where_some_were_deleted(
    gone: tuple[int, ...], keep: int, knows: bool
) -> None:
    rig = filled()
    for sequence in gone:
        ask(rig, DeleteMessage("foo", sequence))
    if not knows:  # as after a start
        rig.engine.channels.by_name["foo"].removed.clear()
    left = [one for one in range(1, 6) if one not in gone]
    purged = max(0, len(left) - keep)
    assert ask(rig, Purge("foo", keep=keep), is_trial=True) == [Outcome(1, {"purged": purged})]
    assert ask(rig, Purge("foo", keep=keep)) == [Outcome(1, {"purged": purged})]
    assert kept(rig) == (left[purged], 5, len(left) - purged)


def test_a_trial_purge_knows_what_was_deleted() -> None:
    rig = filled()
    ask(rig, DeleteMessage("foo", 2))
    assert ask(rig, Purge("foo", up_to=3), is_trial=True) == [Outcome(1, {"purged": 2})]
    assert ask(rig, Purge("foo", up_to=3)) == [Outcome(1, {"purged": 2})]


@pytest.mark.parametrize("operation", [Purge("foo", up_to=0), Purge("foo", keep=5)])
def test_a_purge_of_nothing_is_told_at_once(operation: Purge) -> None:
    rig = filled()
    assert ask(rig, operation) == [Outcome(1, {"purged": 0})]
    assert kept(rig) == (1, 5, 5)


def test_a_purge_is_told_when_its_batch_is_true() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, Purge("foo")) == []
    assert refused(rig, Purge("foo", keep=1)) == (423, 'channel "foo" is being purged already')
    rig.hold = False
    rig.run()
    assert rig.engine.take_outcomes() == [Outcome(1, {"purged": 5})]


def test_a_purge_waits_for_a_batch_of_its_own() -> None:
    rig = filled()
    rig.hold = True
    rig.publish(b"six")
    assert ask(rig, Purge("foo")) == []
    rig.commit()
    assert rig.engine.take_outcomes() == []
    rig.hold = False
    rig.run()
    assert rig.engine.take_outcomes() == [Outcome(1, {"purged": 5})]
    assert kept(rig) == (6, 6, 1)  # what was not stored when it was asked for stays


def test_a_purge_outlives_a_store_that_is_away() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, Purge("foo")) == []
    rig.fail(StoreUnavailableError("away"))
    assert rig.engine.take_outcomes() == []
    rig.hold = False
    rig.wait(SECOND_NS)
    assert rig.engine.take_outcomes() == [Outcome(1, {"purged": 5})]


def test_a_purge_that_the_store_refuses_is_over() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, Purge("foo")) == []
    rig.fail(StoreRefusedError("disk full"))
    assert rig.engine.take_outcomes() == [Outcome(1, {"purged": 0}, "disk full")]
    rig.hold = False
    rig.wait(SECOND_NS)
    assert rig.engine.take_outcomes() == []
    assert kept(rig) == (1, 5, 5)


def test_what_was_purged_is_not_sent_again() -> None:
    rig, _ = with_durable(acked=1)
    ask(rig, Purge("foo", up_to=3))
    rig.wait(2 * SECOND_NS)
    assert set(rig.sequences()) == {4, 5}


def test_a_purge_does_not_warn_of_limits() -> None:
    rig = filled()
    ask(rig, Purge("foo"))
    assert not any("Reached limits" in text for _, text in rig.notices)


# Channels.


def test_a_channel_is_created_once() -> None:
    rig = Rig()
    assert ask(rig, CreateChannel("foo"), is_trial=True) == [Outcome(1)]
    assert recover(rig.store).channels == []
    assert ask(rig, CreateChannel("foo")) == [Outcome(1)]
    assert kept(rig) == (1, 0, 0)
    assert refused(rig, CreateChannel("foo")) == (409, 'channel "foo" exists already')


@pytest.mark.parametrize("name", ["", "a..b", "a.*", ">", "x" * (MAX_NAME_BYTES + 1)])
def test_a_channel_needs_a_valid_name(name: str) -> None:
    assert refused(Rig(), CreateChannel(name))[0] == 400


def test_a_channel_is_created_within_the_limits() -> None:
    rig = Rig(limited(max_channels=1))
    ask(rig, CreateChannel("foo"))
    assert refused(rig, CreateChannel("bar")) == (409, "too many channels")
    assert refused(rig, CreateChannel("Foo"))[0] == 409


def test_a_channel_is_deleted_with_all_it_holds() -> None:
    rig, _inbox = with_durable(acked=2)
    rig.close()
    trial = ask(rig, DeleteChannel("foo"), is_trial=True)
    assert trial == [Outcome(1, {"messages": 5, "subscriptions": 1})]
    assert ask(rig, DeleteChannel("foo")) == trial
    assert recover(rig.store).channels == []
    assert recover(rig.store).subscriptions == []
    assert refused(rig, DeleteChannel("foo")) == (404, 'channel "foo" does not exist')
    filled(1, rig)
    assert kept(rig) == (1, 1, 1)


def test_a_channel_with_subscribers_is_deleted_by_force() -> None:
    rig, inbox = with_durable()
    rig.subscribe(inbox="group", qGroup="g")
    assert refused(rig, DeleteChannel("foo")) == (
        409,
        'channel "foo" has 2 active subscriptions',
    )
    outcome = ask(rig, DeleteChannel("foo", force=True))
    assert outcome == [Outcome(1, {"messages": 5, "subscriptions": 2})]
    rig.ack(inbox, 1)
    rig.wait(5 * SECOND_NS)
    assert rig.sequences() == []
    assert recover(rig.store).subscriptions == []


def test_a_channel_that_is_being_stored_into_is_not_deleted() -> None:
    rig = filled()
    rig.hold = True
    rig.publish(b"six")
    assert refused(rig, DeleteChannel("foo"))[0] == 423
    rig.hold = False
    rig.run()
    assert ask(rig, DeleteChannel("foo"))[0].numbers["messages"] == 6


def test_a_channel_may_go_while_it_is_purged() -> None:
    rig = filled()
    rig.hold = True
    ask(rig, Purge("foo"))
    rig.engine.administer(2, DeleteChannel("foo"), rig.now_ns)
    rig.hold = False
    rig.run()
    first, second = rig.engine.take_outcomes()
    assert (first.ticket, first.error) == (1, "the channel was deleted meanwhile")
    assert (second.ticket, second.error) == (2, "")


# Durables and groups.


@pytest.mark.parametrize(
    ("move", "sequence"),
    [
        (MoveDurable(DURABLE, sequence=3), 3),
        (MoveDurable(DURABLE, sequence=99), 6),
        (MoveDurable(DURABLE, position="first"), 1),
        (MoveDurable(DURABLE, position="last"), 5),
        (MoveDurable(DURABLE, position="new"), 6),
    ],
)
@pytest.mark.parametrize("is_online", [True, False])
def test_a_durable_is_moved(move: MoveDurable, sequence: int, is_online: bool) -> None:
    rig, _ = with_durable(acked=4)
    if not is_online:
        rig.close()
    numbers = {"sequence": sequence, "released": 1}
    assert ask(rig, move, is_trial=True) == [Outcome(1, numbers)]
    assert rig.sequences() == []
    assert ask(rig, move) == [Outcome(1, numbers)]
    if not is_online:
        rig.connect()
        rig.subscribe(durableName="dur")
    messages = rig.messages()
    assert [message.sequence for message in messages] == list(range(sequence, 6))
    assert not any(message.redelivered for message in messages)
    rig.publish(b"next")
    assert rig.sequences() == [6]


def test_a_durable_goes_on_when_its_move_is_true() -> None:
    rig, _ = with_durable(acked=5)
    rig.hold = True
    rig.publish(b"six")  # its batch is in flight
    assert ask(rig, MoveDurable(DURABLE, position="first")) == []
    assert rig.sequences() == []
    rig.hold = False
    rig.run()
    assert rig.sequences() == [1, 2, 3, 4, 5, 6]


def test_a_moved_durable_outlives_a_restart() -> None:
    rig, _ = with_durable(acked=5)
    ask(rig, MoveDurable(DURABLE, sequence=4))
    rig.take_payloads("in")
    (record,) = recover(rig.store).subscriptions
    rig.close()
    other = rig.restart()
    other.engine.start(other.now_ns)
    other.connect()
    other.subscribe(durableName="dur")
    assert other.sequences() == [4, 5]
    assert record.in_flight == () or record.in_flight == (4, 5)


def test_a_group_is_moved_with_all_its_members() -> None:
    rig = filled()
    first = rig.subscribe(qGroup="g", startPosition=StartPosition.First, maxInFlight=2).ackInbox
    rig.subscribe(qGroup="g", inbox="other", maxInFlight=2)
    assert rig.sequences() + rig.sequences("other") == [1, 2, 3, 4]
    name = DurableName("foo", queue_group="g")
    (outcome,) = ask(rig, MoveDurable(name, position="new"))
    assert outcome.numbers == {"sequence": 6, "released": 4}
    rig.wait(3 * SECOND_NS)
    assert rig.sequences() + rig.sequences("other") == []
    rig.publish(b"next")
    assert rig.sequences() + rig.sequences("other") == [6]
    rig.ack(first, 6)


def test_an_offline_durable_is_deleted() -> None:
    rig, _ = with_durable(acked=2)
    rig.close()
    assert ask(rig, DeleteDurable(DURABLE)) == [Outcome(1, {"pending": 3, "members": 0})]
    assert recover(rig.store).subscriptions == []
    assert refused(rig, DeleteDurable(DURABLE)) == (
        404,
        'channel "foo" has no such durable or group',
    )
    rig.connect()
    rig.subscribe(durableName="dur", startPosition=StartPosition.First)
    assert rig.sequences() == [1, 2, 3, 4, 5]


def test_a_durable_group_without_members_is_deleted() -> None:
    rig, _ = with_durable(acked=2, qGroup="g")
    rig.close()
    name = DurableName("foo", queue_group="dur:g")
    assert ask(rig, DeleteDurable(name)) == [Outcome(1, {"pending": 3, "members": 0})]
    assert recover(rig.store).subscriptions == []
    assert rig.engine.channels.by_name["foo"].groups == {}


def test_an_online_durable_is_deleted_by_force() -> None:
    rig, _inbox = with_durable(acked=2)
    assert refused(rig, DeleteDurable(DURABLE)) == (409, "1 clients receive by it")
    assert ask(rig, DeleteDurable(DURABLE, force=True)) == [
        Outcome(1, {"pending": 3, "members": 1})
    ]
    assert recover(rig.store).subscriptions == []
    rig.publish(b"next")
    rig.wait(3 * SECOND_NS)
    assert rig.sequences() == []


def test_what_is_pending_is_sent_again_at_once() -> None:
    rig, _ = with_durable(acked=3)
    assert ask(rig, ResendPending(DURABLE)) == [Outcome(1, {"resent": 2})]
    again = rig.messages()
    assert [(one.sequence, one.redelivered) for one in again] == [(4, True), (5, True)]
    rig.close()
    assert refused(rig, ResendPending(DURABLE)) == (409, "nobody receives by it now")


# Clients.


def test_a_client_is_disconnected() -> None:
    rig, _ = with_durable(acked=2)
    rig.subscribe(inbox="plain")
    assert ask(rig, Disconnect("me"), is_trial=True) == [Outcome(1, {"subscriptions": 2})]
    assert ask(rig, Disconnect("me")) == [Outcome(1, {"subscriptions": 2})]
    assert recover(rig.store).clients == []
    (record,) = recover(rig.store).subscriptions
    assert (record.durable_name, record.is_closed) == ("dur", True)
    assert refused(rig, Disconnect("me")) == (404, 'client "me" does not exist')
    assert rig.connect().error == ""


def test_an_operation_that_the_store_refuses_tells_why() -> None:
    rig = filled()
    rig.hold = True
    assert ask(rig, Disconnect("me")) == []
    rig.fail(StoreRefusedError("disk full"))
    assert rig.engine.take_outcomes() == [Outcome(1, {"subscriptions": 0}, "disk full")]
