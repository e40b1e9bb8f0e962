"""Publishing with and without a handler, and what is refused."""

import asyncio

import pytest
from nats.aio.client import Client as NATS
from nats.aio.errors import ErrConnectionClosed, ErrMaxPayload, ErrTimeout

from stan.aio.client import Client as STAN
from stan.aio.errors import ErrConnectReqTimeout, ErrTimeoutError, StanError
from stan.wire.stan_pb2 import PubAck
from tests.aio.conftest import Connect, fill, fresh_name
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer
from tests.tools.streaming_server import StreamingServer


async def test_publish_waits_for_the_ack_and_returns_it(sc: STAN, channel: str) -> None:
    first = await sc.publish(channel, b"one")
    second = await sc.publish(channel, payload=b"two", ack_wait=5)
    assert first is not None
    assert second is not None
    assert (first.error, second.error) == ("", "")
    assert first.guid
    assert first.guid != second.guid


async def test_a_handler_gets_the_ack_of_each_message(sc: STAN, channel: str) -> None:
    acks: asyncio.Queue[PubAck] = asyncio.Queue()

    async def ack_handler(ack: PubAck) -> None:
        await acks.put(ack)

    for n in range(100):
        assert await sc.publish(channel, b"%d" % n, ack_handler=ack_handler) is None
    async with asyncio.timeout(10):
        got = [await acks.get() for _ in range(100)]
    assert len({ack.guid for ack in got}) == 100
    assert {ack.error for ack in got} == {""}


async def test_a_refusal_is_an_ack_with_an_error(sc: STAN) -> None:
    acks: asyncio.Queue[PubAck] = asyncio.Queue()
    ack = await sc.publish("not..valid", b"x")
    assert ack is not None
    assert ack.error == "stan: invalid publish request"
    await sc.publish("not..valid", b"x", ack_handler=acks.put)
    async with asyncio.timeout(10):
        assert (await acks.get()).error == "stan: invalid publish request"


async def test_a_refusal_of_the_server_is_an_ack_with_an_error(
    nc: NATS, start_server: StartServer
) -> None:
    server, sc = start_server("-mc", "1"), STAN()
    await sc.connect(server.cluster, "me", nats=nc)
    acks: asyncio.Queue[PubAck] = asyncio.Queue()
    await sc.publish("one", b"x")
    ack = await sc.publish("two", b"x")
    assert ack is not None
    assert "too many channels" in ack.error
    await sc.publish("two", b"x", ack_handler=acks.put)
    async with asyncio.timeout(10):
        assert "too many channels" in (await acks.get()).error
    await sc.close()


async def test_no_ack_in_time(nc: NATS, start_server: StartServer) -> None:
    server, sc = start_server(), STAN()
    await sc.connect(server.cluster, "me", nats=nc, connect_timeout=0.2)
    server.kill()
    with pytest.raises(ErrTimeoutError, match="stan: publish ack timeout") as raised:
        await sc.publish("foo", b"x", ack_wait=0.1)
    assert isinstance(raised.value, asyncio.TimeoutError | ErrTimeout)


async def test_a_payload_that_nats_does_not_carry(sc: STAN, nc: NATS, channel: str) -> None:
    with pytest.raises(ErrMaxPayload) as raised:
        await sc.publish(channel, b"x" * (nc.max_payload + 1))
    assert isinstance(raised.value, StanError)


async def test_nobody_answers_a_connect(nc: NATS) -> None:
    sc = STAN()
    with pytest.raises(ErrConnectReqTimeout, match="stan: failed connecting to 'nobody'"):
        await sc.connect("nobody", "me", nats=nc, connect_timeout=0.2)


async def test_the_words_of_a_server_that_refuses(connect: Connect) -> None:
    client_id = fresh_name("twice")
    await connect(client_id)
    with pytest.raises(StanError) as raised:
        await connect(client_id)
    assert str(raised.value) == "stan: clientID already registered"


async def test_without_nats_or_before_connect(stan_server: StreamingServer) -> None:
    sc = STAN()
    with pytest.raises(StanError, match="connect needs nats"):
        await sc.connect(stan_server.cluster, "me")
    with pytest.raises(StanError):
        await sc.connect(stan_server.cluster, "me", nats=NATS())
    with pytest.raises(ErrConnectionClosed):
        await sc.publish("foo", b"x")
    with pytest.raises(ErrConnectionClosed):
        await sc.subscribe("foo")
    await sc.close()  # nothing was opened


async def test_what_a_closed_client_says(nc: NATS, connect: Connect, channel: str) -> None:
    sc = await connect()
    await sc.close()
    with pytest.raises(ErrConnectionClosed) as raised:
        await sc.publish(channel, b"x")
    assert isinstance(raised.value, StanError)
    assert nc.is_connected
    await sc.close()


async def test_a_client_connects_again_after_close(
    nc: NATS, stan_server: StreamingServer, channel: str
) -> None:
    sc, client_id = STAN(), fresh_name("again")
    for _ in range(2):
        await sc.connect(stan_server.cluster, client_id, nats=nc, max_pub_acks_inflight=0)
        await fill(sc, channel, 1)
        await sc.close()
    assert nc.is_connected


async def test_two_clients_on_one_nats_connection(connect: Connect, channel: str) -> None:
    one, two = await connect(), await connect()
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def cb(msg) -> None:  # type: ignore[no-untyped-def]
        await got.put(msg.data)

    await two.subscribe(channel, cb=cb)
    await one.publish(channel, b"from one")
    await two.publish(channel, b"from two")
    async with asyncio.timeout(10):
        assert [await got.get(), await got.get()] == [b"from one", b"from two"]
    await one.close()
    await two.publish(channel, b"still here")
    async with asyncio.timeout(10):
        assert await got.get() == b"still here"


async def test_the_loss_is_told_once_to_who_wants_to_know(
    nc: NATS, start_server: StartServer
) -> None:
    server, sc = start_server(), STAN()
    lost: asyncio.Queue[Exception] = asyncio.Queue()
    await sc.connect(
        server.cluster, "me", nats=nc, ping_interval=1, ping_max_out=1, conn_lost_cb=lost.put
    )
    server.kill()
    async with asyncio.timeout(20):
        error = await lost.get()
    assert isinstance(error, StanError)
    assert str(error) == "stan: connection lost due to PING failure"
    with pytest.raises(ErrConnectionClosed):
        await sc.publish("foo", b"x")
    await sc.close()
    assert lost.empty()


async def test_a_program_that_connects_again_when_it_is_told(
    nc: NATS, start_server: StartServer, nats_server: NatsServer
) -> None:
    server, sc = start_server(), STAN()
    back = asyncio.Event()

    async def connect_again(error: Exception) -> None:
        await sc.connect(server.cluster, "me", nats=nc)
        back.set()

    await sc.connect(server.cluster, "me", nats=nc, ping_interval=1, conn_lost_cb=connect_again)
    server.kill()
    server.start()  # with an empty store: its answer to a ping is that it does not know us
    async with asyncio.timeout(20):
        await back.wait()
    ack = await sc.publish("foo", b"x")
    assert ack is not None
    assert not ack.error
    await sc.close()
