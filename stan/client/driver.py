"""The session on a transport, with a clock and a loop. The only place where they meet.

After whatever happens (a chunk of frames, a timer, a call) `drain` hands on what the session
decided; operations leave in one write a turn of the loop, in the order in which they were
made, so an ack given before a close leaves before it. Nothing here decides what the protocol
means. While NATS is away nothing is written; what the session kept leaves when it is back.
"""

import asyncio
import logging
import random
import sys
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from stan.client.announcer import Announcer
from stan.client.events import Event
from stan.client.feed import Consumer, Feed
from stan.client.options import ConnectOptions
from stan.client.patience import PROBE_NS
from stan.client.protocol import CONNECTION_CLOSED, FORGOTTEN, close_request, read_closed
from stan.client.publishers import Publishers
from stan.client.receipt import Receipt
from stan.client.requests import Answer, Unanswered
from stan.client.session import Session
from stan.client.transport import NATS_CLOSED, NatsClient
from stan.client.uplink import Uplink
from stan.errors import (
    ClientError,
    ConnectionClosedError,
    ConnectionLostError,
    InvalidConnectionError,
    PublishTimeoutError,
    RequestTimeoutError,
    SubscribeError,
)
from stan.identifiers import GUID_STEM_CHARS, new_id
from stan.wire.frames import Frame

_logger = logging.getLogger("stan.client")

# Written without waiting for the end of the turn, so that a long run of publishes starts
# to travel before it is complete.
_WRITE_BYTES = 64 * 1024
# Above this much unsent, publishing waits for the socket.
_CONGESTED_BYTES = 4 * 1024 * 1024
# How long to wait before asking again what nobody listened to.
_NOBODY_S = 0.1

OnEvent = Callable[[Event], None]


