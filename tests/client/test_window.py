"""The publish window: its bytes, and that each publish settles exactly once."""

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stan.client.receipt import Receipt
from stan.client.window import Window, mark_resent
from stan.errors import (
    ClientError,
    ConfigError,
    ConnectionClosedError,
    PayloadTooLargeError,
    PublishError,
    PublishTimeoutError,
)
from stan.wire.stan_pb2 import PubAck, PubMsg

ACK_WAIT_NS = 1000
MAX_PAYLOAD = 1 << 20


def make_window(dedupe_ns: int = 0) -> Window:
    window = Window(
        client_id="me",
        connection_id="c" * 22,
        guid_stem="stem56789012",
        ack_inbox="_INBOX.acks",
        ack_wait_ns=ACK_WAIT_NS,
    )
    window.address("_STAN.pub.x", dedupe_ns)
    return window


def publish(window: Window, now_ns: int = 0, channel: str = "foo", data: bytes = b"x") -> Receipt:
    receipt = Receipt()
    window.publish(channel, data, receipt, now_ns, MAX_PAYLOAD)
    return receipt


def fates(window: Window) -> dict[str, ClientError | None]:
    fates = {receipt.guid: error for receipt, error in window.settled}
    assert len(fates) == len(window.settled)
    window.settled.clear()
    return fates


@given(st.binary(max_size=300), st.sampled_from(["foo", "a.b.c", "caf\u00e9", "x" * 200]))
def test_a_publish_is_the_bytes_that_protobuf_makes(data: bytes, channel: str) -> None:
    window = make_window()
    receipt = Receipt()
    operation = window.publish(channel, data, receipt, 0, MAX_PAYLOAD)
    payload = PubMsg(
        clientID="me", guid=receipt.guid, subject=channel, data=data, connID=b"c" * 22
    ).SerializeToString()
    head = f"PUB _STAN.pub.x.{channel} _INBOX.acks {len(payload)}\r\n".encode()
    assert operation == head + payload + b"\r\n"


def test_guids_are_22_characters_and_differ() -> None:
    window = make_window()
    guids = {publish(window).guid for _ in range(100)}
    assert len(guids) == 100
    assert {len(guid) for guid in guids} == {22}


def test_an_ack_settles_its_publish_and_no_other() -> None:
    window = make_window()
    first, second = publish(window), publish(window)
    window.acknowledge([PubAck(guid=second.guid).SerializeToString()])
    assert fates(window) == {second.guid: None}
    assert len(window.waiting) == 1
    window.acknowledge([PubAck(guid=first.guid).SerializeToString()])
    assert fates(window) == {first.guid: None}
    assert window.next_deadline_ns is None


def test_an_ack_with_an_error_keeps_the_words() -> None:
    window = make_window()
    receipt = publish(window)
    window.acknowledge([PubAck(guid=receipt.guid, error="too many channels").SerializeToString()])
    error = fates(window)[receipt.guid]
    assert isinstance(error, PublishError)
    assert str(error) == "too many channels"


def test_late_repeated_foreign_and_broken_acks_change_nothing() -> None:
    window = make_window()
    receipt = publish(window)
    ack = PubAck(guid=receipt.guid).SerializeToString()
    window.acknowledge([PubAck(guid="other").SerializeToString(), b"\xff\xff", b"", None])
    assert fates(window) == {}
    window.acknowledge([ack, ack])
    assert fates(window) == {receipt.guid: None}


def test_what_waits_too_long_is_given_up_oldest_first() -> None:
    window = make_window()
    old, young = publish(window, now_ns=0), publish(window, now_ns=10)
    assert window.next_deadline_ns == ACK_WAIT_NS
    window.expire(ACK_WAIT_NS)
    expired = fates(window)
    assert list(expired) == [old.guid]
    assert isinstance(expired[old.guid], PublishTimeoutError)
    assert str(expired[old.guid]) == "stan: publish ack timeout"
    assert not young.done
    assert window.next_deadline_ns == ACK_WAIT_NS + 10


def test_failing_settles_everything() -> None:
    window = make_window()
    guids = [publish(window).guid for _ in range(3)]
    window.fail(ConnectionClosedError, "stan: connection closed")
    failed = fates(window)
    assert list(failed) == guids
    assert {str(error) for error in failed.values()} == {"stan: connection closed"}
    assert len(window.waiting) == 0


