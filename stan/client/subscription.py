"""A subscription as the user holds it: callbacks or iteration, acks, closing, counters.

Messages are handed out one at a time and in order; an auto-ack follows when the user's code
is done with the message, never when that code failed. A plain callback runs at once, an
async one in the subscription's only task, which takes whatever is pending without a task
switch per message. What a callback raises goes to the event loop's exception handler.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from stan.client.feed import UNLIMITED, Feed
from stan.client.message import Message
from stan.client.options import SubscribeOptions
from stan.client.session import INVALID_SUBSCRIPTION
from stan.errors import (
    ClientError,
    ConfigError,
    InvalidConnectionError,
    InvalidSubscriptionError,
    ManualAckError,
)
from stan.wire.stan_pb2 import MsgProto

if TYPE_CHECKING:
    from stan.client.connection import Connection

MessageCallback = Callable[[Message], Awaitable[None] | None]


class Subscription:
    """Made by `Connection.subscribe`; not by hand."""

    def __init__(
        self,
        connection: "Connection",
        feed: Feed,
        callback: MessageCallback | None,
        options: SubscribeOptions,
        token: object,
    ) -> None:
        self.channel = feed.channel
        self.queue = options.queue
        self.durable = options.durable
        self.manual_acks = options.manual_acks
        self._connection = connection
        self._feed = feed
        self._token = token
        self._callback = callback
        self._is_async = callback is not None and _is_async(callback)
        self._task: asyncio.Task[None] | None = None
        self._wakeup = asyncio.Event()
        self._unacked: int | None = None
        # Closed once the user asked for the end, ended once the server confirmed it.
        self._is_closed = False
        self._is_ended = False
        self._lost: ClientError | None = None

    # Delivery

    def _start(self) -> None:
        """The server accepted: begin to hand out, with what arrived already."""
        if self._is_async:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._deliver()

    def _deliver(self) -> None:
        """Messages are pending. Called by the connection; never raises."""
        if self._callback is None or self._is_async:
            self._wakeup.set()
        else:
            self._run_plain(self._callback)

    def _run_plain(self, callback: MessageCallback) -> None:
        feed, send = self._feed, self._connection._send
        auto = not self.manual_acks
        while feed.messages:
            proto = self._decode(feed.take())
            if proto is None:
                continue
            try:
                result = callback(Message(proto, self))
                if result is not None:
                    _refuse_awaitable(result)
            except (Exception, asyncio.CancelledError) as error:  # a cancelled future's result
                self._report(error)
                continue
            if auto and not self._is_closed:
                send(feed.ack(proto.sequence))

    async def _run(self) -> None:
        """The life of an async callback: all that is pending, then wait for more."""
        feed, callback = self._feed, self._callback
        assert callback is not None
        auto = not self.manual_acks
        while True:
            while feed.messages:
                proto = self._decode(feed.take())
                if proto is None:
                    continue
                try:
                    await callback(Message(proto, self))  # type: ignore[misc]
                except (Exception, asyncio.CancelledError) as error:
                    if _is_being_cancelled():
                        raise
                    self._report(error)
                    continue
                if auto and not self._is_closed:
                    self._connection._send(feed.ack(proto.sequence))
            if feed.is_stopped:
                return
            self._wakeup.clear()
            await self._wakeup.wait()

    def _decode(self, payload: bytes) -> MsgProto | None:
        try:
            return MsgProto.FromString(payload)
        except Exception as error:
            self._report(error)
            return None

    def _report(self, error: BaseException) -> None:
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"stan: the callback of channel {self.channel!r} failed",
                "exception": error,
            }
        )

    def __aiter__(self) -> "Subscription":
        if self._callback is not None:
            raise ConfigError("stan: a subscription with a callback cannot be iterated")
        return self

    async def __anext__(self) -> Message:
        """The next message; ends when the subscription or the connection was closed.

        Without manual acks, asking for the next message acknowledges the one before.
        Raises the reason when the connection was lost.
        """
        self._ack_previous()
        feed = self._feed
        while True:
            while feed.messages:
                proto = self._decode(feed.take())
                if proto is not None:
                    if not self.manual_acks:
                        self._unacked = proto.sequence
                    return Message(proto, self)
            if self._lost is not None:
                raise self._lost
            if feed.is_stopped:
                raise StopAsyncIteration
            self._wakeup.clear()
            await self._wakeup.wait()

    def _ack_previous(self) -> None:
        if self._unacked is not None:
            if not self._is_closed:
                self._connection._send(self._feed.ack(self._unacked))
            self._unacked = None

    def _ack_by_hand(self, sequence: int) -> None:
        if not self.manual_acks:
            raise ManualAckError("stan: cannot manually ack in auto-ack mode")
        if self._is_closed:
            raise InvalidSubscriptionError(INVALID_SUBSCRIPTION)
        if not self._connection.is_connected:
            raise InvalidConnectionError("stan: invalid connection")
        self._connection._send(self._feed.ack(sequence))

    # Ending

    async def unsubscribe(self) -> None:
        """End the subscription for good; a durable is forgotten by the server.

        Delivery stops at once. Raises ConnectionClosedError, InvalidSubscriptionError when
        it was ended before, RequestTimeoutError when nobody answered (it may then be called
        again), and SubscribeError with the server's words when it refuses.
        """
        await self._connection._end_subscription(self, unsubscribe=True)

    async def close(self) -> None:
        """End the subscription; a durable keeps its position and can be resumed.

        Delivery stops at once. Raises what `unsubscribe` raises.
        """
        await self._connection._end_subscription(self, unsubscribe=False)

    def _stop(self, lost: ClientError | None = None) -> None:
        """Hand out nothing more and let whoever waits notice. What runs may finish."""
        self._lost = lost
        self._feed.stop()
        self._wakeup.set()

    # State

    @property
    def is_valid(self) -> bool:
        """Whether messages can still arrive."""
        return not self._feed.is_stopped

    @property
    def delivered(self) -> int:
        """How many messages were handed out; -1 after the end."""
        return self._feed.delivered if self.is_valid else -1

    @property
    def dropped(self) -> int:
        """How many messages the pending limits dropped; -1 after the end. The server sends
        them again after the ack wait."""
        return self._feed.dropped if self.is_valid else -1

    def pending(self) -> tuple[int, int]:
        """Messages that arrived and were not handed out, and their encoded bytes.

        This and the methods below raise InvalidSubscriptionError after the end.
        """
        feed = self._valid_feed()
        return len(feed.messages), feed.pending_bytes

    def max_pending(self) -> tuple[int, int]:
        """The highest counts that were pending since the start, or since they were cleared."""
        feed = self._valid_feed()
        return feed.max_pending_messages, feed.max_pending_bytes

    def clear_max_pending(self) -> None:
        """Forget the highest counts."""
        feed = self._valid_feed()
        feed.max_pending_messages = feed.max_pending_bytes = 0

    def pending_limits(self) -> tuple[int, int]:
        """How many messages and bytes may be pending; negative means unlimited."""
        feed = self._valid_feed()
        return feed.limit_messages, feed.limit_bytes

    def set_pending_limits(self, messages: int, payload_bytes: int) -> None:
        """Bound what may be pending. Negative means unlimited; 0 raises ConfigError."""
        feed = self._valid_feed()
        if messages == 0 or payload_bytes == 0:
            raise ConfigError("nats: invalid argument")
        feed.limit_messages = max(messages, UNLIMITED)
        feed.limit_bytes = max(payload_bytes, UNLIMITED)

    def _valid_feed(self) -> Feed:
        if not self.is_valid:
            raise InvalidSubscriptionError(INVALID_SUBSCRIPTION)
        return self._feed


def _is_being_cancelled() -> bool:
    """Whether this very task is to end, and not something that it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _is_async(callback: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; also for callable objects and partials."""
    unwrapped = callback
    while hasattr(unwrapped, "func"):
        unwrapped = unwrapped.func
    return inspect.iscoroutinefunction(unwrapped) or inspect.iscoroutinefunction(
        getattr(unwrapped, "__call__", None)  # noqa: B004 (asked whether it is async)
    )


def _refuse_awaitable(result: object) -> None:
    """A plain function that returns a coroutine would never see it run, and would ack."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the callback returned a coroutine: define it with 'async def'")
