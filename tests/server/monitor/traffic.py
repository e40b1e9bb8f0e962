"""One fixed piece of traffic, played to any streaming server: ours, or the original.

Its clients have inboxes of fixed names, so that two servers given this traffic must show the
same documents but for times, identifiers and versions.
"""

from typing import NamedTuple

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_client import Client, Clients, Subscription

CLUSTER = "test-cluster"

LIMITS_CONFIG = """
streaming {
  store_limits {
    max_channels: 50
    channels {
      "foo": {max_msgs: 5, max_age: "1h"}
      "foo.>": {max_bytes: 10485760}
      "bar.*": {max_subs: 2, max_inactivity: "48h"}
    }
  }
}
"""


class Played(NamedTuple):
    """The server that is played to."""

    nats_url: str
    cluster: str = CLUSTER


class Traffic(Clients):
    """`async with Traffic(url) as traffic: await traffic.play()`; clients end with the block."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._server = Played(url)

    async def client(self, client_id: str) -> Client:
        """A registered client whose inboxes are named after its client ID."""
        client = await self.prepare(self._server, client_id, f"_INBOX.{client_id}.beat")
        assert (await client.connect()).error == ""
        return client

    async def play(self) -> None:
        """The whole traffic, one step after the other."""
        alpha = await self.client("alpha")
        beta = await self.client("beta")
        gamma = await self.client("gamma")
        await self.client("idle")
        await alpha.publish_all("foo", (b"message %d" % n for n in range(1, 11)))
        await alpha.publish("foo.a", b"<one>")
        await alpha.publish_all("bar.one", (b"1", b"2", b"3", b"4"))
        await alpha.publish_all("zed", (b"x" * 100, b"y" * 200, b""))
        assert (await alpha.publish("foo.*", b"refused")).error
        await alpha.publish("with&char", b"")
        await self._plain(alpha, gamma)
        await self._queue_groups(alpha, beta)
        await self._durables(beta, gamma)
        await alpha.ping()

    async def _plain(self, alpha: Client, gamma: Client) -> None:
        stalled = await subscribe(alpha, "foo", "stalled", maxInFlight=2, ackWaitInSecs=60)
        await stalled.take(2)
        late = await subscribe(gamma, "zed", "late", ackWaitInSecs=1)
        await late.take(6)  # three, and each again
        await acknowledge(late, 1, 2, 3)
        await subscribe(gamma, "empty", "nothing", startPosition=pb.NewOnly)

    async def _queue_groups(self, alpha: Client, beta: Client) -> None:
        first = await subscribe(alpha, "bar.one", "q1", qGroup="workers")
        await first.take(4)
        await acknowledge(first, 1, 2, 3)
        second = await subscribe(beta, "bar.one", "q2", qGroup="workers")
        await alpha.publish("bar.one", b"5")
        await second.take(1)
        shared = await subscribe(beta, "zed", "dq", qGroup="group", durableName="dur")
        await shared.take(3)
        await acknowledge(shared, 1)
        left = await subscribe(beta, "zed", "dq-left", qGroup="left", durableName="dur")
        await left.take(3)
        await acknowledge(left, 1, 2)
        assert await beta.close_subscription(left) == ""

    async def _durables(self, beta: Client, gamma: Client) -> None:
        durable = await subscribe(beta, "foo", "dur", durableName="dur")
        await durable.take(5)
        await acknowledge(durable, 6, 7, 8, 9, 10)
        closed = await subscribe(gamma, "foo", "closed", durableName="closed")
        await closed.take(5)
        await acknowledge(closed, 6)
        assert await gamma.close_subscription(closed) == ""
        delta = await self.client("delta")
        gone = await subscribe(delta, "zed", "gone", durableName="gone")
        await gone.take(3)
        await acknowledge(gone, 1, 2, 3)
        assert await delta.close() == ""


async def subscribe(client: Client, channel: str, name: str, **fields: object) -> Subscription:
    """Subscribe to all that is available, at an inbox of this name."""
    return await client.subscribe(channel, inbox=f"_INBOX.{client.client_id}.{name}", **fields)


async def acknowledge(subscription: Subscription, *sequences: int) -> None:
    """Acknowledge these sequences; return when the server has dealt with that."""
    await subscription.ack(*sequences)
    assert await subscription.client.ping() == ""
