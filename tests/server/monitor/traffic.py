"""One fixed piece of traffic, played to any streaming server: ours, or the original.

Clients are raw protobuf over plain NATS with inboxes of fixed names, so that two servers
given this traffic must show the same documents but for times, identifiers and versions.
"""

import asyncio
from types import TracebackType

import nats
from google.protobuf.message import Message
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from stan.wire import stan_pb2 as pb

CLUSTER = "test-cluster"
TIMEOUT_S = 20.0

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


class Inbox:
    """A NATS subscription whose messages can be awaited by number."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []
        self._more = asyncio.Event()

    async def receive(self, message: Msg) -> None:
        """NATS callback."""
        self.messages.append(message)
        self._more.set()

    async def count(self, wanted: int) -> None:
        """Wait until this many messages came."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.messages) < wanted:
                self._more.clear()
                await self._more.wait()


class RawClient:
    """A registered client. Everything it names is derived from its client ID."""

    def __init__(self, nc: NatsClient, client_id: str) -> None:
        self.nc = nc
        self.client_id = client_id
        self.connection_id = f"{client_id}-connection".ljust(22, "x").encode()
        self.acks = Inbox()
        self._published = 0

    async def connect(self) -> None:
        """Register; heartbeats are answered."""
        beat = f"_INBOX.{self.client_id}.beat"
        await self.nc.subscribe(beat, cb=self._beat)
        await self.nc.subscribe(f"_INBOX.{self.client_id}.acks", cb=self.acks.receive)
        request = pb.ConnectRequest(
            clientID=self.client_id,
            heartbeatInbox=beat,
            connID=self.connection_id,
            protocol=1,
            pingInterval=5,
            pingMaxOut=88,
        )
        answer = await self._ask(f"_STAN.discover.{CLUSTER}", request)
        assert pb.ConnectResponse.FromString(answer).error == ""

    async def publish(self, channel: str, *payloads: bytes) -> None:
        """Publish and wait for the acks, good or bad."""
        for payload in payloads:
            self._published += 1
            message = pb.PubMsg(
                clientID=self.client_id,
                guid=f"{self._published:022}",
                subject=channel,
                data=payload,
                connID=self.connection_id,
            )
            subject = f"_STAN.pub.{CLUSTER}.{channel}"
            reply = f"_INBOX.{self.client_id}.acks"
            await self.nc.publish(subject, message.SerializeToString(), reply)
        await self.acks.count(self._published)

    async def subscribe(self, channel: str, name: str, **fields: object) -> "RawSubscription":
        """Subscribe to all that is available, at an inbox of this name."""
        inbox = Inbox()
        address = f"_INBOX.{self.client_id}.{name}"
        await self.nc.subscribe(address, cb=inbox.receive)
        values: dict[str, object] = {
            "clientID": self.client_id,
            "subject": channel,
            "inbox": address,
            "maxInFlight": 1024,
            "ackWaitInSecs": 30,
            "startPosition": pb.First,
        }
        request = pb.SubscriptionRequest(**(values | fields))  # type: ignore[arg-type]
        answer = pb.SubscriptionResponse.FromString(
            await self._ask(f"_STAN.sub.{CLUSTER}", request)
        )
        assert answer.error == ""
        return RawSubscription(self, channel, inbox, answer.ackInbox)

    async def leave(self, subscription: "RawSubscription") -> None:
        """Close a subscription; a durable stays behind."""
        request = pb.UnsubscribeRequest(
            clientID=self.client_id, subject=subscription.channel, inbox=subscription.ack_inbox
        )
        answer = await self._ask(f"_STAN.subclose.{CLUSTER}", request)
        assert pb.SubscriptionResponse.FromString(answer).error == ""

    async def settle(self) -> None:
        """Return when the server has dealt with everything sent before."""
        ping = pb.Ping(connID=self.connection_id)
        await self._ask(f"_STAN.discover.{CLUSTER}.pings", ping)

    async def close(self) -> None:
        """Unregister."""
        request = pb.CloseRequest(clientID=self.client_id)
        answer = await self._ask(f"_STAN.close.{CLUSTER}", request)
        assert pb.CloseResponse.FromString(answer).error == ""

    async def _ask(self, subject: str, request: Message) -> bytes:
        answer = await self.nc.request(subject, request.SerializeToString(), timeout=TIMEOUT_S)
        return bytes(answer.data)

    async def _beat(self, message: Msg) -> None:
        await message.respond(b"")


