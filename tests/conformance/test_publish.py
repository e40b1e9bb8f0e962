"""Statements on publishing: validation, sequences, order and what a publish must not change."""

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, Refused, new_id
from tests.tools.streaming_server import StreamingServer

from .conftest import StartServer

INVALID_PUBLISH = "stan: invalid publish request"


@pytest.mark.statement(20)
async def test_publish_needs_a_guid(client: Client, channel: str) -> None:
    ack = await client.publish(channel, guid="")
    assert ack == pb.PubAck(error=INVALID_PUBLISH)


@pytest.mark.statement(21)
@pytest.mark.parametrize(
    "bad", ["foo*", "foo.*", "foo.>", "foo>", ">", ".foo", "foo.", "foo..bar", "a/b", ""]
)
async def test_invalid_channel_is_refused(client: Client, bad: str) -> None:
    message = client.message(bad)
    await client.send(message, suffix="elsewhere")
    assert await client.next_ack() == pb.PubAck(guid=message.guid, error=INVALID_PUBLISH)


@pytest.mark.statement(21)
async def test_garbage_and_strangers_are_refused(client: Client, channel: str) -> None:
    await client.nc.publish(f"{client.response.pubPrefix}.{channel}", b"dummy", client.ack_subject)
    assert (await client.next_ack()).error == INVALID_PUBLISH
    assert (await client.publish(channel, connID=b"nobody")).error == INVALID_PUBLISH
    stranger = await client.publish(channel, clientID=new_id(), connID=b"")
    assert stranger.error == INVALID_PUBLISH


@pytest.mark.statement(21)
async def test_connection_id_alone_or_client_id_alone_is_enough(
    client: Client, channel: str
) -> None:
    assert (await client.publish(channel, clientID="")).error == ""
    assert (await client.publish(channel, connID=b"")).error == ""


@pytest.mark.statement(21)
@pytest.mark.parametrize("field", ["clientID", "guid", "subject", "reply"])
async def test_malformed_text_is_answered(client: Client, channel: str, field: str) -> None:
    """Taken or refused, but never silence."""
    sound = client.message(channel, **{field: "PLACE"}).SerializeToString()
    malformed = sound.replace(b"PLACE", b"\xff\xfe\xff\xfe\xff")
    inbox = client.nc.new_inbox()
    answers = await client.nc.subscribe(inbox)
    await client.nc.publish(f"{client.response.pubPrefix}.{channel}", malformed, inbox)
    answer = await answers.next_msg(timeout=5)
    assert answer.data
    assert await client.ping() == ""


@pytest.mark.statement(21)
async def test_truncated_publish_is_refused(client: Client, channel: str) -> None:
    truncated = client.message(channel).SerializeToString()[:-3]
    await client.nc.publish(f"{client.response.pubPrefix}.{channel}", truncated, client.ack_subject)
    assert (await client.next_ack()).error == INVALID_PUBLISH


@pytest.mark.statement(22)
async def test_the_field_decides_the_channel(client: Client, channel: str) -> None:
    await client.send(client.message(channel, b"here"), suffix=new_id("elsewhere"))
    assert (await client.next_ack()).error == ""
    subscription = await client.subscribe(channel)
    message = await subscription.next()
    assert (message.subject, message.data) == (channel, b"here")


@pytest.mark.statement(23)
async def test_empty_data_is_a_message(client: Client, channel: str) -> None:
    assert (await client.publish(channel, b"")).error == ""
    message = await (await client.subscribe(channel)).next()
    assert (message.sequence, message.data) == (1, b"")


