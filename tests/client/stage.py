"""A session on a stage: the test plays NATS and the server, and turns the clock by hand."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message as ProtoMessage

from stan.client.feed import Feed
from stan.client.options import ConnectOptions, SubscribeOptions
from stan.client.protocol import read_subscribed
from stan.client.receipt import Receipt
from stan.client.requests import Answer
from stan.client.session import Session
from stan.errors import ClientError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import (
    ConnectRequest,
    ConnectResponse,
    MsgProto,
    PingResponse,
    PubAck,
    PubMsg,
    SubscriptionRequest,
    SubscriptionResponse,
)

CONNECT = "_STAN.discover.c"
PINGS = "_STAN.discover.c.pings"
SUBSCRIBE = "_STAN.sub.c"
SUB_CLOSE = "_STAN.subclose.c"
UNKNOWN = "client has been replaced or is no longer registered"
MAX_PAYLOAD = 1 << 20
DEDUPE = {"dedupeWindow": 120_000}


@dataclass(frozen=True)
class Sent:
    """One PUB operation."""

    subject: str
    reply: str
    payload: bytes


def read_operation(operation: bytes) -> Sent:
    line, _, rest = operation.partition(b"\r\n")
    words = line.decode().split(" ")
    payload = rest[:-2]
    assert words[0] == "PUB"
    assert int(words[-1]) == len(payload)
    return Sent(words[1], words[2] if len(words) == 4 else "", payload)


class Stage:
    """The session, what it sent, and what it is told."""

    def __init__(self, **options: Any) -> None:
        self.now_ns = 1_000 * SECOND_NS
        chosen = ConnectOptions("c", "me", **options)
        self.session = Session(chosen, "_INBOX.x", "conn-id", "stem56789012", lambda: 0.5)
        self.opened: list[ClientError | None] = []

    def sent(self, subject: str = "") -> list[Sent]:
        """What was sent since the last time, or what of it went there: the rest is kept."""
        operations = [read_operation(one) for one in self.session.operations]
        taken = [one for one in operations if one.subject.startswith(subject)]
        self.session.operations = [
            raw
            for raw, one in zip(self.session.operations, operations, strict=True)
            if not one.subject.startswith(subject)
        ]
        self.session.written()
        return taken

    def receive(self, subject: str, payload: bytes | None, reply: str = "") -> None:
        self.session.receive([(subject.encode(), reply.encode(), payload)], self.now_ns)

    def answer(self, sent: Sent, message: ProtoMessage | None) -> None:
        """Answer a request; None: nobody listens."""
        self.receive(sent.reply, None if message is None else message.SerializeToString())

    def accepted(self, **fields: Any) -> ConnectResponse:
        values = {"pingInterval": 5, "pingMaxOut": 88, **fields}
        return ConnectResponse(
            pubPrefix="_STAN.pub.c",
            subRequests=SUBSCRIBE,
            unsubRequests="_STAN.unsub.c",
            closeRequests="_STAN.close.c",
            subCloseRequests=SUB_CLOSE,
            pingRequests=PINGS,
            protocol=1,
            **values,
        )

    def open(self, **fields: Any) -> ConnectRequest:
        """Register; returns the request."""
        self.session.open(self.now_ns, self.opened.append)
        [request] = self.sent()
        self.answer(request, self.accepted(**fields))
        assert self.opened == [None]
        return ConnectRequest.FromString(request.payload)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; whatever falls due happens on time."""
        end_ns = self.now_ns + round(seconds * SECOND_NS)
        while True:
            due_ns = self.session.next_deadline_ns
            if due_ns is None or due_ns > end_ns:
                break
            self.now_ns = max(self.now_ns, due_ns)
            self.session.tick(self.now_ns)
        self.now_ns = end_ns

    # Words of the server.

    def pong(self, ping: Sent, error: str = "") -> None:
        self.answer(ping, PingResponse(error=error))

    def known(self) -> None:
        """Answer the ping that is out: the server knows us."""
        ping = self.sent(PINGS)[-1]
        self.pong(ping)

    def registered(self, **fields: Any) -> ConnectRequest:
        """Say to the ping that is out that the server knows us not, and accept us again."""
        self.pong(self.sent(PINGS)[-1], UNKNOWN)
        self.pass_time(0)
        [request] = [one for one in self.sent(CONNECT) if one.subject == CONNECT]
        self.answer(request, self.accepted(**fields))
        return ConnectRequest.FromString(request.payload)

    def lose_nats(self) -> None:
        self.session.disconnected(self.now_ns, "nats: disconnected")

    def regain_nats(self) -> None:
        """NATS is back; the first ping goes out."""
        self.session.reconnected(self.now_ns)
        self.pass_time(0.1)

    # Publishing.

    def publish(self, data: bytes = b"x", message_id: str = "") -> Receipt:
        receipt = Receipt()
        self.session.publish("foo", data, receipt, self.now_ns, MAX_PAYLOAD, message_id)
        return receipt

    def published(self) -> list[PubMsg]:
        return [PubMsg.FromString(one.payload) for one in self.sent("_STAN.pub.")]

    def ack(self, receipt: Receipt, error: str = "", duplicate: bool = False) -> None:
        ack = PubAck(guid=receipt.guid, error=error, duplicate=duplicate)
        self.receive("_INBOX.x.acks", ack.SerializeToString())
        self.settle()

    def settle(self) -> None:
        """Tell the receipts, as the owner does."""
        settled, self.session.window.settled = self.session.window.settled, []
        for receipt, error in settled:
            receipt.settle(error)

    # Subscribing.

    def subscribe(self, **options: Any) -> Feed:
        """A subscription that the server accepts at once."""
        feed = self.session.open_feed("foo", SubscribeOptions(**options), self.now_ns, self.now_ns)
        answers: list[Answer] = []
        self.session.request(
            SUBSCRIBE,
            feed.request.SerializeToString(),
            self.now_ns,
            lambda answer, now_ns: answers.append(answer),
        )
        self.accept_subscription()
        [answer] = answers
        assert isinstance(answer, bytes)
        feed.open(read_subscribed(answer), self.session.registration)
        return feed

    def accept_subscription(self) -> SubscriptionRequest:
        """Accept the only subscription that is asked for; returns the request."""
        [request] = self.sent(SUBSCRIBE)
        back = f"_INBOX.back{self.session.new_inbox('b')}"
        self.answer(request, SubscriptionResponse(ackInbox=back))
        return SubscriptionRequest.FromString(request.payload)

    def deliver(
        self, feed: Feed, *sequences: int, timestamp: int = 0, redelivered: bool = False
    ) -> None:
        self.session.receive(
            [
                (
                    feed.inbox.encode(),
                    b"",
                    MsgProto(
                        sequence=sequence, subject="foo", data=b"x", redelivered=redelivered
                    ).SerializeToString(),
                )
                for sequence in sequences
            ],
            self.now_ns,
        )

    def handed_out(self, feed: Feed) -> list[int]:
        return [MsgProto.FromString(feed.take()).sequence for _ in range(len(feed.messages))]

    def events(self) -> list[Any]:
        events, self.session.events = self.session.events, []
        return events


def opened(**options: Any) -> Stage:
    """Toward a server that recognises what is sent again."""
    stage = Stage(**options)
    stage.open(**DEDUPE)
    return stage
