"""Statements on limits: of age and inactivity, per channel, by pattern, and of the start itself."""

import asyncio

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, until

from .conftest import StartServer

TOO_MANY = "too many channels"


def store_limits(body: str) -> str:
    """A configuration file with these store limits."""
    return f"streaming {{\n store_limits {{\n{body}\n }}\n}}\n"


async def kept(client: Client, channel: str) -> list[int]:
    """The sequences that the channel holds."""
    subscription = await client.subscribe(channel)
    return [message.sequence for message in await subscription.drain()]


async def publish_works(client: Client, channel: str, data: bytes = b"x") -> bool:
    """Publish, and say whether the server took it."""
    return not (await client.publish(channel, data)).error


async def deletion(client: Client) -> None:
    """Wait until the only channel that the server may have is gone."""
    await until(lambda: publish_works(client, "another"))


@pytest.mark.statement(93)
async def test_messages_expire_one_by_one(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-ma", "1s")
    client = await clients.connect(server)
    await client.publish_count("foo", 10)
    await asyncio.sleep(0.6)
    await client.publish_count("foo", 5)
    await asyncio.sleep(0.6)
    subscription = await client.subscribe("foo")
    assert await subscription.take_sequences(5) == [11, 12, 13, 14, 15]
    await asyncio.sleep(1.0)
    late = await client.subscribe("foo")
    assert await late.is_quiet(0.05)
    await client.publish("foo")
    assert (await late.next()).sequence == 16


@pytest.mark.statement(95)
async def test_zero_of_a_channel_is_unlimited_and_omitted_is_inherited(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    config = store_limits(
        'max_msgs: 3\n channels { "foo": {max_msgs: 0}\n "bar": {max_age: "1h"} }'
    )
    server = await start_server(store, config=config)
    client = await clients.connect(server)
    await client.publish_count("foo", 10)
    await client.publish_count("bar", 10)
    assert await kept(client, "foo") == list(range(1, 11))
    assert await kept(client, "bar") == [8, 9, 10]


@pytest.mark.statement(96)
async def test_patterns_apply_from_wide_to_narrow(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    config = store_limits('channels { ">": {max_msgs: 3}\n "foo.>": {max_msgs: 2} }')
    server = await start_server(store, config=config)
    client = await clients.connect(server)
    await client.publish_count("foo.bar", 5)
    await client.publish_count("bar", 5)
    assert await kept(client, "foo.bar") == [4, 5]
    assert await kept(client, "bar") == [3, 4, 5]


@pytest.mark.statement(96)
async def test_last_matching_pattern_wins(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    config = store_limits(
        'channels { "*.bar": {max_msgs: 5, max_subs: 1}\n "foo.*": {max_msgs: 4} }'
    )
    server = await start_server(store, config=config)
    client = await clients.connect(server)
    await client.publish_count("foo.bar", 10)
    await client.publish_count("baz.bar", 10)
    assert await kept(client, "foo.bar") == [7, 8, 9, 10]
    assert await kept(client, "baz.bar") == [6, 7, 8, 9, 10]
    # "foo.*" is not within "*.bar", so it inherits nothing from it.
    assert await kept(client, "foo.bar") == [7, 8, 9, 10]
    response = await client.ask_to_subscribe(client.subscription_request("baz.bar"))
    assert response.error == "too many subscriptions per channel"


@pytest.mark.statement(96)
async def test_narrower_pattern_inherits_from_the_wider(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    config = store_limits(
        'channels { "foo.bar": {max_age: "1h"}\n "foo.*": {max_msgs: 4}\n ">": {max_subs: 1} }'
    )
    server = await start_server(store, config=config)
    client = await clients.connect(server)
    await client.publish_count("foo.bar", 10)
    assert await kept(client, "foo.bar") == [7, 8, 9, 10]
    response = await client.ask_to_subscribe(client.subscription_request("foo.bar"))
    assert response.error == "too many subscriptions per channel"


@pytest.mark.statement(97)
async def test_patterns_do_not_count_towards_max_channels(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    config = store_limits(
        'max_channels: 1\n channels { "foo": {max_msgs: 2}\n "bar.*": {}\n ">": {} }'
    )
    server = await start_server(store, config=config)
    client = await clients.connect(server)
    # The entry for foo does not create it either.
    assert (await client.publish("bar.baz")).error == ""
    assert (await client.publish("foo")).error == TOO_MANY


@pytest.mark.statement(97)
async def test_too_many_named_channels_prevent_the_start(
    start_server: StartServer, store: str
) -> None:
    config = store_limits('max_channels: 2\n channels { "a": {}\n "b": {}\n "c": {} }')
    server = await start_server(store, config=config, run=False)
    printed = await asyncio.to_thread(server.start_failure)
    assert "too many channels defined (3). The max channels limit is set to 2" in printed
    assert "Traceback" not in printed


@pytest.mark.statement(97)
async def test_bad_channel_name_prevents_the_start(start_server: StartServer, store: str) -> None:
    config = store_limits('channels { "foo.*bar": {max_msgs: 1} }')
    server = await start_server(store, config=config, run=False)
    printed = await asyncio.to_thread(server.start_failure)
    assert 'invalid channel name "foo.*bar"' in printed


@pytest.mark.statement(98)
@pytest.mark.parametrize(
    ("flag", "value", "complaint"),
    [
        ("-mc", "-1", "max channels limit cannot be negative (-1)"),
        ("-msu", "-1", "max subscriptions limit cannot be negative (-1)"),
        ("-mm", "-1", "max messages limit cannot be negative (-1)"),
        ("-mb", "-1", "max bytes limit cannot be negative (-1)"),
        ("-ma", "-1s", "max age limit cannot be negative (-1s)"),
        ("-mi", "-1s", "max inactivity limit cannot be negative (-1s)"),
    ],
)
async def test_negative_limit_prevents_the_start(
    start_server: StartServer, flag: str, value: str, complaint: str
) -> None:
    server = await start_server("MEMORY", f"{flag}={value}", run=False)
    printed = await asyncio.to_thread(server.start_failure)
    assert complaint in printed
    assert "Traceback" not in printed


@pytest.mark.statement(99, 102)
@pytest.mark.parametrize(
    "kind",
    [{}, {"durableName": "d"}, {"qGroup": "g"}, {"qGroup": "g", "durableName": "d"}],
    ids=["plain", "durable", "queue", "durable-queue"],
)
async def test_inactive_channel_is_deleted(
    start_server: StartServer, clients: Clients, store: str, kind: dict[str, str]
) -> None:
    server = await start_server(store, "-mi", "100ms", "-mc", "1")
    client = await clients.connect(server)
    subscription = await client.subscribe("foo", **kind)
    await client.publish_count("foo", 3)
    await subscription.take(3, ack=True)
    await asyncio.sleep(0.3)  # an active subscription keeps the channel
    assert (await client.publish("another")).error == TOO_MANY
    assert await client.close_subscription(subscription) == ""
    await deletion(client)


@pytest.mark.statement(99)
async def test_publishing_postpones_the_deletion(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mi", "400ms")
    client = await clients.connect(server)
    for _ in range(8):
        await client.publish("foo")
        await asyncio.sleep(0.1)
    subscription = await client.subscribe("foo")
    assert await subscription.take_sequences(8) == list(range(1, 9))


@pytest.mark.statement(102)
async def test_deleted_channel_starts_again_at_one(
    start_server: StartServer, clients: Clients, store: str
) -> None:
    server = await start_server(store, "-mi", "300ms", "-mc", "1")
    client = await clients.connect(server)
    durable = await client.subscribe("foo", durableName="d")
    await client.publish_count("foo", 3)
    await durable.take(3, ack=True)
    assert await client.close_subscription(durable) == ""
    await deletion(client)
    # Now "another" is the only one, and goes in its turn.
    await until(lambda: publish_works(client, "foo", b"anew"))
    resumed = await client.subscribe("foo", durableName="d")
    message = await resumed.next()
    assert (message.sequence, message.data, message.redelivered) == (1, b"anew", False)


@pytest.mark.statement(100)
@pytest.mark.parametrize("never", ['"0s"', '"-1s"'])
async def test_channel_may_be_kept_forever(
    start_server: StartServer, clients: Clients, store: str, never: str
) -> None:
    config = store_limits(
        f'max_inactivity: "100ms"\n channels {{ "foo": {{max_inactivity: {never}}} }}'
    )
    server = await start_server(store, config=config)
    client = await clients.connect(server)
    await client.publish_count("foo", 2)
    await client.publish_count("bar", 2)
    await asyncio.sleep(0.6)
    keeps = await client.subscribe("foo", startPosition=pb.NewOnly)
    loses = await client.subscribe("bar", startPosition=pb.NewOnly)
    await client.publish("foo")
    await client.publish("bar")
    assert (await keeps.next()).sequence == 3
    assert (await loses.next()).sequence == 1
