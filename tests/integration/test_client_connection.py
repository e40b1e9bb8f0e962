"""Connecting, closing and losing a connection."""

import asyncio

import nats
import pytest

import stan
from tests.integration.conftest import Connect, fresh_name
from tests.tools.processes import NatsServer
from tests.tools.servers import StartServer
from tests.tools.streaming_server import StreamingServer, implementation_under_test


class Lost:
    """A connection lost callback that can be awaited."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[stan.Connection, stan.ClientError]] = asyncio.Queue()

    async def __call__(self, connection: stan.Connection, error: stan.ClientError) -> None:
        self.calls.put_nowait((connection, error))

    async def reason(self) -> stan.ClientError:
        """Wait for the call, and see that it is the only one."""
        async with asyncio.timeout(20):
            _, error = await self.calls.get()
        assert self.calls.empty()
        return error


async def test_a_wrong_cluster_is_a_timeout(nats_server: NatsServer) -> None:
    with pytest.raises(stan.ConnectTimeoutError) as raised:
        await stan.connect("nobody", "me", servers=nats_server.url)
    assert str(raised.value) == "stan: connect request timeout (possibly wrong cluster ID?)"


async def test_no_nats_server() -> None:
    with pytest.raises(stan.ConnectError) as raised:
        await stan.connect("test-cluster", "me", servers="nats://127.0.0.1:1,nats://127.0.0.1:2")
    assert str(raised.value) == "nats: no servers available for connection"


async def test_an_unknown_option_is_a_mistake_in_the_call() -> None:
    with pytest.raises(stan.ConfigError, match="no_such_option"):
        await stan.connect("test-cluster", "me", no_such_option=1)


async def test_what_nats_py_can_do_passes_through(
    start_server: StartServer, restartable_nats: NatsServer
) -> None:
    restartable_nats.stop()
    restartable_nats.start("--user", "u", "--pass", "p")
    server = start_server("-user", "u", "-pass", "p", nats_url=restartable_nats.url)
    with pytest.raises(stan.ConnectError, match="Authorization Violation"):
        await stan.connect(server.cluster, "me", servers=restartable_nats.url)
    with pytest.raises(stan.ConnectError, match="Authorization Violation"):
        await stan.connect(
            server.cluster, "me", servers=restartable_nats.url, user="u", password="wrong"
        )
    async with stan.connect(
        server.cluster, "me", servers=restartable_nats.url, user="u", password="p", name="mine"
    ) as connection:
        assert await connection.publish("foo", b"x")
        assert connection.nats is not None
        assert connection.nats.options["name"] == "mine"


async def test_the_second_of_two_servers_is_tried(
    connect: Connect, nats_server: NatsServer
) -> None:
    connection = await connect(servers=["nats://127.0.0.1:1", nats_server.url], dont_randomize=True)
    assert connection.is_connected


async def test_an_invalid_client_id_is_refused_in_the_words_of_the_server(
    connect: Connect,
) -> None:
    with pytest.raises(stan.ConnectError, match="stan: invalid clientID: only alphanumeric"):
        await connect("not valid!")


async def test_a_client_id_that_is_taken(connect: Connect) -> None:
    connection = await connect()
    with pytest.raises(stan.ClientIDTakenError, match="stan: clientID already registered"):
        await connect(connection.client_id)


async def test_statement_125_failed_connects_leave_no_interest(
    connect: Connect, nats_server: NatsServer
) -> None:
    connection = await connect()
    lent = await nats.connect(nats_server.url)
    try:
        for _ in range(10):
            with pytest.raises(stan.ClientIDTakenError):
                await connect(connection.client_id, nats=lent)
        assert [s for s in lent._subs.values() if not s._subject.endswith(".*")] == []
        assert lent.is_connected
    finally:
        await lent.close()


async def test_the_nats_connection_has_our_name_and_reconnects_for_ever(
    connect: Connect,
) -> None:
    connection = await connect()
    assert connection.nats is not None
    assert connection.nats.options["name"] == connection.client_id
    assert connection.nats.options["max_reconnect_attempts"] == -1


async def test_used_as_a_context_manager(
    stan_server: StreamingServer, nats_server: NatsServer
) -> None:
    connecting = stan.connect(stan_server.cluster, fresh_name("with"), servers=nats_server.url)
    async with connecting as connection:
        assert await connection.publish("foo", b"x")
    assert connection.is_closed
    with pytest.raises(KeyError, match="mine"):
        async with stan.connect(stan_server.cluster, "me", servers=nats_server.url):
            raise KeyError("mine")


async def test_statement_119_a_killed_server_is_noticed_by_pings(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server, lost = start_server(), Lost()
    connection = await stan.connect(
        server.cluster,
        "me",
        servers=nats_server.url,
        ping_interval=1,
        ping_max_out=2,
        connection_lost_cb=lost,
        resume=False,
    )
    subscription = await connection.subscribe("foo")
    receipt = await connection.publish_async("foo", b"x")
    await receipt
    server.kill()
    waiting = await connection.publish_async("foo", b"y")
    error = await lost.reason()
    assert str(error) == "stan: connection lost due to PING failure"
    assert connection.nats is None
    with pytest.raises(stan.ConnectionClosedError):
        await waiting
    with pytest.raises(stan.ConnectionLostError):
        await anext(subscription)
    await connection.close()  # nothing left to do


async def test_a_replaced_client_is_told_by_its_next_ping(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server, lost = start_server(), Lost()
    connection = await stan.connect(
        server.cluster,
        "me",
        servers=nats_server.url,
        ping_interval=1,
        connection_lost_cb=lost,
        resume=False,
    )
    server.kill()
    server.start()  # with an empty store: it does not know us
    error = await lost.reason()
    assert str(error) == "client has been replaced or is no longer registered"
    assert connection.is_closed


async def test_statement_120_the_end_of_an_own_nats_connection(connect: Connect) -> None:
    lost = Lost()
    connection = await connect(connection_lost_cb=lost)
    assert connection.nats is not None
    await connection.nats.close()
    assert str(await lost.reason()) == "nats: connection closed"


async def test_statement_120_the_end_of_a_lent_nats_connection(
    connect: Connect, nats_server: NatsServer
) -> None:
    lost = Lost()
    lent = await nats.connect(nats_server.url)
    await connect(nats=lent, connection_lost_cb=lost, ping_interval=1)
    await lent.close()
    assert str(await lost.reason()) == "nats: connection closed"


async def test_closing_is_not_losing(connect: Connect) -> None:
    lost = Lost()
    connection = await connect(connection_lost_cb=lost)
    await connection.close()
    await asyncio.sleep(0)
    assert lost.calls.empty()


async def test_close_without_a_server_times_out_and_closes_nats(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server()
    connection = await stan.connect(server.cluster, "me", servers=nats_server.url)
    client = connection.nats
    assert client is not None
    server.kill()
    with pytest.raises(stan.RequestTimeoutError, match="stan: close request timeout"):
        await connection.close()
    assert client.is_closed
    await connection.close()


async def test_statement_124_a_failed_close_can_be_tried_again(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server(store=implementation_under_test().persistent_store)
    connection = await stan.connect(
        server.cluster, "me", servers=nats_server.url, allow_close_retry=True
    )
    client = connection.nats
    assert client is not None
    server.kill()
    with pytest.raises(stan.RequestTimeoutError):
        await connection.close()
    assert not client.is_closed
    server.start()
    await connection.close()
    assert client.is_closed
    assert connection.nats is None


async def test_statement_123_a_failed_subscription_close_can_be_tried_again(
    start_server: StartServer, nats_server: NatsServer
) -> None:
    server = start_server(store=implementation_under_test().persistent_store)
    async with stan.connect(
        server.cluster, "me", servers=nats_server.url, resume=False
    ) as connection:
        subscription = await connection.subscribe("foo", lambda message: None)
        server.kill()
        with pytest.raises(stan.RequestTimeoutError, match="stan: close request timeout"):
            await subscription.close()
        with pytest.raises(stan.RequestTimeoutError, match="stan: unsubscribe request timeout"):
            await subscription.unsubscribe()
        with pytest.raises(stan.RequestTimeoutError, match="stan: subscribe request timeout"):
            await connection.subscribe("foo", lambda message: None)
        server.start()
        await subscription.close()
        with pytest.raises(stan.InvalidSubscriptionError):
            await subscription.close()


async def test_without_patience_publishing_fails_while_nats_is_away(
    restartable_nats: NatsServer, start_server: StartServer
) -> None:
    server = start_server(nats_url=restartable_nats.url)
    gone, back = asyncio.Event(), asyncio.Event()
    async with stan.connect(
        server.cluster,
        "me",
        servers=restartable_nats.url,
        while_disconnected="fail",
        interrupted_cb=lambda connection, reason: gone.set(),
        resumed_cb=lambda connection, report: back.set(),
    ) as connection:
        got: asyncio.Queue[int] = asyncio.Queue()
        await connection.subscribe("foo", lambda m: got.put_nowait(m.sequence))
        await connection.publish("foo", b"x")
        restartable_nats.kill()
        async with asyncio.timeout(20):
            await gone.wait()
        with pytest.raises(stan.InvalidConnectionError, match="reconnecting"):
            await connection.publish("foo", b"y")
        with pytest.raises(stan.InvalidConnectionError, match="reconnecting"):
            await connection.subscribe("foo")
        restartable_nats.start()
        async with asyncio.timeout(20):
            await back.wait()
            await connection.publish("foo", b"y")
            assert await got.get() == 1
            assert await got.get() == 2


@pytest.mark.parametrize("is_lent", [False, True])
async def test_nats_that_never_comes_back_is_a_lost_connection(
    restartable_nats: NatsServer, start_server: StartServer, is_lent: bool
) -> None:
    server, lost = start_server(nats_url=restartable_nats.url), Lost()
    quiet = {"servers": restartable_nats.url, "reconnect_time_wait": 0.1}

    async def ignore(_: Exception) -> None:
        return

    lent = await nats.connect(**quiet, error_cb=ignore) if is_lent else None  # type: ignore[arg-type]
    connection = await stan.connect(
        server.cluster,
        "me",
        nats=lent,
        ping_interval=1,
        ping_max_out=2,
        connection_lost_cb=lost,
        resume=False,
        **({} if is_lent else quiet),  # type: ignore[arg-type]
    )
    own = connection.nats
    assert own is not None
    await connection.subscribe("foo", lambda message: None)
    restartable_nats.kill()
    assert str(await lost.reason()) == "stan: connection lost due to PING failure"
    assert connection.is_closed
    assert own.is_closed != is_lent
    if lent is not None:
        await lent.close()