class RawSubscription:
    """A subscription that acks what it is told to."""

    def __init__(self, client: RawClient, channel: str, inbox: Inbox, ack_inbox: str) -> None:
        self.client = client
        self.channel = channel
        self.inbox = inbox
        self.ack_inbox = ack_inbox

    async def ack(self, *sequences: int) -> None:
        """Acknowledge these sequences."""
        for sequence in sequences:
            ack = pb.Ack(subject=self.channel, sequence=sequence)
            await self.client.nc.publish(self.ack_inbox, ack.SerializeToString())
        await self.client.settle()


class Traffic:
    """`async with Traffic(url) as traffic: await traffic.play()`; clients end with the block."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[NatsClient] = []

    async def __aenter__(self) -> "Traffic":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for nc in self._connections:
            await nc.close()

    async def client(self, client_id: str) -> RawClient:
        """A registered client with a NATS connection of its own."""
        nc = await nats.connect(self._url, allow_reconnect=False)
        self._connections.append(nc)
        client = RawClient(nc, client_id)
        await client.connect()
        return client

    async def play(self) -> None:
        """The whole traffic, one step after the other."""
        alpha = await self.client("alpha")
        beta = await self.client("beta")
        gamma = await self.client("gamma")
        await self.client("idle")
        await alpha.publish("foo", *(b"message %d" % n for n in range(1, 11)))
        await alpha.publish("foo.a", b"<one>")
        await alpha.publish("bar.one", b"1", b"2", b"3", b"4")
        await alpha.publish("zed", b"x" * 100, b"y" * 200, b"")
        await alpha.publish("foo.*", b"refused")
        await alpha.publish("with&char", b"")
        await self._plain(alpha, gamma)
        await self._queue_groups(alpha, beta)
        await self._durables(beta, gamma)
        await alpha.settle()

    async def _plain(self, alpha: RawClient, gamma: RawClient) -> None:
        stalled = await alpha.subscribe("foo", "stalled", maxInFlight=2, ackWaitInSecs=60)
        await stalled.inbox.count(2)
        late = await gamma.subscribe("zed", "late", ackWaitInSecs=1)
        await late.inbox.count(6)  # three, and each again
        await late.ack(1, 2, 3)
        await gamma.subscribe("empty", "nothing", startPosition=pb.NewOnly)

    async def _queue_groups(self, alpha: RawClient, beta: RawClient) -> None:
        first = await alpha.subscribe("bar.one", "q1", qGroup="workers")
        await first.inbox.count(4)
        await first.ack(1, 2, 3)
        second = await beta.subscribe("bar.one", "q2", qGroup="workers")
        await alpha.publish("bar.one", b"5")
        await second.inbox.count(1)
        shared = await beta.subscribe("zed", "dq", qGroup="group", durableName="dur")
        await shared.inbox.count(3)
        await shared.ack(1)
        left = await beta.subscribe("zed", "dq-left", qGroup="left", durableName="dur")
        await left.inbox.count(3)
        await left.ack(1, 2)
        await beta.leave(left)

    async def _durables(self, beta: RawClient, gamma: RawClient) -> None:
        durable = await beta.subscribe("foo", "dur", durableName="dur")
        await durable.inbox.count(5)
        await durable.ack(6, 7, 8, 9, 10)
        closed = await gamma.subscribe("foo", "closed", durableName="closed")
        await closed.inbox.count(5)
        await closed.ack(6)
        await gamma.leave(closed)
        delta = await self.client("delta")
        gone = await delta.subscribe("zed", "gone", durableName="gone")
        await gone.inbox.count(3)
        await gone.ack(1, 2, 3)
        await delta.close()
