"""Acks for channels that are not there, or that are no acks, by the thousand."""

import pytest

from stan.units import SECOND_NS
from stan.wire.stan_pb2 import Ack
from tests.tools.rig import Rig


def lines(rig: Rig) -> list[str]:
    return [text for level, text in rig.notices if level == "error"]


def test_of_a_thousand_stray_acks_few_lines_tell(rig: Rig) -> None:
    inbox = rig.subscribe().ackInbox
    for number in range(1000):
        rig.ack(inbox, number + 1, channel=f"none.{number}")
    assert lines(rig) == [
        f"Unable to process ack seq={number + 1}, channel none.{number} not found"
        for number in range(10)
    ]

    rig.wait(SECOND_NS)
    rig.ack(inbox, 7, channel="none")
    assert lines(rig)[10:] == [
        "Unable to process ack seq=7, channel none not found (and 990 like it)"
    ]


def test_strays_change_nothing_and_real_acks_between_them_count(rig: Rig) -> None:
    inbox = rig.subscribe().ackInbox.encode()
    rig.publish(b"a", b"b")
    stray = Ack(subject="none", sequence=1).SerializeToString()
    real = Ack(subject="foo", sequence=1).SerializeToString()
    rig.receive((inbox, b"", stray), (inbox, b"", b"\xff\xff"), (inbox, b"", real))
    (member,) = rig.engine.subscriptions.by_ack_inbox.values()
    assert list(member.in_flight) == [2]
    assert rig.engine.strays.count == 2


@pytest.mark.parametrize("payload", [b"\x10\x01\x0a\x03foo", b"\x0a\x03foo\x10\x01\x18\x01"])
def test_an_ack_in_another_encoding_is_no_stray(rig: Rig, payload: bytes) -> None:
    inbox = rig.subscribe().ackInbox
    rig.publish(b"x")
    rig.receive((inbox.encode(), b"", payload))
    (member,) = rig.engine.subscriptions.by_ack_inbox.values()
    assert list(member.in_flight) == []
    assert rig.engine.strays.count == 0
