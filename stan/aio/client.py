"""The older client's `Client`, `Subscription` and `Msg`, on a connection of ours.

Each call becomes one call of `stan.client` on the NATS connection that was lent. Acks are all
given here, by `Msg`, so that an auto-ack follows as it did there: after the callback, never when
it failed, and also when it was acknowledged by hand before.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import time as now
from typing import Any

from nats.aio.client import Client as NatsClient
from nats.aio.errors import ErrConnectionClosed

import stan.client.connecting
from stan.aio.errors import (
    Closed,
    ErrConnectReqTimeout,
    ErrTimeoutError,
    PublishUnanswered,
    StanError,
    older_errors,
)
from stan.client.connection import Connection
from stan.client.message import Message
from stan.client.subscription import Subscription as ClientSubscription
from stan.errors import ClientError, ConfigError, ConnectTimeoutError, PublishError
from stan.identifiers import new_id as new_guid
from stan.wire.stan_pb2 import MsgProto, PubAck

__all__ = [
    "Client",
    "DEFAULT_ACKS_SUBJECT",
    "DEFAULT_ACK_WAIT",
    "DEFAULT_CONNECT_TIMEOUT",
    "DEFAULT_DISCOVER_SUBJECT",
    "DEFAULT_INBOX_SUBJECT",
    "DEFAULT_MAX_INFLIGHT",
    "DEFAULT_MAX_PUB_ACKS_INFLIGHT",
    "DEFAULT_PENDING_LIMIT",
    "DEFAULT_PING_INTERVAL",
    "DEFAULT_PING_MAX_OUT",
    "ErrConnectReqTimeout",
    "ErrConnectionClosed",
    "ErrTimeoutError",
    "Msg",
    "PROTOCOL_ONE",
    "StanError",
    "Subscription",
    "new_guid",
]

__version__ = "0.4.0"
"""The version of the API."""

DEFAULT_ACKS_SUBJECT = "_STAN.acks.%s"
DEFAULT_DISCOVER_SUBJECT = "_STAN.discover.%s"
DEFAULT_INBOX_SUBJECT = "_INBOX.%s"
DEFAULT_ACK_WAIT = 30
DEFAULT_MAX_INFLIGHT = 1024
DEFAULT_CONNECT_TIMEOUT = 2
DEFAULT_MAX_PUB_ACKS_INFLIGHT = 16384
DEFAULT_PENDING_LIMIT = 8192
DEFAULT_PING_INTERVAL = 5
DEFAULT_PING_MAX_OUT = 3
PROTOCOL_ONE = 1

_UNLIMITED = 2**31 - 1
_NOT_CONNECTED = "stan: connection closed"

logger = logging.getLogger(__name__)

AckHandler = Callable[[PubAck], Awaitable[None] | None]
ErrorCallback = Callable[[Exception], Awaitable[None] | None]
MsgCallback = Callable[["Msg"], Awaitable[None] | None]


class Client:
    """A client of a streaming server, on a NATS connection that is lent."""

    def __init__(self) -> None:
        self._connection: Connection | None = None

    def __repr__(self) -> str:
        return f"<nats streaming client v{__version__}>"

    async def connect(
        self,
        cluster_id: str,
        client_id: str,
        nats: NatsClient | None = None,
        connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
        max_pub_acks_inflight: int = DEFAULT_MAX_PUB_ACKS_INFLIGHT,
        ping_interval: int = DEFAULT_PING_INTERVAL,
        ping_max_out: int = DEFAULT_PING_MAX_OUT,
        conn_lost_cb: ErrorCallback | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Register with the server. `nats` is a connected nats-py client; `loop` is ignored.

        A program that gives `conn_lost_cb` takes care of losses itself and is told of them;
        otherwise the connection comes back by itself.
        """
        if nats is None:
            raise ConfigError("stan: connect needs nats, a NATS client that is connected")

        async def lost(connection: Connection, error: ClientError) -> None:
            if conn_lost_cb is not None:
                await _finish(conn_lost_cb(error))

        try:
            with older_errors():
                self._connection = await stan.client.connecting.connect(
                    cluster_id,
                    client_id,
                    nats=nats,
                    connect_wait=connect_timeout,
                    # As with its queue, less than one place means that there is no limit.
                    max_pub_acks_inflight=max_pub_acks_inflight
                    if max_pub_acks_inflight > 0
                    else _UNLIMITED,
                    # Too small ones were replaced by the server.
                    ping_interval=max(1, ping_interval),
                    ping_max_out=max(2, ping_max_out),
                    connection_lost_cb=lost if conn_lost_cb is not None else None,
                    resume=conn_lost_cb is None,
                )
        except ConnectTimeoutError as error:
            raise ErrConnectReqTimeout(f"stan: failed connecting to '{cluster_id}'") from error

    def _use(self) -> Connection:
        if self._connection is None:
            raise Closed(_NOT_CONNECTED)
        return self._connection

    async def publish(
        self,
        subject: str,
        payload: bytes,
        ack_handler: AckHandler | None = None,
        ack_wait: float | None = DEFAULT_ACK_WAIT,
    ) -> PubAck | None:
        """Publish, and return the server's ack; with `ack_handler`, call it with the ack.

        A refusal is an ack whose `error` is set. No ack within `ack_wait` seconds raises
        ErrTimeoutError; a handler is then not called, and a line in the log says why.
        """
        connection = self._use()
        callback = None if ack_handler is None else _make_callback(subject, ack_handler)
        with older_errors():
            try:
                receipt = await connection.publish_async(subject, payload, callback)
                if ack_handler is not None:
                    return None
                async with asyncio.timeout(ack_wait):
                    return PubAck(guid=await receipt)
            except PublishError as error:
                refusal = PubAck(error=str(error))
            except TimeoutError as error:
                raise PublishUnanswered(str(error) or "stan: publish ack timeout") from None
        if ack_handler is None:
            return refusal
        await _finish(ack_handler(refusal))
        return None

    async def subscribe(
        self,
        subject: str,
        cb: MsgCallback | None = None,
        error_cb: ErrorCallback | None = None,
        start_at: str | None = None,
        deliver_all_available: bool = False,
        sequence: int | None = None,
        time: float | None = None,
        manual_acks: bool = False,
        queue: str | None = None,
        ack_wait: float = DEFAULT_ACK_WAIT,
        max_inflight: int = DEFAULT_MAX_INFLIGHT,
        durable_name: str | None = None,
        pending_limits: int = DEFAULT_PENDING_LIMIT,
    ) -> "Subscription":
        """Subscribe; `cb` gets each Msg, `error_cb` what `cb` raises.

        `start_at` is "new_only", "last_received", "first", "sequence" with `sequence`, or "time"
        with `time` in Unix seconds; `deliver_all_available` wins. `pending_limits` is ignored:
        `max_inflight` bounds what can be pending.
        """
        connection = self._use()
        start = _choose_start("first" if deliver_all_available else start_at, sequence, time)
        subscription = Subscription(
            subject, queue, cb, error_cb, durable_name=durable_name, manual_acks=manual_acks
        )
        with older_errors():
            subscription._subscription = await connection.subscribe(
                subject,
                subscription._deliver,
                queue=queue or "",
                durable=durable_name or "",
                manual_acks=True,
                max_in_flight=max_inflight,
                ack_wait=ack_wait,
                **start,
            )
        return subscription

    async def ack(self, msg: "Msg") -> None:
        """Acknowledge a message. An ack that cannot be given any more is dropped in silence,
        and the message comes again."""
        msg._ack()

    async def close(self) -> None:
        """End the session; the NATS connection stays open."""
        if self._connection is not None:
            with older_errors():
                await self._connection.close()


