"""A subscription as the user holds it: callbacks, iteration or fetching, acks, the end.

Messages are handed out one at a time and in order; an auto-ack follows when the user's code
is done with the message, never when that code failed. A plain callback runs at once, an
async one in the subscription's only task, which takes whatever is pending without a task
switch per message. What a callback raises goes to the event loop's exception handler. An
ack counts only in the epoch of its message: what the server forgot, nobody acknowledges.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic_ns
from typing import Any

from stan.client.driver import Driver
from stan.client.feed import STALE, UNLIMITED, Feed
from stan.client.message import Message
from stan.client.options import SubscribeOptions
from stan.client.protocol import (
    CONNECTION_CLOSED,
    INVALID_SUBSCRIPTION,
    read_subscribed,
    unsubscribe_request,
)
from stan.errors import (
    ClientError,
    ConfigError,
    ConnectionClosedError,
    InvalidConnectionError,
    InvalidSubscriptionError,
    ManualAckError,
    MessageTimeoutError,
    SubscribeError,
)
from stan.transactions.inbox import KEEP_S, Inbox, MakeSession, name_consumer
from stan.wire.stan_pb2 import MsgProto

MessageCallback = Callable[[Message], Awaitable[None] | None]


class Subscription:
    """Made by `Connection.subscribe`; not by hand."""

    def __init__(
        self,
        driver: Driver,
        feed: Feed,
        callback: MessageCallback | None,
        options: SubscribeOptions,
    ) -> None:
        self.channel = feed.channel
        self.queue = options.queue
        self.durable = options.durable
        self.manual_acks = options.manual_acks
        self._driver = driver
        self._feed = feed
        self._callback = callback
        self._is_async = callback is not None and _is_async(callback)
        self._task: asyncio.Task[None] | None = None
        self._wakeup = asyncio.Event()
        self._idle = asyncio.Event()
        self._is_busy = False
        self._unacked: list[tuple[int, int]] = []
        self._is_closed = False  # the user asked for the end
        self._is_ended = False  # the server confirmed it
        self._lost: ClientError | None = None

    def __repr__(self) -> str:
        names = (("queue", self.queue), ("durable", self.durable))
        more = "".join(f" {name}={value!r}" for name, value in names if value)
        state = f"{self.delivered} delivered" if self.is_valid else "ended"
        return f"<Subscription {self.channel!r}{more}, {state}>"

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
        feed, send = self._feed, self._driver.send
        auto = not self.manual_acks
        epoch = feed.epoch  # it cannot change in between: nothing is waited for
        while feed.messages:
            proto = self._decode(feed.take())
            if proto is None:
                continue
            stale = feed.stale
            try:
                result = callback(Message(proto, self, STALE if stale else epoch))
                if result is not None:
                    _refuse_awaitable(result)
            except (Exception, asyncio.CancelledError) as error:  # a cancelled future's result
                self._report(error)
                continue
            if auto and not stale and not self._is_closed:
                send(feed.ack(proto.sequence))

    async def _run(self) -> None:
        """The life of an async callback: all that is pending, then wait for more."""
        feed, callback = self._feed, self._callback
        assert callback is not None
        auto = not self.manual_acks
        while True:
            self._is_busy = True
            while feed.messages:
                proto = self._decode(feed.take())
                if proto is None:
                    continue
                epoch = STALE if feed.stale else feed.epoch
                try:
                    await callback(Message(proto, self, epoch))  # type: ignore[misc]
                except (Exception, asyncio.CancelledError) as error:
                    if _is_being_cancelled():
                        raise
                    self._report(error)
                    continue
                if auto and epoch == feed.epoch and not self._is_closed:
                    self._driver.send(feed.ack(proto.sequence))
            self._is_busy = False
            self._idle.set()
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
        self._refuse_callback()
        return self

    def _refuse_callback(self) -> None:
        if self._callback is not None:
            raise ConfigError("stan: a subscription with a callback cannot be iterated")

    async def __anext__(self) -> Message:
        """The next message; ends when the subscription or the connection was closed.

        Without manual acks, asking for the next message acknowledges the one before.
        Raises the reason when the connection was lost.
        """
        self._ack_previous()
        message = await self._next()
        if message is None:
            raise StopAsyncIteration
        return message

    async def next_msg(self, timeout: float | None = None) -> Message:
        """The next message, as iterating gives it. Raises MessageTimeoutError when none comes
        within `timeout` seconds, InvalidSubscriptionError after the end, and the reason when
        the connection was lost."""
        self._refuse_callback()
        self._ack_previous()
        try:
            async with asyncio.timeout(timeout):
                message = await self._next()
        except TimeoutError:
            raise MessageTimeoutError("stan: no message in time") from None
        if message is None:
            raise InvalidSubscriptionError(INVALID_SUBSCRIPTION)
        return message

    async def fetch(self, n: int, timeout: float | None = None) -> list[Message]:
        """Up to `n` messages: as many as come within `timeout` seconds, perhaps none.

        Without manual acks, asking again acknowledges all of them. Raises what `next_msg`
        raises after the end.
        """
        self._refuse_callback()
        self._ack_previous()
        messages: list[Message] = []
        try:
            async with asyncio.timeout(timeout):
                while len(messages) < n and (message := await self._next()) is not None:
                    messages.append(message)
        except TimeoutError:
            return messages
        if not messages and n > 0:
            raise InvalidSubscriptionError(INVALID_SUBSCRIPTION)
        return messages

    async def transactions(
        self, make_session: MakeSession, *, keep_s: float = KEEP_S
    ) -> AsyncIterator[tuple[Message, Any]]:
        """Each message with a session of `make_session` (an `async_sessionmaker`), which is
        committed, and the message acknowledged, when the next one is asked for.

        A body that raises, or leaves the loop, rolls back; the message comes again. What was
        committed does not: its mark in `stan_inbox` is kept for `keep_s` seconds.
        """
        self._refuse_callback()
        self._ack_previous()
        of = self._driver.options
        names = (of.cluster_id, of.client_id, self.channel, self.durable, self.queue)
        inbox = Inbox(make_session, name_consumer(*names), keep_s)
        while (message := await self._next()) is not None:
            self._unacked.clear()  # acknowledged when it is committed
            async with make_session() as db:
                if await inbox.enter(db, message):
                    yield message, db
                    await db.commit()
            self._ack(message._epoch, message.sequence)
            await inbox.prune()

    async def _next(self) -> Message | None:
        """The next message, or None at the end."""
        feed = self._feed
        while True:
            while feed.messages:
                proto = self._decode(feed.take())
                if proto is not None:
                    epoch = STALE if feed.stale else feed.epoch
                    if not self.manual_acks:
                        self._unacked.append((epoch, proto.sequence))
                    return Message(proto, self, epoch)
            if self._lost is not None:
                raise self._lost
            if feed.is_stopped or feed.is_draining:
                self._idle.set()
                return None
            self._wakeup.clear()
            await self._wakeup.wait()

    def _ack_previous(self) -> None:
        for epoch, sequence in self._unacked:
            self._ack(epoch, sequence)
        self._unacked.clear()

    def _ack(self, epoch: int, sequence: int) -> None:
        if epoch == self._feed.epoch and not self._is_closed:
            self._driver.send(self._feed.ack(sequence))

    def _ack_by_hand(self, epoch: int, sequence: int) -> None:
        if not self.manual_acks:
            raise ManualAckError("stan: cannot manually ack in auto-ack mode")
        if self._is_closed:
            raise InvalidSubscriptionError(INVALID_SUBSCRIPTION)
        if not self._driver.can_ack:
            raise InvalidConnectionError("stan: invalid connection")
        self._ack(epoch, sequence)

    # Ending

    async def unsubscribe(self) -> None:
        """End the subscription for good; a durable is forgotten by the server.

        Delivery stops at once. Waits for the server during an interruption, up to
        `pub_ack_wait`. Raises ConnectionClosedError, InvalidSubscriptionError when it was ended
        before, RequestTimeoutError when nobody answered (it may then be called again), and
        SubscribeError with the server's words when it refuses.
        """
        await self._end(unsubscribe=True)

    async def close(self) -> None:
        """End the subscription; a durable keeps its position and can be resumed.

        Delivery stops at once. Raises what `unsubscribe` raises.
        """
        await self._end(unsubscribe=False)

    async def drain(self, timeout: float | None = None) -> None:
        """Take in nothing more, hand out what arrived and acknowledge it, then close.

        What takes longer than `timeout` seconds (by default `pub_ack_wait`) is not waited for.
        Raises what `unsubscribe` raises.
        """
        wait_s = self._driver.options.pub_ack_wait if timeout is None else timeout
        self._begin_to_drain()
        await self._drained(asyncio.get_running_loop().time() + wait_s)
        await self.close()

    def _begin_to_drain(self) -> None:
        self._feed.is_draining = True
        self._idle.clear()
        self._wakeup.set()

    async def _drained(self, deadline_s: float) -> None:
        """Wait until all that arrived was handed out, and was done with."""
        if not (self._feed.messages or self._is_busy or self._unacked):
            return
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._idle.wait()
        except TimeoutError:
            return

    async def _end(self, *, unsubscribe: bool) -> None:
        if self._is_ended:
            raise InvalidSubscriptionError(INVALID_SUBSCRIPTION)
        driver, session, feed = self._driver, self._driver.session, self._feed
        self._is_closed = True
        self._stop()
        driver.consumers.pop(feed, None)
        session.close_feed(feed)
        if session.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        what = "unsubscribe" if unsubscribe else "close"
        deadline_s = asyncio.get_running_loop().time() + driver.options.pub_ack_wait
        is_repeated = False
        while not self._is_ended:
            await driver.until_up(deadline_s, what)
            subject = (
                session.subjects.unsubRequests if unsubscribe else session.subjects.subCloseRequests
            )
            if not subject:
                raise SubscribeError("stan: not supported by server")
            if feed.registration != session.registration:  # the server has forgotten it
                if not (unsubscribe and self.durable):
                    break
                if not await self._take_up(deadline_s, what):
                    continue
            request = unsubscribe_request(driver.options.client_id, feed)
            answer = await driver.ask_again(subject, request, deadline_s, what)
            if answer is not None:
                self._is_ended = self._read_ended(answer, is_repeated)
            is_repeated = True
        self._is_ended = True

    def _read_ended(self, answer: bytes, is_repeated: bool) -> bool:
        """Whether that is the end of it; otherwise it is to be asked again."""
        try:
            read_subscribed(answer)
        except InvalidSubscriptionError:
            if not is_repeated:  # the answer to the first request was lost
                raise
        except SubscribeError as error:
            if not self._driver.doubts(error):
                raise
            return False
        return True

    async def _take_up(self, deadline_s: float, what: str) -> bool:
        """Have the durable again, which the server would keep otherwise; False: try again."""
        driver, feed, now_ns = self._driver, self._feed, monotonic_ns()
        request = feed.ask_again(driver.session.new_inbox("feed"), now_ns, now_ns)
        subject = driver.session.subjects.subRequests
        payload = request.SerializeToString()
        answer = await driver.ask_again(subject, payload, deadline_s, what)
        if answer is None:
            return False
        feed.open(read_subscribed(answer), driver.session.registration)
        return True

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
