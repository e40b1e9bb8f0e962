"""Publishing through the client to a running server."""

import asyncio
from typing import Any

import nats
import pytest

import stan
from tests.integration.conftest import Connect, fresh_name
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer
from tests.tools.streaming_server import StreamingServer


async def read(connection: stan.Connection, channel: str, count: int) -> list[stan.Message]:
    """The first messages of a channel."""
    messages: list[stan.Message] = []
    subscription = await connection.subscribe(channel, start_at="first")
    async with asyncio.timeout(10):
        async for message in subscription:
            messages.append(message)
            if len(messages) == count:
                break
    return messages


async def test_publish_returns_when_stored(connect: Connect, channel: str) -> None:
    connection = await connect()
    guids = [await connection.publish(channel, data) for data in (b"one", b"", b"\x00\xff")]
    assert len(set(guids)) == 3
    messages = await read(connection, channel, 3)
    assert [message.data for message in messages] == [b"one", b"", b"\x00\xff"]
    assert [message.sequence for message in messages] == [1, 2, 3]
    assert {message.channel for message in messages} == {channel}


async def test_statement_127_the_callback_gets_the_guid_that_was_returned(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    acked: asyncio.Queue[tuple[str, stan.ClientError | None]] = asyncio.Queue()
    receipt = await connection.publish_async(
        channel, b"x", lambda guid, error: acked.put_nowait((guid, error))
    )
    async with asyncio.timeout(10):
        assert await acked.get() == (receipt.guid, None)
    assert receipt.done


async def test_statement_127_without_a_server_the_ack_times_out(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    async with stan.connect(
        server.cluster, "me", servers=nats_server.url, pub_ack_wait=0.2, allow_close_retry=True
    ) as connection:
        server.kill()
        acked: asyncio.Queue[tuple[str, stan.ClientError | None]] = asyncio.Queue()
        receipt = await connection.publish_async(
            "foo", b"x", lambda guid, error: acked.put_nowait((guid, error))
        )
        async with asyncio.timeout(10):
            guid, error = await acked.get()
        assert guid == receipt.guid
        assert str(error) == "stan: publish ack timeout"
        with pytest.raises(stan.PublishTimeoutError):
            await receipt
        server.start()  # so that closing is answered, if only by "unknown client"
        await connection.close()


async def test_thousands_in_flight_keep_their_order(connect: Connect, channel: str) -> None:
    connection = await connect(max_pub_acks_inflight=100)
    receipts = [await connection.publish_async(channel, b"%d" % n) for n in range(3000)]
    async with asyncio.timeout(30):
        guids = [await receipt for receipt in receipts]
    assert len(set(guids)) == 3000
    messages = await read(connection, channel, 3000)
    assert [int(message.data) for message in messages] == list(range(3000))


async def test_many_tasks_share_a_small_window(connect: Connect, channel: str) -> None:
    connection = await connect(max_pub_acks_inflight=2)
    async with asyncio.timeout(30):
        guids = await asyncio.gather(*(connection.publish(channel, b"x") for _ in range(50)))
    assert len(set(guids)) == 50


async def test_an_invalid_channel_is_refused(connect: Connect) -> None:
    connection = await connect()
    for channel in ("foo.*", "", "a b", "a/b"):
        with pytest.raises(stan.PublishError):
            await connection.publish(channel, b"x")


async def test_the_largest_message_is_stored_and_a_larger_one_is_not_sent(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    size = connection.max_data_size(channel)
    assert 1_048_000 < size < 1_048_576
    with pytest.raises(stan.PayloadTooLargeError, match="maximum payload exceeded"):
        await connection.publish(channel, b"x" * (size + 1))
    # What is published at the limit is stored; a delivery, with its own envelope, is smaller.
    assert await connection.publish(channel, b"x" * size)
    [message] = await read(connection, channel, 1)
    assert len(message.data) == size


async def test_after_close_everything_says_so(connect: Connect, channel: str) -> None:
    connection = await connect()
    subscription = await connection.subscribe(channel, lambda message: None)
    await connection.close()
    await connection.close()
    assert connection.nats is None
    assert connection.is_closed
    for attempt in (
        connection.publish(channel, b"x"),
        connection.publish_async(channel, b"x"),
        connection.subscribe(channel),
        subscription.unsubscribe(),
    ):
        with pytest.raises(stan.ConnectionClosedError, match="stan: connection closed"):
            await attempt


async def test_closing_fails_what_has_no_ack_yet(connect: Connect, channel: str) -> None:
    connection = await connect()
    receipt = await connection.publish_async(channel, b"x")
    await connection.close()
    with pytest.raises(stan.ConnectionClosedError):
        await receipt


async def test_a_lent_nats_connection_does_the_same(
    connect: Connect, nats_server: NatsServer, channel: str
) -> None:
    lent = await nats.connect(nats_server.url)
    try:
        connection = await connect(nats=lent)
        receipts = [await connection.publish_async(channel, b"%d" % n) for n in range(500)]
        async with asyncio.timeout(10):
            for receipt in receipts:
                await receipt
        messages = await read(connection, channel, 500)
        assert [int(message.data) for message in messages] == list(range(500))
        await connection.close()
        assert lent.is_connected  # statement 126
        assert [s for s in lent._subs.values() if not s._subject.endswith(".*")] == []
    finally:
        await lent.close()


async def test_publishing_on_a_lent_connection_that_was_closed(
    stan_server: StreamingServer, nats_server: NatsServer
) -> None:
    lent = await nats.connect(nats_server.url)
    connection = await stan.connect(stan_server.cluster, fresh_name("lent"), nats=lent)
    await lent.close()
    with pytest.raises(stan.ConnectionClosedError, match="stan: connection closed"):
        await connection.publish("foo", b"x")
    await connection.close()  # nothing left to do
    assert connection.is_closed
    with pytest.raises(stan.InvalidConnectionError, match="stan: invalid connection"):
        await stan.connect(stan_server.cluster, "me", nats=lent)


async def test_a_publish_that_is_refused_passes_its_place_on(
    connect: Connect, channel: str
) -> None:
    connection = await connect(max_pub_acks_inflight=1)
    async with asyncio.timeout(10):
        outcomes = await asyncio.gather(
            *(connection.publish(name, b"x") for name in (channel, "a b", channel)),
            return_exceptions=True,
        )
    assert [type(outcome) for outcome in outcomes] == [str, stan.PublishError, str]


async def test_a_publish_callback_that_meets_a_cancelled_future_harms_nobody(
    connect: Connect, channel: str
) -> None:
    connection = await connect()
    reported: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.put_nowait(context))
    cancelled = loop.create_future()
    cancelled.cancel()
    await connection.publish_async(channel, b"x", lambda guid, error: cancelled.result())
    async with asyncio.timeout(10):
        assert isinstance((await reported.get())["exception"], asyncio.CancelledError)
        await connection.publish(channel, b"x")
