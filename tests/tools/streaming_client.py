"""A streaming client that is nothing but the protocol: raw protobuf over plain NATS.

It checks nothing and retries nothing, so a test can send what no library would. The tests
assert on the messages that come back exactly as the wire carried them.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, Self, TypeVar

import nats
from google.protobuf.message import Message
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from stan.wire import stan_pb2 as pb
from tests.tools.streaming_server import AckWait

TIMEOUT_S = 10.0
QUIET_S = 0.15

M = TypeVar("M", bound=Message)


def new_id(prefix: str = "id") -> str:
    """A name that no other test uses."""
    return f"{prefix}-{secrets.token_hex(6)}"


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until the condition holds: for what no message announces."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


def decode(kind: type[M], payload: bytes) -> M:
    """The payload as a message of this kind."""
    return kind.FromString(payload)


class Subscription:
    """A subscription as the wire knows it: two inboxes and the messages that came."""

    def __init__(self, client: "Client", request: pb.SubscriptionRequest) -> None:
        self.client = client
        self.request = request
        self.ack_inbox = ""
        self.messages: asyncio.Queue[pb.MsgProto] = asyncio.Queue()

    @property
    def inbox(self) -> str:
        """Where the messages are delivered."""
        return self.request.inbox

    async def receive(self, message: Msg) -> None:
        """NATS callback: keep the message."""
        self.messages.put_nowait(decode(pb.MsgProto, message.data))

    async def next(self, timeout_s: float = TIMEOUT_S) -> pb.MsgProto:
        """The next message, in the order of arrival."""
        async with asyncio.timeout(timeout_s):
            return await self.messages.get()

    async def take(self, count: int, *, ack: bool = False) -> list[pb.MsgProto]:
        """The next `count` messages; with `ack`, each acknowledged as it comes."""
        taken = []
        for _ in range(count):
            message = await self.next()
            taken.append(message)
            if ack:
                await self.ack(message.sequence)
        return taken

    async def take_sequences(self, count: int, *, ack: bool = False) -> list[int]:
        """The sequences of the next `count` messages."""
        return [message.sequence for message in await self.take(count, ack=ack)]

    async def ack(self, *sequences: int) -> None:
        """Acknowledge these sequences."""
        for sequence in sequences:
            ack = pb.Ack(subject=self.request.subject, sequence=sequence)
            await self.client.nc.publish(self.ack_inbox, ack.SerializeToString())

    async def ack_all(self, messages: Iterable[pb.MsgProto]) -> None:
        """Acknowledge these messages."""
        await self.ack(*(message.sequence for message in messages))

    async def is_quiet(self, seconds: float = QUIET_S) -> bool:
        """Whether nothing came until a round trip ended, and for a short while more."""
        await self.client.round_trip()
        try:
            await self.next(seconds)
        except TimeoutError:
            return True
        return False

    async def drain(self) -> list[pb.MsgProto]:
        """All messages until none came for a short while."""
        drained = []
        try:
            while True:
                drained.append(await self.next(QUIET_S))
        except TimeoutError:
            return drained


class Served(Protocol):
    """A streaming server, as its clients know it."""

    @property
    def nats_url(self) -> str: ...

    @property
    def cluster(self) -> str: ...


class Refused(Exception):
    """The server answered a request with an error; the text is the server's."""


