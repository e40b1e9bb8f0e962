"""What the objects look like at a prompt."""

import stan
from stan.client.message import Message
from stan.errors import PublishError
from stan.wire.stan_pb2 import MsgProto


def test_a_message_shows_its_fields_and_leaves_its_data_alone() -> None:
    proto = MsgProto(sequence=1, subject="foo", data=b"a >b >")
    message = Message(proto, None)  # type: ignore[arg-type]
    assert repr(message) == '<Message sequence:1 subject:"foo" data:"a >b >">'


def test_a_receipt_shows_its_fate() -> None:
    receipt = stan.Receipt()
    receipt.issue(b"\x0a\x04guid")
    assert repr(receipt) == "<Receipt guid waiting>"
    receipt.settle(None)
    assert repr(receipt) == "<Receipt guid stored>"
    refused = stan.Receipt()
    refused.issue(b"\x0a\x04guid")
    refused.settle(PublishError("stan: no"))
    assert repr(refused) == "<Receipt guid failed: stan: no>"
    known = stan.Receipt()
    known.issue(b"\x0a\x04guid")
    known.mark_duplicate()
    known.settle(None)
    assert repr(known) == "<Receipt guid stored before>"


def test_the_package_says_how_to_begin() -> None:
    assert stan.__doc__ is not None
    assert "stan.connect(" in stan.__doc__
    assert "Receipt" in stan.__doc__