@pytest.mark.parametrize("channel", ["", ".a", "a.", "a..b", "a/b", "a.*", ">"])
def test_an_invalid_channel_is_refused_in_the_words_of_the_server(channel: str) -> None:
    window = make_window()
    with pytest.raises(PublishError, match="stan: invalid publish request"):
        publish(window, channel=channel)
    assert len(window.waiting) == 0


def test_a_channel_that_nats_cannot_carry_is_refused() -> None:
    with pytest.raises(PublishError, match="invalid subject"):
        publish(make_window(), channel="a b")


@pytest.mark.parametrize("limit", [200, 250, 16_600, 1 << 20])
def test_the_largest_data_fits_and_one_byte_more_does_not(limit: int) -> None:
    window = make_window()
    size = window.max_data_bytes("foo", limit)
    operation = window.publish("foo", b"x" * size, Receipt(), 0, limit)
    assert operation.startswith(b"PUB _STAN.pub.x.foo _INBOX.acks ")
    with pytest.raises(PayloadTooLargeError):
        window.publish("foo", b"x" * (size + 1), Receipt(), 0, limit)
    assert len(window.waiting) == 1


def test_text_is_no_payload() -> None:
    window = make_window()
    with pytest.raises(ConfigError, match="data must be bytes, not str"):
        window.publish("foo", "text", Receipt(), 0, MAX_PAYLOAD)  # type: ignore[arg-type]
    assert not window.waiting


def test_many_channels_do_not_grow_without_bound() -> None:
    window = make_window()
    for number in range(10_000):
        publish(window, channel=f"c{number}")
    assert len(window._envelopes) <= 4096


@pytest.mark.parametrize("data", [bytearray(b"abcdefgh"), memoryview(b"abcdefgh")[::1]])
def test_anything_like_bytes_is_a_payload(data: bytearray | memoryview) -> None:
    operation = make_window().publish("foo", data, Receipt(), 0, MAX_PAYLOAD)
    assert PubMsg.FromString(operation.partition(b"\r\n")[2][:-2]).data == b"abcdefgh"


def test_wide_elements_and_strides_are_taken_as_their_bytes() -> None:
    wide = memoryview(array("H", [1, 2]))
    strided = memoryview(b"a-b-")[::2]
    for data, expected in ((wide, wide.tobytes()), (strided, b"ab")):
        operation = make_window().publish("foo", data, Receipt(), 0, MAX_PAYLOAD)
        assert PubMsg.FromString(operation.partition(b"\r\n")[2][:-2]).data == expected


@pytest.mark.parametrize("channel", [5, None, ["foo"], b"foo"])
def test_a_channel_that_is_no_text(channel: Any) -> None:
    with pytest.raises(ConfigError, match="a channel is text"):
        make_window().publish(channel, b"x", Receipt(), 0, MAX_PAYLOAD)


def test_a_channel_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(PublishError, match="invalid subject"):
        publish(make_window(), channel="\udcff")


def test_what_waits_is_counted_in_bytes() -> None:
    window = make_window()
    window.keeps_refused = True
    operations = [window.publish("foo", b"x" * n, Receipt(), 0, MAX_PAYLOAD) for n in (1, 20, 300)]
    assert window.pending_bytes == sum(map(len, operations))
    first, second, third = (entry[1].guid for entry in window.waiting.values())
    window.acknowledge([PubAck(guid=first).SerializeToString()])
    window.acknowledge([PubAck(guid=second, error="no").SerializeToString()])
    refused = PubAck(guid=third, error="stan: invalid publish request").SerializeToString()
    window.acknowledge([refused])
    assert window.pending_bytes == len(operations[2])
    window.settle_refused()
    assert window.pending_bytes == 0


@given(st.integers(1, 2**40), st.binary(max_size=300))
def test_a_mark_is_the_field_that_protobuf_writes(age_ms: int, data: bytes) -> None:
    operation = make_window().publish("foo", data, Receipt(), 0, MAX_PAYLOAD)
    line, _, rest = mark_resent(operation, age_ms).partition(b"\r\n")
    assert int(line.split(b" ")[-1]) == len(rest) - 2
    marked = PubMsg.FromString(rest[:-2])
    assert marked.resentAfter == age_ms
    plain = PubMsg.FromString(operation.partition(b"\r\n")[2][:-2])
    marked.ClearField("resentAfter")
    assert marked == plain


