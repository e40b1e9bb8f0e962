"""Whether the server is there, asked of the pulse alone."""

from stan.client.options import ConnectOptions
from stan.client.pulse import Pulse
from stan.units import SECOND_NS


def beating() -> Pulse:
    pulse = Pulse(ConnectOptions("c", "me"), lambda: 0.5)
    pulse.registered(5 * SECOND_NS, 3, 0)
    return pulse


def test_an_interruption_is_news_once() -> None:
    pulse = beating()
    assert pulse.interrupt(SECOND_NS)
    assert not pulse.interrupt(2 * SECOND_NS)
    assert pulse.since_ns == SECOND_NS


def test_only_a_registration_brings_back_one_that_was_forgotten() -> None:
    pulse = beating()
    pulse.interrupt(SECOND_NS)
    pulse.forgotten(SECOND_NS)
    assert not pulse.answered(2 * SECOND_NS)
    assert not pulse.is_up
    pulse.registered(5 * SECOND_NS, 3, 3 * SECOND_NS)
    assert pulse.is_up
