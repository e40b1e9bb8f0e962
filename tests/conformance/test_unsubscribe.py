"""Statements on the requests that end a subscription."""

import pytest

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, decode, new_id
from tests.tools.streaming_server import StreamingServer

VERBS = pytest.mark.parametrize("verb", ["unsub", "subclose"])


@VERBS
@pytest.mark.statement(90)
async def test_errors_name_what_is_wrong(client: Client, channel: str, verb: str) -> None:
    subscription = await client.subscribe(channel)
    unknown_channel = await client.leave(subscription, verb, subject=new_id())
    assert unknown_channel == "stan: unknown channel"
    wrong_inbox = await client.leave(subscription, verb, inbox="_INBOX.wrong")
    assert wrong_inbox == "stan: invalid subscription"
    wrong_client = await client.leave(subscription, verb, clientID=new_id())
    assert wrong_client == "stan: unknown clientID"
    answer = await client.request(f"_STAN.{verb}.{client.server.cluster}", b"dummy")
    error = decode(pb.SubscriptionResponse, answer).error
    assert error == "stan: invalid unsubscribe request"
    await client.publish(channel)
    assert (await subscription.next()).sequence == 1


@VERBS
@pytest.mark.statement(90)
async def test_ended_subscription_gets_no_more(client: Client, channel: str, verb: str) -> None:
    subscription = await client.subscribe(channel)
    await client.publish(channel)
    await subscription.take(1, ack=True)
    assert await client.leave(subscription, verb) == ""
    await client.publish(channel)
    assert await subscription.is_quiet()
    assert await client.leave(subscription, verb) == "stan: invalid subscription"


@VERBS
@pytest.mark.statement(91, 92)
async def test_delivery_inbox_names_the_subscription_too(
    client: Client, channel: str, verb: str
) -> None:
    subscription = await client.subscribe(channel)
    assert await client.leave(subscription, verb, inbox=subscription.inbox) == ""
    assert await client.unsubscribe(subscription) == "stan: invalid subscription"


@pytest.mark.statement(90)
async def test_another_client_cannot_end_it(
    clients: Clients, server: StreamingServer, channel: str
) -> None:
    owner, other = await clients.connect(server), await clients.connect(server)
    subscription = await owner.subscribe(channel)
    error = await other.leave(subscription, "unsub", clientID=other.client_id)
    assert error == "stan: unknown clientID"
    await owner.publish(channel)
    assert (await subscription.next()).sequence == 1
