"""When a member of a group may take the lease, and when it lets others go first."""

import pytest

from stan.server.patience import REST_S, WARY_LEASES, YIELD_S, Patience
from stan.store.contract import Holder

LEASE_S = 3.0
FREE = Holder("", 4, 0, -1)
GONE = Holder("me@there", 4, 1, 2000, is_gone=True)
HELD = Holder("me@there", 4, 1, 2000)
LONG = float("inf")


def allows(
    patience: Patience, holder: Holder, now_s: float, *, silent: bool = False, heard: float = LONG
) -> bool:
    return patience.allows(holder, silent, heard, now_s)


def test_what_is_free_may_be_taken_at_once() -> None:
    assert allows(Patience(LEASE_S), FREE, 0.0)
    assert allows(Patience(LEASE_S), GONE, 0.0)
    assert not allows(Patience(LEASE_S), HELD, 0.0)


def test_nobody_waits_for_what_no_other_member_can_have_heard() -> None:
    """The first of a group takes a lease that was given back by the last of it."""
    assert allows(Patience(LEASE_S), FREE, 0.0, heard=0.0)


def test_who_has_just_begun_to_listen_lets_others_take_from_the_dead() -> None:
    patience = Patience(LEASE_S)
    assert not allows(patience, GONE, 0.0, heard=YIELD_S / 2)
    assert allows(patience, GONE, 0.0, heard=YIELD_S)


@pytest.mark.parametrize("holder", [FREE, GONE])
def test_who_heard_less_gives_way_whether_or_not_the_lease_was_given_back(holder: Holder) -> None:
    patience = Patience(LEASE_S)
    patience.give_way(10.0)
    assert not allows(patience, HELD, 10.0)  # being held in between changes nothing
    assert not allows(patience, holder, 10.0 + YIELD_S / 2)
    assert allows(patience, holder, 10.0 + YIELD_S)


def test_who_handed_over_waits_until_another_had_it_or_nobody_wants_it() -> None:
    patience = Patience(LEASE_S)
    patience.rest(10.0)
    assert not allows(patience, FREE, 10.0 + REST_S / 2)
    assert allows(patience, FREE, 10.0 + REST_S)
    patience.rest(20.0)
    assert not allows(patience, HELD, 20.1)
    assert allows(patience, FREE, 20.2)


def test_a_lease_that_nobody_renews_ends_whatever_the_database_says() -> None:
    patience = Patience(LEASE_S)
    assert not allows(patience, HELD, 0.0)
    assert not allows(patience, HELD, LEASE_S)
    assert allows(patience, HELD, LEASE_S + 0.1)
    renewed = Holder("me@there", 4, 2, 2000)
    assert not allows(patience, renewed, LEASE_S + 0.2)


def test_the_word_of_nats_is_not_taken_by_who_was_deposed() -> None:
    patience = Patience(LEASE_S)
    assert allows(patience, HELD, 0.0, silent=True)
    patience.be_wary(0.0)
    until_s = WARY_LEASES * LEASE_S

    def renewed(at_ms: int) -> Holder:
        return Holder("me@there", 4, at_ms, 2000)

    assert not allows(patience, renewed(5), until_s - 1, silent=True)
    assert allows(patience, renewed(6), until_s, silent=True)
