"""A nats-py client without NATS: the streaming server behind it is played by the test."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message as ProtoMessage
from nats.aio.client import Client
from nats.aio.msg import Msg

import stan
from stan.wire.stan_pb2 import (
    CloseResponse,
    ConnectResponse,
    MsgProto,
    PingResponse,
    PubAck,
    PubMsg,
    SubscriptionRequest,
    SubscriptionResponse,
)
from tests.client.stage import Sent

CONNECT = "_STAN.discover.c"
PUBLISH = "_STAN.pub.c"
SUBSCRIBE = "_STAN.sub.c"
UNSUBSCRIBE = "_STAN.unsub.c"
SUB_CLOSE = "_STAN.subclose.c"
CLOSE = "_STAN.close.c"
PINGS = "_STAN.pings.c"
ACKS = "_INBOX.acks"
SILENCE = object()
"""An answer that does not come."""
NOBODY = None
"""Nobody listens."""


class LentNats(Client):
    """Hands what is published to the server that the test plays."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []
        self.answers: dict[str, list[Any]] = {}
        """What the next requests to a subject are answered with, before the usual answer."""
        self.connected = ConnectResponse(
            pubPrefix=PUBLISH,
            subRequests=SUBSCRIBE,
            unsubRequests=UNSUBSCRIBE,
            subCloseRequests=SUB_CLOSE,
            closeRequests=CLOSE,
            pingRequests=PINGS,
            pingInterval=5,
            pingMaxOut=88,
            protocol=1,
        )
        self.payload_limit = 1 << 20
        self.gate = asyncio.Event()
        """While it is closed, nothing leaves."""
        self.gate.set()
        self._asked: dict[str, asyncio.Event] = {}
        self._take: Callable[[Msg], Awaitable[None]]

    @property
    def is_connected(self) -> bool:
        return True

    @property
    def is_closed(self) -> bool:
        return False

    @property
    def max_payload(self) -> int:
        return self.payload_limit

    def new_inbox(self) -> str:
        return "_INBOX.me"

    async def subscribe(self, subject: str, **options: Any) -> Any:  # type: ignore[override]
        self._take = options["cb"]
        return Interest()

    async def publish(self, subject: str, payload: bytes = b"", reply: str = "") -> None:  # type: ignore[override]
        await self.gate.wait()
        sent = Sent(subject, reply, payload)
        self.sent.append(sent)
        queued = self.answers.get(subject)
        answer = queued.pop(0) if queued else self._usual(sent)
        if callable(answer):
            answer = await answer(sent)
        if reply and answer is not SILENCE:
            await self.deliver(reply, answer)
        self._asked.setdefault(subject, asyncio.Event()).set()

    async def asked(self, subject: str) -> Sent:
        """Wait until something was sent there; returns the last of it."""
        async with asyncio.timeout(10):
            await self._asked.setdefault(subject, asyncio.Event()).wait()
        self._asked[subject].clear()
        return self.to(subject)[-1]

    def to(self, subject: str) -> list[Sent]:
        """What was sent there."""
        return [one for one in self.sent if one.subject == subject]

    async def deliver(self, subject: str, answer: ProtoMessage | bytes | None) -> None:
        data = answer.SerializeToString() if isinstance(answer, ProtoMessage) else answer or b""
        headers = {"Status": "503"} if answer is NOBODY else None
        await self._take(Msg(self, subject, "", data, headers))

    async def feed(self, *payloads: int | bytes, request: int = -1) -> None:
        """Deliver messages, by sequence or as they are, to what was subscribed to."""
        inbox = SubscriptionRequest.FromString(self.to(SUBSCRIBE)[request].payload).inbox
        for one in payloads:
            message = one if isinstance(one, bytes) else MsgProto(sequence=one, subject="foo")
            await self.deliver(inbox, message)

    def _usual(self, sent: Sent) -> Any:
        if sent.subject == CONNECT:
            return self.connected
        if sent.subject == SUBSCRIBE:
            return SubscriptionResponse(ackInbox=ACKS)
        if sent.subject in (UNSUBSCRIBE, SUB_CLOSE):
            return SubscriptionResponse()
        if sent.subject == PINGS:
            return PingResponse()
        if sent.subject == CLOSE:
            return CloseResponse()
        if sent.subject.startswith(PUBLISH):
            return PubAck(guid=PubMsg.FromString(sent.payload).guid)
        return SILENCE


class Interest:
    """A subscription of nats-py."""

    async def unsubscribe(self) -> None:
        """Nothing is left to do."""


async def connected(nats: LentNats, **options: Any) -> stan.Connection:
    """A connection through it."""
    return await stan.connect("c", "me", nats=nats, **options)
