"""The connection as the user holds it: the session on a transport, with a clock and a loop.

This is the only place where the three meet. After whatever happens (a chunk of frames, a
timer, a call) `_drain` hands on what the session decided; operations leave in one write a
turn of the loop, in the order in which they were made, so an ack given before a close
leaves before it. Nothing here decides what the protocol means.
"""

import asyncio
import datetime
import inspect
import logging
from collections.abc import Awaitable, Callable
from time import monotonic_ns, time_ns
from types import TracebackType
from typing import Any

from stan.client.feed import Feed
from stan.client.identifiers import GUID_STEM_CHARS, new_id
from stan.client.options import (
    DEFAULT_ACK_WAIT_S,
    DEFAULT_MAX_IN_FLIGHT,
    ConnectOptions,
    StartPosition,
    SubscribeOptions,
)
from stan.client.publishers import Publishers
from stan.client.receipt import AckCallback, Receipt
from stan.client.session import CONNECTION_CLOSED, INVALID_SUBSCRIPTION, Inboxes, Session
from stan.client.subscription import MessageCallback, Subscription
from stan.client.transport import NATS_CLOSED, NatsClient, Transport, dial, lend, request
from stan.errors import (
    ClientError,
    ConnectionClosedError,
    ConnectionLostError,
    ConnectTimeoutError,
    InvalidConnectionError,
    InvalidSubscriptionError,
    PublishTimeoutError,
    RequestTimeoutError,
    SubscribeError,
)
from stan.wire.frames import Frame, pub

ConnectionLostCallback = Callable[["Connection", ClientError], Awaitable[None] | None]

_logger = logging.getLogger("stan.client")

# Written without waiting for the end of the turn, so that a long run of publishes starts
# to travel before it is complete.
_WRITE_BYTES = 64 * 1024
# Above this much unsent, publishing waits for the socket.
_CONGESTED_BYTES = 4 * 1024 * 1024


