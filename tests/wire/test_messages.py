"""The encoders by hand produce what protobuf does, and parsing raises nothing but ValueError."""

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from stan.wire.messages import (
    ack_head,
    encode_error_ack,
    encode_message,
    frame_message,
    frame_run,
    mark_redelivered,
    message_timestamp,
    parse,
    publish_shape,
    read_varint,
    string_field,
    unframe_message,
    varint,
)
from stan.wire.server_pb2 import CtrlMsg, SubState
from stan.wire.stan_pb2 import (
    Ack,
    CloseRequest,
    ConnectRequest,
    MsgProto,
    Ping,
    PubAck,
    PubMsg,
    SubscriptionRequest,
    UnsubscribeRequest,
)

UINT64 = st.one_of(
    st.integers(0, 2**64 - 1), st.sampled_from([0, 127, 128, 16383, 16384, 2**63, 2**64 - 1])
)
TIMES = st.integers(0, 2**63 - 1)
KINDS: list[type[Message]] = [
    Ack,
    CloseRequest,
    ConnectRequest,
    CtrlMsg,
    MsgProto,
    Ping,
    PubAck,
    PubMsg,
    SubState,
    SubscriptionRequest,
    UnsubscribeRequest,
]


@given(UINT64)
def test_varint_is_protobufs(value: int) -> None:
    encoded = Ack(sequence=value).SerializeToString()
    assert encoded == (b"\x10" + varint(value) if value else b"")


@given(UINT64, st.binary(max_size=5))
def test_a_varint_is_read_back_and_nothing_else(value: int, before: bytes) -> None:
    assert read_varint(before + varint(value), len(before)) == value
    assert read_varint(before + varint(value) + b"\x00", len(before)) == -1


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\xff" * 10, b"\xff" * 9 + b"\x02", b"\xff" * 9 + b"\x7f", b"\x80" * 11],
)
def test_what_is_no_varint_is_refused(data: bytes) -> None:
    assert read_varint(data, 0) == -1


@given(st.binary(max_size=12))
def test_reading_any_bytes_gives_a_uint64_or_nothing(data: bytes) -> None:
    assert -1 <= read_varint(data, 0) < 2**64


@given(st.integers(1, 2**64 - 1), st.text(min_size=1), st.text(), st.binary(), TIMES)
def test_a_message_is_encoded_as_protobuf_does(
    sequence: int, channel: str, reply: str, data: bytes, timestamp_ns: int
) -> None:
    field = string_field(0x12, channel.encode())
    message = encode_message(sequence, field, reply, data, timestamp_ns)
    proto = MsgProto(
        sequence=sequence, subject=channel, reply=reply, data=data, timestamp=timestamp_ns
    )
    assert message == proto.SerializeToString()
    assert message_timestamp(message) == timestamp_ns
    assert unframe_message(frame_message(message)) == message


@given(UINT64, st.text(), st.lists(st.binary(max_size=200)), st.integers(0, 9), TIMES)
def test_a_run_is_encoded_as_its_messages_are(
    first: int, channel: str, payloads: list[bytes], repeats: int, timestamp_ns: int
) -> None:
    first = min(first, 2**64 - 1 - 100_000)
    payloads = [data for data in payloads for _ in range(repeats + 1)]
    field = string_field(0x12, channel.encode())
    framed, sizes = frame_run(first, field, payloads, timestamp_ns)
    messages = [
        encode_message(first + n, field, "", data, timestamp_ns) for n, data in enumerate(payloads)
    ]
    assert framed == [frame_message(message) for message in messages]
    assert sizes == [len(message) for message in messages]


@given(st.binary(max_size=20), st.integers(1, 2**40))
def test_a_redelivered_message_carries_flag_and_count(data: bytes, count: int) -> None:
    message = encode_message(5, string_field(0x12, b"foo"), "", data, 7)
    again = MsgProto.FromString(mark_redelivered(message, count))
    assert again.redelivered
    assert again.redeliveryCount == min(count, 2**32 - 1)
    assert (again.sequence, again.subject, again.data, again.timestamp) == (5, "foo", data, 7)


def test_the_worked_example_of_an_ack() -> None:
    assert Ack(subject="foo", sequence=5).SerializeToString().hex() == "0a03666f6f1005"


def test_a_small_message_is_its_payload_and_19_bytes() -> None:
    message = encode_message(9, string_field(0x12, b"foo"), "", b"x" * 10, 1_700_000_000 * 10**9)
    assert len(message) == 29


@given(st.text(alphabet=st.characters(max_codepoint=127), min_size=1, max_size=127))
def test_an_ack_by_hand_is_protobufs(guid: str) -> None:
    operation = ack_head(b"acks.1", len(guid)) + guid.encode() + b"\r\n"
    ack = PubAck(guid=guid).SerializeToString()
    assert operation == b"PUB acks.1 %d\r\n%b\r\n" % (len(ack), ack)


@given(st.text(), st.text())
def test_an_error_ack_names_guid_and_error(guid: str, error: str) -> None:
    ack = PubAck.FromString(encode_error_ack(guid, error))
    assert (ack.guid, ack.error) == (guid, error)


@given(st.sampled_from(KINDS), st.binary(max_size=60))
def test_parsing_anything_raises_nothing_but_value_error(kind: type[Message], data: bytes) -> None:
    try:
        message = parse(kind, data)
    except ValueError:
        return
    assert isinstance(message, kind)


def test_invalid_utf8_is_no_message() -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(PubMsg, b"\x0a\x02\xc3\x28")


@given(st.text(), st.text(min_size=1), st.text(), st.binary(), st.binary(), st.data())
def test_what_has_the_shape_of_a_publish_decodes_as_it_but_for_guid_and_payload(
    client_id: str, guid: str, channel: str, data: bytes, connection_id: bytes, draw: st.DataObject
) -> None:
    message = PubMsg(
        clientID=client_id, guid=guid, subject=channel, data=data, connID=connection_id
    )
    shape = publish_shape(message.SerializeToString(), message, guid.encode())
    if not guid.isascii():  # another one of so many bytes may have too many characters
        assert shape is None
        return
    assert shape is not None
    other_guid = b"g" * (shape.guid_end - shape.guid_start)
    size = shape.data_end - shape.data_start
    other_data = draw.draw(st.binary(min_size=size, max_size=size))
    alike = shape.head + other_guid + shape.middle + other_data + shape.tail
    assert len(alike) == shape.size
    message.guid, message.data = other_guid.decode(), other_data
    assert PubMsg.FromString(alike) == message


def test_a_publish_with_other_fields_has_no_shape() -> None:
    plain = PubMsg(clientID="me", guid="g", subject="foo", data=b"x")
    for more in (PubMsg(reply="r"), PubMsg(sha256=b"s"), PubMsg(guid="again")):
        payload = plain.SerializeToString() + more.SerializeToString()
        message = PubMsg.FromString(payload)
        assert publish_shape(payload, message, message.guid.encode()) is None
    assert publish_shape(b"", PubMsg(), b"") is None