@pytest.mark.statement(24)
async def test_channel_over_the_limit_is_refused(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mc", "1")
    client = await clients.connect(server)
    assert (await client.publish("foo")).error == ""
    assert (await client.publish("bar")).error == "too many channels"
    # Had the refused publish created bar, this subscribe would be let in.
    with pytest.raises(Refused, match=r"^too many channels$"):
        await client.subscribe("bar")
    assert (await client.publish("foo")).error == ""


@pytest.mark.statement(25)
async def test_same_guid_is_stored_twice(client: Client, channel: str) -> None:
    message = client.message(channel)
    for _ in range(2):
        await client.send(message)
        assert await client.next_ack() == pb.PubAck(guid=message.guid)
    assert await (await client.subscribe(channel)).take_sequences(2) == [1, 2]


@pytest.mark.statement(26)
async def test_channels_may_not_differ_by_case_alone(client: Client, channel: str) -> None:
    lower, upper = channel, channel.capitalize()
    assert (await client.publish(upper)).error == ""
    expected = (
        f'rejecting channel "{lower}" because channel "{upper}" alreay exists '
        "(different cases not allowed)"
    )
    assert (await client.publish(lower)).error == expected
    response = await client.ask_to_subscribe(client.subscription_request(lower))
    assert response.error == expected


@pytest.mark.statement(27)
async def test_reply_travels_with_the_message(client: Client, channel: str) -> None:
    await client.publish(channel, reply="answer.here")
    assert (await (await client.subscribe(channel)).next()).reply == "answer.here"


@pytest.mark.statement(29)
async def test_sequences_and_acks_keep_the_order(client: Client, channel: str) -> None:
    sent = [client.message(channel, b"%d" % number) for number in range(10)]
    for message in sent:
        await client.send(message)
    assert [(await client.next_ack()).guid for _ in sent] == [message.guid for message in sent]
    received = await (await client.subscribe(channel)).take(10)
    assert [message.sequence for message in received] == list(range(1, 11))
    assert [message.data for message in received] == [message.data for message in sent]
    stamps = [message.timestamp for message in received]
    assert stamps == sorted(stamps)


@pytest.mark.statement(29)
async def test_delivered_message_has_its_exact_fields(client: Client, channel: str) -> None:
    await client.publish(channel, b"\x00\xff binary")
    message = await (await client.subscribe(channel)).next()
    expected = pb.MsgProto(
        sequence=1, subject=channel, data=b"\x00\xff binary", timestamp=message.timestamp
    )
    assert message == expected
    assert message.timestamp > 1_600_000_000_000_000_000


@pytest.mark.statement(29)
async def test_publish_without_reply_subject_is_stored(client: Client, channel: str) -> None:
    message = client.message(channel, b"quiet")
    subject = f"{client.response.pubPrefix}.{channel}"
    await client.nc.publish(subject, message.SerializeToString())
    assert (await (await client.subscribe(channel)).next()).data == b"quiet"


@pytest.mark.statement(30)
async def test_oldest_messages_make_room(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mm", "10")
    client = await clients.connect(server)
    await client.publish_count("foo", 20)
    subscription = await client.subscribe("foo")
    assert await subscription.take_sequences(10) == list(range(11, 21))
    assert await subscription.is_quiet()


@pytest.mark.statement(31)
async def test_newest_message_stays_however_large(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mb", "100")
    client = await clients.connect(server)
    await client.publish_all("foo", [b"a" * 500, b"b" * 500, b"c" * 500])
    subscription = await client.subscribe("foo")
    message = await subscription.next()
    assert (message.sequence, message.data) == (3, b"c" * 500)
    assert await subscription.is_quiet()


@pytest.mark.statement(31)
async def test_bytes_are_those_of_the_stored_message(
    start_server: StartServer, clients: Clients
) -> None:
    # Sequence 2, channel 5, data 2+64, timestamp 10: three messages of 83 bytes fit into 249.
    server = await start_server("MEMORY", "-mb", "249")
    client = await clients.connect(server)
    await client.publish_all("foo", [b"x" * 64] * 4)
    subscription = await client.subscribe("foo")
    first = await subscription.next()
    assert (first.sequence, first.ByteSize()) == (2, 83)


@pytest.mark.statement(128)
async def test_new_only_after_acked_publishes_starts_at_the_next(
    client: Client, channel: str, server: StreamingServer
) -> None:
    await client.publish_count(channel, 50)
    subscription = await client.subscribe(channel, startPosition=pb.NewOnly)
    await client.publish(channel)
    assert (await subscription.next()).sequence == 51
