"""The connection as the user holds it: what can be done with it, and what goes wrong then.

The work is the driver's, which runs the session. Here are the calls, their words for people,
and what they raise: nothing but StanErrors.
"""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic_ns, time_ns
from types import TracebackType

from stan.client.admin import Admin, admin
from stan.client.announcer import Events
from stan.client.driver import Driver
from stan.client.events import Event, Gap, Interrupted, Resumed
from stan.client.feed import Feed
from stan.client.options import (
    DEFAULT_ACK_WAIT_S,
    DEFAULT_MAX_IN_FLIGHT,
    ConnectOptions,
    StartAt,
    StartPosition,
    SubscribeOptions,
    check_channel,
)
from stan.client.protocol import read_subscribed
from stan.client.receipt import AckCallback, Receipt
from stan.client.subscription import MessageCallback, Subscription
from stan.client.transport import NatsClient
from stan.errors import (
    ClientError,
    RequestTimeoutError,
    SubscribeError,
)

ConnectionLostCallback = Callable[["Connection", ClientError], Awaitable[None] | None]
InterruptedCallback = Callable[["Connection", str], Awaitable[None] | None]
ResumedCallback = Callable[["Connection", Resumed], Awaitable[None] | None]

_logger = logging.getLogger("stan.client")


class Connection:
    """A connection to a streaming server. Made by `stan.connect`; not by hand."""

    def __init__(
        self,
        options: ConnectOptions,
        connection_lost_cb: ConnectionLostCallback | None = None,
        interrupted_cb: InterruptedCallback | None = None,
        resumed_cb: ResumedCallback | None = None,
    ) -> None:
        self._options = options
        self._lost_callback = connection_lost_cb
        self._interrupted_callback = interrupted_cb
        self._resumed_callback = resumed_cb
        self._driver = Driver(options, self._tell)
        self._closing = asyncio.Lock()

    def __repr__(self) -> str:
        state = "connected" if self.is_connected else "interrupted"
        state = "closed" if self.is_closed else state
        return f"<Connection {self.client_id!r} to {self.cluster_id!r}, {state}>"

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
        driver = self._driver
        keeps = driver.session.ended and not self._options.allow_close_retry
        return None if driver.is_released or keeps else driver.nats

    @property
    def is_closed(self) -> bool:
        """Whether the connection was closed, or lost for good."""
        return self._driver.session.ended

    @property
    def is_connected(self) -> bool:
        """Whether NATS is connected and the server answers, as far as is known right now."""
        driver = self._driver
        return driver.session.is_up and bool(driver.nats.is_connected)

    @property
    def admin(self) -> Admin:
        """The cluster's admin service, asked over this connection's NATS."""
        return admin(self._driver.nats, self._options.cluster_id)

    def max_data_size(self, channel: str) -> int:
        """How many bytes of data fit one message of this channel.

        Raises PublishError when the channel's name is invalid.
        """
        driver = self._driver
        return driver.session.window.max_data_bytes(channel, driver.nats.max_payload)

    def events(self) -> Events:
        """What becomes of the connection from now on: ``async for event in sc.events()`` gives
        Interrupted, Resumed, Gap and Lost, and ends with the connection."""
        return self._driver.announcer.events()

    def _tell(self, event: Event) -> None:
        """An event of the session: for callbacks, for those who iterate, and for the log."""
        announcer = self._driver.announcer
        announcer.put(event)
        if isinstance(event, Interrupted):
            if self._interrupted_callback is not None:
                announcer.call(self._interrupted_callback, self, event.reason)
            else:
                _logger.warning("connection %s interrupted: %s", self.client_id, event.reason)
        elif isinstance(event, Resumed):
            if self._resumed_callback is not None:
                announcer.call(self._resumed_callback, self, event)
            else:
                _logger.warning("connection %s resumed after %.1f s", self.client_id, event.seconds)
        elif isinstance(event, Gap):
            _logger.warning("connection %s: %s", self.client_id, event)
        elif self._lost_callback is None:
            _logger.error("connection %s lost: %s", self.client_id, event.error)
        else:
            announcer.call(self._lost_callback, self, event.error)

    # Publishing

    async def publish(
        self, channel: str, data: bytes | bytearray | memoryview, *, msg_id: str = ""
    ) -> str:
        """Publish and wait until the server stored it; returns the guid.

        Raises what `publish_async` raises, and what awaiting its receipt raises.
        """
        return await (await self.publish_async(channel, data, msg_id=msg_id))

    async def publish_async(
        self,
        channel: str,
        data: bytes | bytearray | memoryview,
        callback: AckCallback | None = None,
        *,
        msg_id: str = "",
    ) -> Receipt:
        """Publish without waiting for the ack. Waits only while the window is full.

        The receipt has the `guid` and can be awaited; `callback(guid, error)`, a plain or an
        async function, is called exactly once, with None when the message is stored. During an
        interruption the message waits in the window. `msg_id` makes the publish idempotent: a
        second one with the same, on the same channel and within the server's window, is
        acknowledged and not stored again.

        Nothing was sent when this raises: ConnectionClosedError, PublishError for an invalid
        channel, PayloadTooLargeError, ConfigError for arguments that make no sense, or
        PublishTimeoutError when no place became free within `pub_ack_wait`; and, unless
        publishes wait while disconnected, InvalidConnectionError. Cancelling it while it waits
        is safe.
        """
        driver = self._driver
        since_ns = monotonic_ns()
        if driver.is_congested or driver.publishers.must_wait:
            await driver.wait_for_place(since_ns)
        receipt = Receipt(callback)
        driver.publish(channel, data, receipt, since_ns, msg_id)
        return receipt

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until the fate of all that was published so far is known, and the server has
        seen all acks given so far.

        Raises RequestTimeoutError after `timeout` seconds (by default `pub_ack_wait`), and
        ConnectionClosedError.
        """
        deadline_s = self._deadline_s(timeout)
        try:
            async with asyncio.timeout_at(deadline_s):
                for _, receipt, _ in list(self._driver.session.window.waiting.values()):
                    with suppress(ClientError):
                        await receipt
                await self._driver.ping(deadline_s)
        except TimeoutError:
            raise RequestTimeoutError("stan: flush timeout") from None

    def _deadline_s(self, timeout: float | None = None) -> float:
        wait_s = self._options.pub_ack_wait if timeout is None else timeout
        return asyncio.get_running_loop().time() + wait_s

    # Subscribing

    async def subscribe(
        self,
        channel: str,
        cb: MessageCallback | None = None,
        *,
        queue: str = "",
        durable: str = "",
        start_at: StartPosition | StartAt | None = None,
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

        Waits for the server during an interruption, up to `pub_ack_wait`. Raises ConfigError
        for options that make no sense, ConnectionClosedError, SubscribeError with the server's
        words, and RequestTimeoutError.
        """
        check_channel(channel)
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
        driver, deadline_s = self._driver, self._deadline_s()
        while True:
            await driver.until_up(deadline_s, "subscribe")
            feed = driver.session.open_feed(channel, chosen, monotonic_ns(), time_ns())
            subscription = Subscription(driver, feed, cb, chosen)
            driver.consumers[feed] = subscription
            try:
                if await self._ask_for(feed, deadline_s):
                    subscription._start()
                    return subscription
            except BaseException as error:
                self._give_up(feed, isinstance(error, RequestTimeoutError | asyncio.CancelledError))
                raise
            self._give_up(feed, True)

    async def _ask_for(self, feed: Feed, deadline_s: float) -> bool:
        """Whether the server accepted the subscription; otherwise it is to be asked again."""
        driver, session = self._driver, self._driver.session
        subject, payload = session.subjects.subRequests, feed.request.SerializeToString()
        answer = await driver.ask_again(subject, payload, deadline_s, "subscribe")
        if answer is None:
            return False
        try:
            feed.open(read_subscribed(answer), session.registration)
        except SubscribeError as error:
            if not driver.doubts(error):
                raise
            return False
        return True

    def _give_up(self, feed: Feed, may_be_accepted: bool) -> None:
        """Nothing comes of this subscription request."""
        driver = self._driver
        driver.session.close_feed(feed)
        driver.consumers.pop(feed, None)
        if may_be_accepted and not driver.session.ended:
            driver.session.abandon(feed)
            driver.drain()

    # Closing

    async def close(self) -> None:
        """Close the connection: publishes without an ack fail, subscriptions end (durables
        keep their position), an own NATS connection is closed, a lent one is not.

        Closing again does nothing. Raises RequestTimeoutError when the server did not
        answer within `connect_wait`; with `allow_close_retry` closing can then be tried again.
        """
        driver = self._driver
        async with self._closing:
            if driver.is_released or driver.is_lost:
                return
            driver.end()
            try:
                await driver.say_good_bye()
            except (TimeoutError, asyncio.CancelledError) as error:
                if not self._options.allow_close_retry:
                    await driver.release()
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise RequestTimeoutError("stan: close request timeout") from None
            except BaseException:
                await driver.release()
                raise
            await driver.release()

    async def drain(self, timeout: float | None = None) -> None:
        """Finish what has begun, then close: subscriptions take in nothing more, hand out what
        they have and acknowledge it; publishes get their acks.

        What takes longer than `timeout` seconds (by default `pub_ack_wait`) is not waited for.
        Raises what `close` raises.
        """
        deadline_s = self._deadline_s(timeout)
        loop = asyncio.get_running_loop()
        for subscription in list(self._driver.consumers.values()):
            subscription._begin_to_drain()
        try:
            for subscription in list(self._driver.consumers.values()):
                await subscription._drained(deadline_s)
            await self.flush(max(0.0, deadline_s - loop.time()))
        except ClientError as error:
            _logger.debug("connection %s not drained: %s", self.client_id, error)
        await self.close()

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