class Subscription:
    """What `Client.subscribe` returns."""

    def __init__(
        self,
        subject: str = "",
        queue: str | None = "",
        cb: MsgCallback | None = None,
        error_cb: ErrorCallback | None = None,
        *,
        durable_name: str | None = None,
        manual_acks: bool = False,
    ) -> None:
        self.subject = subject
        self.queue = queue
        self.cb = cb
        self.error_cb = error_cb
        self.durable_name = durable_name
        self.manual_acks = manual_acks
        self._subscription: ClientSubscription | None = None

    @property
    def inbox(self) -> str | None:
        """The NATS subject on which its messages arrive."""
        return None if self._subscription is None else self._subscription._feed.inbox

    @property
    def ack_inbox(self) -> str | None:
        """The NATS subject to which its acks go."""
        return None if self._subscription is None else self._subscription._feed.ack_inbox

    @property
    def pending_queue_size(self) -> int:
        """How many messages arrived and were not handed out yet."""
        subscription = self._subscription
        if subscription is None or not subscription.is_valid:
            return 0
        return subscription.pending()[0]

    async def _deliver(self, message: Message) -> None:
        msg = Msg()
        msg.proto, msg.sub, msg._message = message._proto, self, message
        callback: Any = self.cb  # None is an error of each message, not of the subscription
        try:
            await _finish(callback(msg))
        except Exception as error:
            if self.error_cb is None:
                raise
            await self._tell(self.error_cb, error)
            return
        if not self.manual_acks:
            msg._ack()

    async def _tell(self, error_cb: ErrorCallback, error: Exception) -> None:
        try:
            await _finish(error_cb(error))
        except Exception:
            logger.exception("the error callback of the subscription to %r failed", self.subject)

    async def unsubscribe(self) -> None:
        """End it; a durable is forgotten by the server."""
        with older_errors():
            await self._use().unsubscribe()

    async def close(self) -> None:
        """End it; a durable keeps its position."""
        with older_errors():
            await self._use().close()

    def _use(self) -> ClientSubscription:
        if self._subscription is None:
            raise Closed(_NOT_CONNECTED)
        return self._subscription