def test_a_message_id_travels_where_the_server_knows_it() -> None:
    window = make_window(dedupe_ns=1)
    operation = window.publish("foo", b"x", Receipt(), 0, MAX_PAYLOAD, "order-17")
    payload = operation.partition(b"\r\n")[2][:-2]
    assert PubMsg.FromString(payload).messageId == "order-17"
    for unusable in (5, "\udcff"):
        with pytest.raises(ConfigError, match="msg_id"):
            window.publish("foo", b"x", Receipt(), 0, MAX_PAYLOAD, unusable)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="this server does not know msg_id"):
        make_window().publish("foo", b"x", Receipt(), 0, MAX_PAYLOAD, "order-17")


@pytest.mark.parametrize("limit", [250, 16_600])
def test_the_largest_data_still_fits_with_a_mark(limit: int) -> None:
    window = make_window(dedupe_ns=10**18)
    size = window.max_data_bytes("foo", limit)
    operation = window.publish("foo", b"x" * size, Receipt(), 0, limit)
    marked = mark_resent(operation, 2**31)
    assert int(marked.partition(b"\r\n")[0].split(b" ")[-1]) <= limit
    with pytest.raises(PayloadTooLargeError):
        window.publish("foo", b"x" * (size + 1), Receipt(), 0, limit)


def test_another_publish_prefix_moves_what_waits() -> None:
    window = make_window()
    publish(window)
    window.address("_STAN.pub.y", 0)
    operations, _ = window.again(0, "always")
    assert operations[0].startswith(b"PUB _STAN.pub.y.foo _INBOX.acks ")


def test_a_copy_that_was_refused_is_marked_because_an_earlier_one_may_be_stored() -> None:
    window = make_window(dedupe_ns=10**12)
    window.keeps_refused = True
    receipt = Receipt()
    window.publish("foo", b"x", receipt, 0, MAX_PAYLOAD)
    window.flushed()
    refusal = PubAck(guid=receipt.guid, error="stan: invalid publish request")
    window.acknowledge([refusal.SerializeToString()])
    (operation,), repeated = window.again(5_000_000, "safe")
    payload = operation.split(b"\r\n", 1)[1].removesuffix(b"\r\n")
    assert (PubMsg.FromString(payload).resentAfter, repeated) == (5, 0)


def test_the_copy_that_was_sent_last_decides_about_a_refusal() -> None:
    window = make_window(dedupe_ns=10**12)
    receipt = Receipt()
    window.publish("foo", b"x", receipt, 0, MAX_PAYLOAD)
    window.flushed()
    for _ in range(2):
        (operation,), _ = window.again(5_000_000, "safe")
    assert operation.split(b" ")[2] == b"_INBOX.acks2"
    refusal = PubAck(guid=receipt.guid, error="the disk is full").SerializeToString()
    for copy in (b"", b"1"):
        window.acknowledge([refusal], copy)
    assert not window.settled
    window.acknowledge([refusal], b"2")
    ((settled, error),) = window.settled
    assert settled is receipt
    assert str(error) == "the disk is full"


def test_an_ack_of_any_copy_settles() -> None:
    window = make_window(dedupe_ns=10**12)
    receipt = Receipt()
    window.publish("foo", b"x", receipt, 0, MAX_PAYLOAD)
    window.flushed()
    window.again(5_000_000, "safe")
    window.acknowledge([PubAck(guid=receipt.guid).SerializeToString()])
    assert window.settled == [(receipt, None)]


def test_one_that_was_stored_after_a_refusal_settles_once() -> None:
    window = make_window(dedupe_ns=10**12)
    window.keeps_refused = True
    receipt = publish(window)
    refusal = PubAck(guid=receipt.guid, error="stan: invalid publish request")
    window.acknowledge([refusal.SerializeToString()])
    window.acknowledge([PubAck(guid=receipt.guid).SerializeToString()])
    window.settle_refused()
    assert fates(window) == {receipt.guid: None}