class Connection:
    """A connection to a streaming server. Made by `stan.connect`; not by hand."""

    def __init__(
        self, options: ConnectOptions, connection_lost_cb: ConnectionLostCallback | None
    ) -> None:
        self._options = options
        self._lost_callback = connection_lost_cb
        self._loop = asyncio.get_running_loop()
        self._transport: Transport
        self._session: Session
        self._subscriptions: dict[Feed, Subscription] = {}
        self._tokens: list[object] = []
        self._publishers: Publishers
        self._flush_scheduled = False
        self._outgoing_bytes = 0
        self._congested = False
        self._pub_ack_wait_ns = int(options.pub_ack_wait * 1e9)
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns: float = float("inf")
        self._closing = asyncio.Lock()
        self._is_released = False
        self._is_lost = False
        self._ending: asyncio.Task[None] | None = None

    # Opening

    async def _open(self, urls: list[str], client: NatsClient | None, nats_options: Any) -> None:
        if client is None:
            self._transport = await dial(
                urls, self.client_id, self._receive, self._nats_closed, nats_options
            )
        else:
            self._transport = lend(client, self._receive)
        inbox = self._transport.nats.new_inbox
        inboxes = Inboxes(heartbeat=inbox(), ping=inbox(), ack=inbox())
        self._session = Session(self._options, inboxes, new_id(), new_id(GUID_STEM_CHARS))
        self._open_window()
        try:
            await self._register(inboxes)
        except BaseException:
            self._session.end()
            await self._release()
            raise
        self._arm()

    async def _register(self, inboxes: Inboxes) -> None:
        await self._listen(inboxes.heartbeat)
        await self._listen(inboxes.ping)
        subject = self._options.discover_subject
        wait_s = self._options.connect_wait
        try:
            answer = await request(
                self._transport, subject, self._session.connect_request(), wait_s
            )
        except TimeoutError:
            raise ConnectTimeoutError(
                "stan: connect request timeout (possibly wrong cluster ID?)"
            ) from None
        self._session.connected(answer, monotonic_ns())
        self._open_window()
        await self._listen(inboxes.ack)

    def _open_window(self) -> None:
        places = self._options.max_pub_acks_inflight
        self._publishers = Publishers(places, self._session.window.waiting)

    async def _listen(self, subject: str) -> object:
        token = await self._transport.listen(subject)
        self._tokens.append(token)
        return token

    async def _forget(self, token: object) -> None:
        if token in self._tokens:
            self._tokens.remove(token)
            await self._transport.forget(token)

    # State

    @property
    def client_id(self) -> str:
        """The client ID."""
        return self._options.client_id

    @property
    def cluster_id(self) -> str:
        """The server's cluster ID."""
        return self._options.cluster_id

    @property
    def nats(self) -> NatsClient | None:
        """The NATS connection underneath; None once this connection is closed or lost."""
        keeps = self._session.ended and not self._options.allow_close_retry
        return None if self._is_released or keeps else self._transport.nats

    @property
    def is_closed(self) -> bool:
        """Whether the connection was closed or lost."""
        return self._session.ended

    @property
    def is_connected(self) -> bool:
        """Whether it is open and NATS is connected right now."""
        return not self._session.ended and bool(self._transport.nats.is_connected)

    def max_data_size(self, channel: str) -> int:
        """How many bytes of data fit one message of this channel.

        Raises PublishError when the channel's name is invalid.
        """
        return self._session.window.max_data_bytes(channel, self._transport.nats.max_payload)

    # Publishing

    async def publish(self, channel: str, data: bytes) -> str:
        """Publish and wait until the server stored it; returns the guid.

        Raises what `publish_async` raises, and what awaiting its receipt raises.
        """
        return await (await self.publish_async(channel, data))

    async def publish_async(
        self, channel: str, data: bytes, callback: AckCallback | None = None
    ) -> Receipt:
        """Publish without waiting for the ack. Waits only while the window is full.

        The receipt has the `guid` and can be awaited; `callback(guid, error)`, a plain or an
        async function, is called exactly once, with None when the message is stored. Nothing
        was sent when this raises: ConnectionClosedError, InvalidConnectionError while NATS is
        disconnected, PublishError for an invalid channel, PayloadTooLargeError, or
        PublishTimeoutError when no place became free within `pub_ack_wait`. Cancelling it
        while it waits is safe.
        """
        if self._congested or self._publishers.must_wait:
            await self._wait_for_place()
        nats = self._transport.nats
        receipt = Receipt(callback)
        now_ns = monotonic_ns()
        try:
            if not nats.is_connected and not self._session.ended:
                raise InvalidConnectionError(
                    NATS_CLOSED if nats.is_closed else "nats: reconnecting"
                )
            self._outgoing_bytes += self._session.publish(
                channel, data, receipt, now_ns, nats.max_payload
            )
        except BaseException:
            self._publishers.wake()  # the place that was waited for is not taken
            raise
        if self._outgoing_bytes >= _WRITE_BYTES:
            self._flush()
        elif not self._flush_scheduled:
            self._schedule_flush()
        if now_ns + self._pub_ack_wait_ns < self._armed_ns:
            self._arm()
        return receipt

    async def _wait_for_place(self) -> None:
        if self._session.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        try:
            async with asyncio.timeout(self._options.pub_ack_wait):
                if self._congested:
                    await self._transport.drained()
                    self._congested = False
                if self._publishers.must_wait:
                    await self._publishers.wait()
        except TimeoutError:
            raise PublishTimeoutError("stan: publish ack timeout") from None

    # Subscribing

    async def subscribe(
        self,
        channel: str,
        cb: MessageCallback | None = None,
        *,
        queue: str = "",
        durable: str = "",
        start_at: StartPosition | str | None = None,
        sequence: int | None = None,
        time: datetime.datetime | float | None = None,
        delta: datetime.timedelta | float | None = None,
        manual_acks: bool = False,
        max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
        ack_wait: float = DEFAULT_ACK_WAIT_S,
    ) -> Subscription:
        """Subscribe to a channel.

        With `cb`, a plain or an async function of one Message, messages are handed to it one
        at a time; without it, iterate: ``async for msg in sub``. Options, all by name:

        - `queue`: the queue group to join; `durable`: the name under which the position is kept
        - `start_at` ("new", "last", "first"), `sequence`, `time` or `delta`: where to begin,
          by default with new messages (see SubscribeOptions)
        - `manual_acks`: the callback acknowledges with ``msg.ack()``; otherwise a message is
          acknowledged when the callback is done with it
        - `max_in_flight` (1024): how many unacknowledged messages the server sends
        - `ack_wait` (30.0): whole seconds before the server sends an unacknowledged one again

        Raises ConfigError for options that make no sense, ConnectionClosedError,
        SubscribeError with the server's words, and RequestTimeoutError.
        """
        chosen = SubscribeOptions(
            queue=queue,
            durable=durable,
            start_at=start_at,
            sequence=sequence,
            time=time,
            delta=delta,
            manual_acks=manual_acks,
            max_in_flight=max_in_flight,
            ack_wait=ack_wait,
        )
        if self._session.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        feed = self._session.open_feed(channel, self._transport.nats.new_inbox())
        try:
            token = await self._listen(feed.inbox)
        except BaseException:
            self._session.close_feed(feed)
            raise
        subscription = Subscription(self, feed, cb, chosen, token)
        self._subscriptions[feed] = subscription
        try:
            feed.open(await self._request_subscription(feed, chosen))
        except BaseException:
            self._drop(subscription)
            await self._forget(token)
            raise
        subscription._start()
        return subscription

    async def _request_subscription(self, feed: Feed, options: SubscribeOptions) -> str:
        """Ask the server; returns the ack inbox."""
        subjects = self._session.subjects
        payload = self._session.subscribe_request(feed, options, time_ns())
        try:
            answer = await self._request(subjects.subRequests, payload)
        except (TimeoutError, asyncio.CancelledError) as error:
            # The server may have accepted it all the same: have it closed.
            if subjects.subCloseRequests:
                closing = self._session.unsubscribe_request(feed)
                self._send(pub(subjects.subCloseRequests, closing))
            if isinstance(error, asyncio.CancelledError):
                raise
            raise RequestTimeoutError("stan: subscribe request timeout") from None
        if self._session.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        return self._session.read_subscribed(answer)

    async def _end_subscription(self, subscription: Subscription, unsubscribe: bool) -> None:
        """See Subscription.unsubscribe and close."""
        if subscription._is_ended:
            raise InvalidSubscriptionError(INVALID_SUBSCRIPTION)
        feed = subscription._feed
        self._drop(subscription)
        if self._session.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        await self._forget(subscription._token)
        subjects = self._session.subjects
        subject = subjects.unsubRequests if unsubscribe else subjects.subCloseRequests
        if not subject:
            raise SubscribeError("stan: not supported by server")
        try:
            answer = await self._request(subject, self._session.unsubscribe_request(feed))
        except TimeoutError:
            what = "unsubscribe" if unsubscribe else "close"
            raise RequestTimeoutError(f"stan: {what} request timeout") from None
        self._session.read_subscribed(answer)
        subscription._is_ended = True

    def _drop(self, subscription: Subscription) -> None:
        subscription._is_closed = True
        subscription._stop()
        self._session.close_feed(subscription._feed)
        self._subscriptions.pop(subscription._feed, None)

    # Closing

    async def close(self) -> None:
        """Close the connection: publishes without an ack fail, subscriptions end (durables
        keep their position), an own NATS connection is closed, a lent one is not.

        Closing again does nothing. Raises RequestTimeoutError when the server did not
        answer; with `allow_close_retry` closing can then be tried again.
        """
        async with self._closing:
            if self._is_released or self._is_lost:
                return
            self._end()
            try:
                await self._request_close()
            except (TimeoutError, asyncio.CancelledError) as error:
                if not self._options.allow_close_retry:
                    await self._release()
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise RequestTimeoutError("stan: close request timeout") from None
            except BaseException:
                await self._release()
                raise
            await self._release()

    async def _request_close(self) -> None:
        subject = self._session.subjects.closeRequests
        answer = await self._request(subject, self._session.close_request())
        self._session.read_closed(answer)

    def _end(self, lost: ClientError | None = None) -> None:
        """Stop the session and whatever depends on it. What was decided is still sent."""
        self._session.end()
        self._arm()
        for subscription in list(self._subscriptions.values()):
            subscription._stop(lost)
        self._subscriptions.clear()
        self._publishers.fail(ConnectionClosedError, CONNECTION_CLOSED)
        self._settle()
        self._flush()

    async def _release(self) -> None:
        """Give the transport back: no interest is left on a lent one, an own one is closed."""
        if self._is_released:
            return
        self._is_released = True
        for token in self._tokens:
            await self._transport.forget(token)
        self._tokens.clear()
        await self._transport.close()

    def _lose(self, reason: ClientError) -> None:
        """The connection is lost, for this reason. Tells the user once, from a task."""
        self._is_lost = True
        self._end(reason)
        self._ending = self._loop.create_task(self._tell_lost(reason))

    async def _tell_lost(self, reason: ClientError) -> None:
        await self._release()
        if self._lost_callback is None:
            _logger.error("connection %s lost: %s", self.client_id, reason)
            return
        try:
            result = self._lost_callback(self, reason)
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "stan: the connection lost callback failed", "exception": error}
            )

    def _nats_closed(self) -> None:
        """The owned NATS connection ended for good, whoever did it."""
        if hasattr(self, "_session") and not self._session.ended:
            self._session.lose(ConnectionLostError(NATS_CLOSED))
            self._drain()

    # The turn of the loop

    def _receive(self, frames: list[Frame]) -> None:
        self._session.receive(frames)
        self._drain()

    def _drain(self) -> None:
        """Hand on what the session decided."""
        session = self._session
        if session.operations and not self._flush_scheduled:
            self._schedule_flush()
        if session.ready:
            ready, session.ready = session.ready, []
            for feed in ready:
                subscription = self._subscriptions.get(feed)
                if subscription is not None:
                    subscription._deliver()
        if session.window.settled:
            self._settle()
        if session.lost is not None and not self._is_lost:
            self._lose(session.lost)

    def _settle(self) -> None:
        window = self._session.window
        settled, window.settled = window.settled, []
        for receipt, error in settled:
            receipt.settle(error)
        self._publishers.wake()

    def _send(self, operation: bytes) -> None:
        """Send with the others of this turn."""
        self._session.operations.append(operation)
        if not self._flush_scheduled:
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        self._flush_scheduled = True
        self._loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        operations = self._session.operations
        self._outgoing_bytes = 0
        if operations and not self._is_released:
            self._session.operations = []
            self._transport.write(operations)
            self._congested = self._transport.unsent_bytes > _CONGESTED_BYTES

    async def _request(self, subject: str, payload: bytes) -> bytes:
        """A request that leaves after everything that was sent before."""
        self._flush()
        return await request(self._transport, subject, payload, self._options.connect_wait)

    def _arm(self) -> None:
        """Have the timer fire at the session's next deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_ns = self._session.next_deadline_ns
        self._armed_ns = float("inf") if deadline_ns is None else deadline_ns
        if deadline_ns is not None:
            wait_s = max(0.0, (deadline_ns - monotonic_ns()) / 1e9)
            self._timer = self._loop.call_later(wait_s, self._tick)

    def _tick(self) -> None:
        if self._transport.nats.is_closed:
            self._session.lose(ConnectionLostError(NATS_CLOSED))
        self._session.tick(monotonic_ns())
        self._drain()
        if not self._session.ended:
            self._arm()

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except ClientError:
            if error is None:  # what went wrong inside the block matters more
                raise