class Msg:
    """A delivered message."""

    def __init__(self) -> None:
        self.proto: MsgProto = MsgProto()
        self.sub: Subscription | None = None
        self._message: Message | None = None

    @property
    def subject(self) -> str:
        """The channel."""
        return self.proto.subject

    @property
    def data(self) -> bytes:
        """The payload."""
        return self.proto.data

    @property
    def sequence(self) -> int:
        """The position in the channel, from 1."""
        return self.proto.sequence

    @property
    def seq(self) -> int:
        """The sequence, by its short name."""
        return self.proto.sequence

    @property
    def timestamp(self) -> int:
        """When the server received it, in Unix nanoseconds."""
        return self.proto.timestamp

    @property
    def redelivered(self) -> bool:
        """Whether the server sent it before and saw no ack."""
        return self.proto.redelivered

    def __repr__(self) -> str:
        return f"<nats streaming msg sequence={self.sequence}, time={self.timestamp}>"

    def _ack(self) -> None:
        if self._message is not None:
            with suppress(ClientError):
                self._message.ack()


async def _finish(result: Awaitable[None] | None) -> None:
    """Wait for what a callback returned; plain functions return nothing."""
    if inspect.isawaitable(result):
        await result


def _make_callback(
    subject: str, ack_handler: AckHandler
) -> Callable[[str, ClientError | None], Awaitable[None]]:
    async def callback(guid: str, error: ClientError | None) -> None:
        if error is None or isinstance(error, PublishError):
            await _finish(ack_handler(PubAck(guid=guid, error=str(error or ""))))
        else:
            logger.warning("no ack for a message on %r: %s", subject, error)

    return callback


def _choose_start(
    start_at: str | None, sequence: int | None, unix_s: float | None
) -> dict[str, Any]:
    """Where to begin, as our options say it."""
    match start_at:
        case None | "new_only":
            return {"start_at": "new"}
        case "last_received":
            return {"start_at": "last"}
        case "first":
            return {"start_at": "first"}
        case "sequence" if sequence is not None:
            return {"sequence": sequence}
        case "time" if unix_s is not None:
            # Whole seconds, as ever. A time to come is now: nothing that is stored lies after it.
            return {"delta": max(0, int(now() - unix_s))}
        case "sequence" | "time":
            raise ConfigError(f"stan: start_at={start_at!r} needs {start_at}=")
    raise ConfigError(
        f"stan: start_at is new_only, last_received, first, sequence or time, not {start_at!r}"
    )