class Client:
    """One connection to one streaming server. Heartbeats are answered until told otherwise."""

    def __init__(self, server: Served, nc: NatsClient, client_id: str) -> None:
        self.server = server
        self.nc = nc
        self.client_id = client_id
        self.conn_id = secrets.token_hex(11).encode()
        self.heartbeat_inbox = nc.new_inbox()
        self.ack_subject = f"_STAN.acks.{secrets.token_hex(11)}"
        self.answers_heartbeats = True
        self.heartbeats: asyncio.Queue[None] = asyncio.Queue()
        self.pub_acks: asyncio.Queue[pb.PubAck] = asyncio.Queue()
        self.response = pb.ConnectResponse()

    @property
    def discovery(self) -> str:
        """The connect subject."""
        return f"_STAN.discover.{self.server.cluster}"

    async def listen(self) -> None:
        """Subscribe to heartbeats and publish acks."""
        await self.nc.subscribe(self.heartbeat_inbox, cb=self._receive_heartbeat)
        await self.nc.subscribe(self.ack_subject, cb=self._receive_pub_ack)
        await self.nc.flush()

    async def connect(
        self, *, protocol: int = 1, ping_interval: int = 5, ping_max_out: int = 88
    ) -> pb.ConnectResponse:
        """Ask to be registered; the response may hold an error."""
        request = pb.ConnectRequest(
            clientID=self.client_id,
            heartbeatInbox=self.heartbeat_inbox,
            protocol=protocol,
            connID=self.conn_id,
            pingInterval=ping_interval,
            pingMaxOut=ping_max_out,
        )
        answer = await self.request(self.discovery, request.SerializeToString())
        response = decode(pb.ConnectResponse, answer)
        if not response.error:
            self.response = response
        return response

    async def request(self, subject: str, payload: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
        """A NATS request; the answer's bytes."""
        answer = await self.nc.request(subject, payload, timeout=timeout_s)
        return bytes(answer.data)

    async def round_trip(self) -> None:
        """Return when the server has dealt with all that this client sent before."""
        await self.ping()
        await self.publish(f"fence-{self.conn_id.decode()}", b"")
        await self.nc.flush()

    async def ping(self, conn_id: bytes | None = None) -> str:
        """Ping as this connection (or another); the error, empty when all is well."""
        ping = pb.Ping(connID=self.conn_id if conn_id is None else conn_id)
        answer = await self.request(f"{self.discovery}.pings", ping.SerializeToString())
        return decode(pb.PingResponse, answer).error

    def message(self, channel: str, data: bytes = b"x", /, **changes: object) -> pb.PubMsg:
        """A publish request as a library would make it, with some fields changed."""
        fields: dict[str, object] = {
            "clientID": self.client_id,
            "guid": secrets.token_hex(11),
            "subject": channel,
            "data": data,
            "connID": self.conn_id,
        }
        return pb.PubMsg(**(fields | changes))  # type: ignore[arg-type]

    async def send(self, message: pb.PubMsg, suffix: str | None = None) -> None:
        """Publish without waiting for the ack."""
        subject = f"_STAN.pub.{self.server.cluster}.{suffix or message.subject}"
        await self.nc.publish(subject, message.SerializeToString(), self.ack_subject)

    async def next_ack(self) -> pb.PubAck:
        """The next publish ack, in the order of arrival."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.pub_acks.get()

    async def publish(self, channel: str, data: bytes = b"x", **changes: object) -> pb.PubAck:
        """Publish one message and wait for its ack."""
        message = self.message(channel, data, **changes)
        await self.send(message)
        ack = await self.next_ack()
        assert ack.guid == message.guid
        return ack

    async def publish_all(self, channel: str, payloads: Iterable[bytes]) -> None:
        """Publish these at once, then wait for all acks; each must be without error."""
        sent = [self.message(channel, data) for data in payloads]
        for message in sent:
            await self.send(message)
        for message in sent:
            ack = await self.next_ack()
            assert (ack.guid, ack.error) == (message.guid, "")

    async def publish_count(self, channel: str, count: int, first: int = 1) -> None:
        """Publish `count` messages whose payloads are their numbers."""
        await self.publish_all(channel, (b"%d" % n for n in range(first, first + count)))

    def subscription_request(
        self, channel: str, ack_wait: AckWait | int = 30, /, **changes: object
    ) -> pb.SubscriptionRequest:
        """A subscribe request as a library would make it, with some fields changed."""
        fields: dict[str, object] = {
            "clientID": self.client_id,
            "subject": channel,
            "inbox": self.nc.new_inbox(),
            "maxInFlight": 1024,
            "ackWaitInSecs": ack_wait.wire if isinstance(ack_wait, AckWait) else ack_wait,
        }
        return pb.SubscriptionRequest(**(fields | changes))  # type: ignore[arg-type]

    async def subscribe(
        self, channel: str, ack_wait: AckWait | int = 30, /, **changes: object
    ) -> Subscription:
        """Subscribe; by default to all that is available. Raises Refused."""
        changes.setdefault("startPosition", pb.First)
        request = self.subscription_request(channel, ack_wait, **changes)
        subscription = Subscription(self, request)
        await self.nc.subscribe(
            request.inbox, cb=subscription.receive, pending_msgs_limit=0, pending_bytes_limit=0
        )
        response = await self.ask_to_subscribe(request)
        if response.error:
            raise Refused(response.error)
        subscription.ack_inbox = response.ackInbox
        return subscription

    async def ask_to_subscribe(self, request: pb.SubscriptionRequest) -> pb.SubscriptionResponse:
        """Send a subscribe request as it is."""
        subject = f"_STAN.sub.{self.server.cluster}"
        answer = await self.request(subject, request.SerializeToString())
        return decode(pb.SubscriptionResponse, answer)

    async def leave(self, subscription: Subscription, verb: str, **changes: object) -> str:
        """Unsubscribe (`unsub`) or close (`subclose`); the error, empty when all is well."""
        fields: dict[str, object] = {
            "clientID": self.client_id,
            "subject": subscription.request.subject,
            "inbox": subscription.ack_inbox,
        }
        request = pb.UnsubscribeRequest(**(fields | changes))  # type: ignore[arg-type]
        subject = f"_STAN.{verb}.{self.server.cluster}"
        answer = await self.request(subject, request.SerializeToString())
        return decode(pb.SubscriptionResponse, answer).error

    async def unsubscribe(self, subscription: Subscription) -> str:
        """Unsubscribe; the error, empty when all is well."""
        return await self.leave(subscription, "unsub")

    async def close_subscription(self, subscription: Subscription) -> str:
        """Close the subscription; the error, empty when all is well."""
        return await self.leave(subscription, "subclose")

    async def close(self, client_id: str | None = None) -> str:
        """Close this client (or another); the error, empty when all is well."""
        request = pb.CloseRequest(clientID=self.client_id if client_id is None else client_id)
        subject = f"_STAN.close.{self.server.cluster}"
        answer = await self.request(subject, request.SerializeToString())
        return decode(pb.CloseResponse, answer).error

    async def vanish(self) -> None:
        """Drop the NATS connection without a word, as a crash does."""
        await self.nc.close()

    async def _receive_heartbeat(self, message: Msg) -> None:
        self.heartbeats.put_nowait(None)
        if self.answers_heartbeats:
            await self.nc.publish(message.reply, b"")

    async def _receive_pub_ack(self, message: Msg) -> None:
        self.pub_acks.put_nowait(decode(pb.PubAck, message.data))


class Clients:
    """Makes clients, each with a NATS connection of its own, and takes them down."""

    def __init__(self) -> None:
        self._made: list[NatsClient] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for nc in self._made:
            if not nc.is_closed:
                await nc.close()

    async def prepare(
        self, server: Served, client_id: str | None = None, heartbeat_inbox: str = ""
    ) -> Client:
        """A client that listens but has not asked to be registered."""
        nc = await nats.connect(server.nats_url)
        self._made.append(nc)
        client = Client(server, nc, client_id or new_id("client"))
        client.heartbeat_inbox = heartbeat_inbox or client.heartbeat_inbox
        await client.listen()
        return client

    async def connect(self, server: Served, client_id: str | None = None) -> Client:
        """A registered client. Raises Refused."""
        client = await self.prepare(server, client_id)
        response = await client.connect()
        if response.error:
            raise Refused(response.error)
        return client
