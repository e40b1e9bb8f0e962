"""How a message prints and what it exposes."""

from typing import cast

import pytest

from stan.client.message import Message, quote
from stan.client.subscription import Subscription
from stan.wire.stan_pb2 import MsgProto

NOBODY = cast(Subscription, None)


def test_prints_as_compact_text_with_its_trailing_space() -> None:
    wire = MsgProto(sequence=1, subject="foo", data=b"hello", timestamp=1700000000000000000)
    expected = 'sequence:1 subject:"foo" data:"hello" timestamp:1700000000000000000 '
    assert str(Message(wire, NOBODY)) == expected


def test_prints_every_field_in_number_order() -> None:
    wire = MsgProto(
        sequence=7,
        subject="a.b",
        reply="r",
        data=b"a\001",
        timestamp=5,
        redelivered=True,
        redeliveryCount=2,
        CRC32=9,
    )
    assert str(Message(wire, NOBODY)) == (
        'sequence:7 subject:"a.b" reply:"r" data:"a\\001" timestamp:5 '
        "redelivered:true redeliveryCount:2 CRC32:9 "
    )


def test_an_empty_message_prints_as_nothing() -> None:
    assert str(Message(MsgProto(), NOBODY)) == ""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'\n\r\t"\\', '"\\n\\r\\t\\"\\\\"'),
        (b"\x00\x1f\x7f\xff ~'", '"\\000\\037\\177\\377 ~\'"'),
        ("\u00e9".encode(), '"\\303\\251"'),
    ],
)
def test_quotes_what_is_not_printable_ascii(data: bytes, text: str) -> None:
    assert quote(data) == text


def test_exposes_the_fields() -> None:
    wire = MsgProto(sequence=3, subject="c", data=b"x", redelivered=True, redeliveryCount=1)
    message = Message(wire, NOBODY)
    assert (message.sequence, message.channel, message.subject) == (3, "c", "c")
    assert (message.data, message.reply, message.timestamp, message.crc32) == (b"x", "", 0, 0)
    assert (message.redelivered, message.redelivery_count) == (True, 1)
    assert "sequence:3" in repr(message)