class Driver:
    """Runs a session. `on_event` is told of its events, of the loss after everything else."""

    def __init__(self, options: ConnectOptions, on_event: OnEvent) -> None:
        self.options = options
        self.uplink = Uplink(options, self)
        self.session: Session
        self.announcer = Announcer()
        self.consumers: dict[Feed, Consumer] = {}
        self.is_released = False
        self.is_lost = False
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self.publishers: Publishers
        self._fails = not options.resume or options.while_disconnected == "fail"
        self.is_congested = False
        self._flush_scheduled = False
        self._outgoing_bytes = 0
        patience_ns = PROBE_NS if options.resume else sys.maxsize
        self._first_look_ns = min(int(options.pub_ack_wait * 1e9), patience_ns)
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns: float = float("inf")
        self._doubted = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._ending: asyncio.Task[None] | None = None

    # Opening

    async def open(
        self, urls: list[str], client: NatsClient | None, nats_options: dict[str, Any]
    ) -> None:
        """Reach NATS and register. Raises ConnectError, ConfigError, InvalidConnectionError."""
        await self.uplink.open(urls, client, nats_options)
        inbox = self.nats.new_inbox()
        self.session = Session(
            self.options, inbox, new_id(), new_id(GUID_STEM_CHARS), random.random
        )
        self.publishers = Publishers(
            self.options.max_pub_acks_inflight,
            self.options.max_pub_bytes_inflight,
            self.session.window,
        )
        try:
            await self.uplink.listen(self.session.inbox_pattern)
            await self._register()
        except BaseException:
            self.session.end()
            await self.release()
            raise

    @property
    def nats(self) -> NatsClient:
        """The NATS connection of the moment."""
        return self.uplink.transport.nats

    async def _register(self) -> None:
        opened: asyncio.Future[ClientError | None] = self._loop.create_future()

        def tell(error: ClientError | None) -> None:
            if not opened.done():
                opened.set_result(error)

        self.session.open(monotonic_ns(), tell)
        self.drain()
        self.flush()
        error = await opened
        if error is not None:
            raise error

    # Publishing

    async def wait_for_place(self, since_ns: int) -> None:
        """Wait until neither the socket nor the window is full. Raises what `publish_async`
        raises."""
        self._refuse()
        wait_s = self.options.pub_ack_wait - (monotonic_ns() - since_ns) / 1e9
        try:
            async with asyncio.timeout(wait_s):
                if self.is_congested:
                    await self.uplink.transport.drained()
                    self.is_congested = False
                if self.publishers.must_wait:
                    await self.publishers.wait()
        except TimeoutError:
            raise PublishTimeoutError("stan: publish ack timeout") from None

    def _refuse(self) -> None:
        """Raises the reason why nothing can be published now, if there is one."""
        if self.session.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        if self._fails:
            nats = self.nats
            if not nats.is_connected:
                raise InvalidConnectionError(
                    NATS_CLOSED if nats.is_closed else "nats: reconnecting"
                )
            if not self.session.is_up:
                raise InvalidConnectionError("stan: reconnecting")

    def publish(
        self, channel: str, data: Any, receipt: Receipt, since_ns: int, message_id: str
    ) -> None:
        """Send a message, or keep it until the server is back."""
        try:
            if self._fails:
                self._refuse()
            self._outgoing_bytes += self.session.publish(
                channel, data, receipt, since_ns, self.uplink.transport.nats.max_payload, message_id
            )
        except BaseException:
            self.publishers.wake()  # the place that was waited for is not taken
            raise
        if self._outgoing_bytes >= _WRITE_BYTES:
            self.flush()
        elif not self._flush_scheduled:
            self._schedule_flush()
        if since_ns + self._first_look_ns < self._armed_ns:
            self._arm()

    @property
    def can_ack(self) -> bool:
        """Whether an ack makes sense: now, or after an interruption."""
        if self.session.ended or self.uplink.is_gone:
            return False
        return self.options.resume or bool(self.nats.is_connected)

    # Requests

    async def until_up(self, deadline_s: float, what: str) -> None:
        """Wait until the server is there. Raises RequestTimeoutError when it is not until then,
        ConnectionClosedError, and without patience InvalidConnectionError."""
        self._refuse_closed()
        while not self.session.is_up:
            if self._fails:
                self._refuse()
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                async with asyncio.timeout_at(deadline_s):
                    await waiter
            except TimeoutError:
                raise RequestTimeoutError(f"stan: {what} request timeout") from None
            self._refuse_closed()

    def _refuse_closed(self) -> None:
        if self.session.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        if self.uplink.is_gone:
            raise InvalidConnectionError(NATS_CLOSED)

    async def ask(self, subject: str, payload: bytes) -> Answer:
        """A request that leaves after everything that was sent before."""
        if len(payload) > self.nats.max_payload:
            raise SubscribeError("nats: maximum payload exceeded")
        answered: asyncio.Future[Answer] = self._loop.create_future()

        def take(answer: Answer, now_ns: int) -> None:
            if not answered.done():
                answered.set_result(answer)

        reply = self.session.request(subject, payload, monotonic_ns(), take)
        self.drain()
        self.flush()
        try:
            answer = await answered
        except asyncio.CancelledError:
            self.session.requests.forget(reply)
            raise
        if answer is Unanswered.NOBODY and not self.session.ended:
            self.session.doubt(monotonic_ns())
            self.drain()
        return answer

    async def ask_again(
        self, subject: str, payload: bytes, deadline_s: float, what: str
    ) -> bytes | None:
        """Ask once. None when an interruption took the answer: wait, and ask again.

        Raises RequestTimeoutError, and ConnectionClosedError when the connection ended."""
        await self.until_up(deadline_s, what)
        answer = await self.ask(subject, payload)
        if self.session.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        if isinstance(answer, bytes):
            return answer
        if (answer is Unanswered.LATE and self.session.is_up) or not self.options.resume:
            raise RequestTimeoutError(f"stan: {what} request timeout")
        if answer is Unanswered.NOBODY:  # while pings are answered, perhaps
            await asyncio.sleep(_NOBODY_S)
        return None

    def doubts(self, error: ClientError) -> bool:
        """Whether this refusal is a reason to ask if the server still knows us. Once for each
        registration: then it means what it says."""
        session = self.session
        if not self.options.resume or str(error) not in FORGOTTEN or session.ended:
            return False
        if not session.is_up:
            return True
        if self._doubted == session.registration:
            return False
        self._doubted = session.registration
        session.doubt(monotonic_ns())
        self.drain()
        return True

    async def ping(self, deadline_s: float) -> None:
        """Wait for a sign of the server that follows on all that was sent before. Raises what
        `ask_again` raises."""
        subject, payload = self.session.ping_request()
        answer: bytes | None = None
        while subject and answer is None:
            answer = await self.ask_again(subject, payload, deadline_s, "flush")

    # The end

    def end(self, lost: ClientError | None = None) -> None:
        """Stop the session and whatever depends on it. What was decided is still sent."""
        self.session.end()
        self._arm()
        for consumer in list(self.consumers.values()):
            consumer._stop(lost)
        self.consumers.clear()
        self.publishers.fail(ConnectionClosedError, CONNECTION_CLOSED)
        self._settle()
        self._wake()
        self.flush()
        if lost is None:
            self.announcer.end()

    async def say_good_bye(self) -> None:
        """Tell the server. Raises TimeoutError, InvalidConnectionError, and without `resume`
        ConnectionLostError when the server knows us no more."""
        async with asyncio.timeout(self.options.connect_wait):
            while not self.nats.is_connected:
                if self.uplink.is_gone:
                    raise InvalidConnectionError(NATS_CLOSED)
                await asyncio.sleep(0.02)
            self.flush()
            subject = self.session.subjects.closeRequests
            answer = await self.ask(subject, close_request(self.options.client_id))
        if isinstance(answer, Unanswered):
            raise TimeoutError
        try:
            read_closed(answer)
        except ConnectionLostError:
            if not self.options.resume:
                raise

    async def release(self) -> None:
        """Give the transport back: no interest is left on a lent one, an own one is closed."""
        if self.is_released:
            return
        self.is_released = True
        if self._timer is not None:
            self._timer.cancel()
        await self.uplink.release()

    def _lose(self, reason: ClientError) -> None:
        """The connection is lost, for this reason. Tells the user once, from a task."""
        self.is_lost = True
        self.end(reason)
        self._ending = self._loop.create_task(self._tell_lost())

    async def _tell_lost(self) -> None:
        events, self.session.events = self.session.events, []
        await self.release()
        for event in events:
            self._on_event(event)
        self.announcer.end()

    # What NATS does

    def frames(self, frames: list[Frame]) -> None:
        self.session.receive(frames, monotonic_ns())
        self.drain()

    def down(self, reason: str) -> None:
        if self._is_running():
            self.session.disconnected(monotonic_ns(), reason)
            self.drain()

    def up(self) -> None:
        if self._is_running():
            self.session.reconnected(monotonic_ns())
            self.drain()

    def gone(self, reason: ClientError) -> None:
        if self._is_running():
            self.session.lose(reason)
            self.drain()

    def _is_running(self) -> bool:
        return hasattr(self, "session") and not self.session.ended

    # The turn of the loop

    def drain(self) -> None:
        """Hand on what the session decided."""
        session = self.session
        if session.operations and not self._flush_scheduled:
            self._schedule_flush()
        if session.ready:
            ready, session.ready = session.ready, []
            for feed in ready:
                consumer = self.consumers.get(feed)
                if consumer is not None:
                    consumer._deliver()
        if session.window.settled:
            self._settle()
        if session.is_stirred:
            self._stirred()

    def _stirred(self) -> None:
        """More than traffic: an interruption, a return, an end."""
        session = self.session
        session.is_stirred = False
        for feed, error in session.failed:
            consumer = self.consumers.pop(feed, None)
            if consumer is not None:
                consumer._stop(error)
        session.failed.clear()
        if session.lost is not None:
            if not self.is_lost:
                self._lose(session.lost)
            return
        events, session.events = session.events, []
        for event in events:
            self._on_event(event)
        if session.is_up:
            self._wake()
        self._arm()

    def _wake(self) -> None:
        """Let those go on who waited for the server, or the end."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _settle(self) -> None:
        window = self.session.window
        settled, window.settled = window.settled, []
        for receipt, error in settled:
            receipt.settle(error)
        self.publishers.wake()

    def send(self, operation: bytes) -> None:
        """Send with the others of this turn."""
        self.session.operations.append(operation)
        if not self._flush_scheduled:
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        self._flush_scheduled = True
        self._loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._flush_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what is to be sent, if NATS is there."""
        session = self.session
        operations = session.operations
        self._outgoing_bytes = 0
        if not operations or self.is_released:
            return
        if not session.pulse.is_nats_up and not session.ended:
            return
        session.operations = []
        if self.uplink.transport.write(operations):
            session.written()
            self.is_congested = self.uplink.transport.unsent_bytes > _CONGESTED_BYTES
        elif self.options.resume and not session.ended:
            session.operations = operations
            self.uplink.check()

    def _arm(self) -> None:
        """Have the timer fire at the session's next deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_ns = self.session.next_deadline_ns
        self._armed_ns = float("inf") if deadline_ns is None else deadline_ns
        if deadline_ns is not None and not self.is_released:
            wait_s = max(0.0, (deadline_ns - monotonic_ns()) / 1e9)
            self._timer = self._loop.call_later(wait_s, self._tick)

    def _tick(self) -> None:
        if self.uplink.is_gone:
            self.uplink.check()
        self.session.tick(monotonic_ns())
        self.drain()
        self._arm()
