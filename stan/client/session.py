"""The protocol of one connection, without a connection: bytes in, decisions, bytes out.

No asyncio, no sockets, no clock: `now_ns` is an argument; the inbox, identifiers and
randomness are given. All that comes, comes on subjects below the one inbox. After each call
the owner drains what was decided: `operations` (whole NATS PUB operations, in order),
`ready` (feeds that got messages), `window.settled` (publishes whose fate is known), `failed`
(feeds that ended) and `events`. Once `ended` is set nothing is sent or delivered any more;
`lost` says why, when it was not the user who ended it.

`pulse` tells whether the server is there, and `patience` when publishes get no acks. While it
is not there, publishes stay in the window and acks in `operations`. When it answers and knows
us, everything goes on; when it does not know us, we register and `returning` subscribes again.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stan.client import protocol
from stan.client.events import Event, Interrupted, Lost, Resumed
from stan.client.feed import Feed
from stan.client.options import ConnectOptions, SubscribeOptions
from stan.client.patience import Patience
from stan.client.pulse import Pulse, Step
from stan.client.requests import Answer, OnAnswer, Requests, Unanswered
from stan.client.returning import Returning
from stan.client.window import Window
from stan.errors import (
    ClientError,
    ClientIDTakenError,
    ConnectError,
    ConnectionClosedError,
    ConnectionLostError,
    ConnectTimeoutError,
)
from stan.units import SECOND_NS
from stan.wire.frames import Frame, pub
from stan.wire.messages import parse
from stan.wire.stan_pb2 import ConnectResponse, Ping, PingResponse, SubscriptionRequest

if TYPE_CHECKING:
    from stan.client.receipt import Receipt

OnOpened = Callable[[ClientError | None], None]


class Session:
    """One client ID's conversation with the server."""

    def __init__(
        self,
        options: ConnectOptions,
        inbox: str,
        connection_id: str,
        guid_stem: str,
        random: Callable[[], float],
    ) -> None:
        self.operations: list[bytes] = []
        self.ready: list[Feed] = []
        self.failed: list[tuple[Feed, ClientError]] = []
        self.events: list[Event] = []
        self.is_up = False
        """Whether the server is there and knows us, as far as we know."""
        self.is_stirred = False
        """Set when the next deadline may have come closer; the owner clears it."""
        self.registration = 0
        """How often we registered: what an earlier one agreed on is gone."""
        self.ended = False
        self.lost: ClientError | None = None
        self.subjects = ConnectResponse()
        self._options = options
        self._inbox = inbox
        self._connection_id = connection_id
        self._ack_subject = f"{inbox}.acks".encode()
        self._heartbeat_subject = b""
        self._ping_subject = b""
        self._ping_operation = b""
        self._feeds: dict[bytes, Feed] = {}
        self._names = 0
        self.requests = Requests()
        self._connect_wait_ns = int(options.connect_wait * SECOND_NS)
        self._heard_ns = 0
        self._patience = Patience()
        self.pulse = Pulse(options, random)
        self.returning = Returning(self, random)
        self.window = Window(
            client_id=options.client_id,
            connection_id=connection_id,
            guid_stem=guid_stem,
            ack_inbox=f"{inbox}.acks",
            ack_wait_ns=int(options.pub_ack_wait * SECOND_NS),
        )
        self.window.keeps_refused = options.resume

    @property
    def inbox_pattern(self) -> str:
        """What the owner must listen to before anything is sent."""
        return f"{self._inbox}.*"

    def new_inbox(self, kind: str) -> str:
        """Another subject on which we are listened to."""
        self._names += 1
        return f"{self._inbox}.{kind}{self._names}"

    # Registering

    def open(self, now_ns: int, on_opened: OnOpened) -> None:
        """Register. `on_opened` is told the error, or None when the session is up."""

        def take(answer: Answer, now_ns: int) -> None:
            if isinstance(answer, Unanswered):
                on_opened(ConnectTimeoutError(protocol.CONNECT_TIMEOUT))
                return
            try:
                self._accept(answer, now_ns)
            except ConnectError as error:
                on_opened(error)
            else:
                self._heard_ns = now_ns
                on_opened(None)

        self._ask_to_register(now_ns, take)

    def _ask_to_register(self, now_ns: int, on_answer: OnAnswer) -> None:
        # Inboxes of its own: what the server still sends to those of an earlier registration,
        # is no longer for us.
        self._heartbeat_subject = self.new_inbox("heartbeats").encode()
        self._ping_subject = self.new_inbox("pings").encode()
        payload = protocol.connect_request(
            self._options, self._heartbeat_subject.decode(), self._connection_id
        )
        self.request(self._options.discover_subject, payload, now_ns, on_answer)

    def _accept(self, payload: bytes, now_ns: int) -> None:
        """Take the answer. Raises ConnectError with the server's words when it refuses."""
        response = protocol.read_connected(payload)
        self.subjects = response
        self.registration += 1
        dedupe_ns = response.dedupeWindow * 1_000_000 if self._options.resends else 0
        self.window.address(response.pubPrefix, dedupe_ns)
        interval_ns = 0
        if response.pingRequests and response.pingInterval > 0:
            interval_ns = response.pingInterval * SECOND_NS
            self._ping_operation = pub(*self.ping_request(), self._ping_subject)
        self.pulse.registered(interval_ns, response.pingMaxOut, now_ns)
        self.is_up = True

    def _take_registered(self, answer: Answer, now_ns: int) -> None:
        """The answer to a registration after an interruption."""
        if self.ended or isinstance(answer, Unanswered):  # a close ends this registration, too
            self.pulse.not_registered(now_ns)
            return
        try:
            self._accept(answer, now_ns)
        except ClientIDTakenError as error:
            if self.pulse.taken(now_ns):
                self.lose(error)
        except ConnectError:
            self.pulse.not_registered(now_ns)
        else:
            self._resume(now_ns, is_registered_again=True)

    # Interruptions

    def disconnected(self, now_ns: int, reason: str) -> None:
        """NATS is gone. Only acks wait to be sent: a request has no answer any more."""
        if not self._options.resume or self.ended or not self.registration:
            return
        self.pulse.nats_down()
        self._interrupt(now_ns, reason)
        ack_heads = tuple(f"PUB {feed.ack_inbox} ".encode() for feed in self._feeds.values())
        self.operations = [one for one in self.operations if one.startswith(ack_heads)]
        self.requests.cut(now_ns)

    def reconnected(self, now_ns: int) -> None:
        """NATS is back."""
        if self._options.resume and not self.ended and self.registration:
            self._interrupt(now_ns, "nats: reconnected")
            self.pulse.nats_up(now_ns)
            self.is_stirred = True

    def written(self) -> None:
        """The owner wrote all operations. Publishes of an interruption are not among them."""
        if self.is_up:
            self.window.flushed()

    def _interrupt(self, now_ns: int, reason: str) -> None:
        """The server is out of reach, or seems to be. Nothing happens without `resume`."""
        if self._options.resume and self.is_up and self.pulse.interrupt(now_ns):
            if self.pulse.is_nats_up:
                self.window.flushed()  # what is in `operations` will still be written
            self.is_up = False
            self.is_stirred = True
            self.returning.pause()
            self.announce(Interrupted(reason))

    def _resume(self, now_ns: int, *, is_registered_again: bool) -> None:
        """The server is there and knows us."""
        self.is_up = self.is_stirred = True
        self.requests.cut(now_ns)  # what was asked before, nobody answers
        if is_registered_again:
            self.operations.clear()  # acks of what the server has forgotten
            established = [feed for feed in self._feeds.values() if feed.is_open]
            self.returning.add(established, self._heard_ns)
        else:
            self.window.settle_refused()
        self.returning.go_on(now_ns)
        repeated = self._send_again(now_ns)
        self._heard_ns = now_ns
        seconds = (now_ns - self.pulse.since_ns) / SECOND_NS
        self.returning.report(Resumed(seconds, repeated, is_registered_again), now_ns)

    def _send_again(self, now_ns: int) -> int:
        """Send what has no ack; returns how much of it was sent before."""
        self._patience.resent(now_ns)
        again, repeated = self.window.again(now_ns, self._options.resend)
        self.operations += again
        return repeated

    @property
    def _probe_due_ns(self) -> int | None:
        """When to ask the server about publishes that get no ack."""
        oldest_ns = self.window.oldest_ns
        if oldest_ns is None or not (self.is_up and self._options.resume and self.pulse.has_pings):
            return None
        return self._patience.due_ns(oldest_ns)

    def _probe(self, now_ns: int) -> None:
        """Ask, when it is time."""
        due_ns, oldest_ns = self._probe_due_ns, self.window.oldest_ns
        if due_ns is None or oldest_ns is None or due_ns > now_ns:
            return
        self.pulse.probed(now_ns)
        self.operations.append(self._ping_operation)
        self._patience.probed(now_ns, oldest_ns, self.window.recognises)

    def _step(self, now_ns: int) -> None:
        """Do what the pulse wants."""
        step = self.pulse.tick(now_ns)
        if step is Step.LOSE and self._options.resume:
            self._interrupt(now_ns, protocol.PINGS_UNANSWERED)
            step = self.pulse.tick(now_ns)
        if step is Step.PING:
            self.operations.append(self._ping_operation)
        elif step is Step.REGISTER:
            self.pulse.registering()
            self._ask_to_register(now_ns, self._take_registered)
        elif step is Step.LOSE:
            self.lose(ConnectionLostError(protocol.PINGS_UNANSWERED))
        elif step is Step.GIVE_UP:
            wait_s = self._options.give_up_after
            self.lose(ConnectionLostError(f"stan: no streaming server for {wait_s:g} seconds"))

    def announce(self, event: Event) -> None:
        """One more event for the user."""
        self.events.append(event)
        self.is_stirred = True

    # Requests

    def request(
        self, subject: str, payload: bytes, now_ns: int, on_answer: OnAnswer, wait_ns: int = 0
    ) -> str:
        """Ask the server something; returns where the answer is expected. `on_answer` is
        called once, from `receive`, `tick` or `disconnected`, unless it is withdrawn."""
        reply = self.new_inbox("answers")
        self.requests.add(reply, now_ns + (wait_ns or self._connect_wait_ns), on_answer)
        self.operations.append(pub(subject, payload, reply))
        self.is_stirred = True
        return reply

    def ping_request(self) -> tuple[str, bytes]:
        """Where pings go, "" for a server that wants none, and what they hold."""
        ping = Ping(connID=self._connection_id.encode()).SerializeToString()
        return self.subjects.pingRequests, ping

    def open_feed(self, channel: str, options: SubscribeOptions, now_ns: int, unix_ns: int) -> Feed:
        """A feed for a subscription that is to be asked for with its `request`."""
        inbox = self.new_inbox("feed")
        request = SubscriptionRequest(
            clientID=self._options.client_id, subject=channel, inbox=inbox
        )
        options.fill(request, unix_ns)
        feed = Feed(channel, inbox, request, now_ns)
        self._feeds[inbox.encode()] = feed
        return feed

    def close_feed(self, feed: Feed) -> None:
        """Deliver nothing more of this feed."""
        feed.stop()
        self._feeds.pop(feed.inbox.encode(), None)
        self.returning.remove(feed)

    def move_feed(self, feed: Feed, inbox: str, now_ns: int, heard_ns: int) -> SubscriptionRequest:
        """Have the feed on another inbox; returns the request with which it goes on there."""
        self._feeds.pop(feed.inbox.encode(), None)
        self._feeds[inbox.encode()] = feed
        return feed.ask_again(inbox, now_ns, heard_ns)

    @property
    def awaits_proof(self) -> bool:
        """Whether a feed does not know yet if it missed something."""
        return any(feed.awaits_proof for feed in self._feeds.values())

    def abandon(self, feed: Feed) -> None:
        """Have the server close a subscription that it may have accepted."""
        if self.subjects.subCloseRequests:
            closing = protocol.unsubscribe_request(self._options.client_id, feed)
            self.operations.append(pub(self.subjects.subCloseRequests, closing))

    # Traffic

    def publish(
        self,
        channel: str,
        data: bytes | bytearray | memoryview,
        receipt: "Receipt",
        now_ns: int,
        max_payload_bytes: int,
        message_id: str = "",
    ) -> int:
        """Send one message, or keep it until the server is back; returns how many bytes that
        adds to `operations`. `now_ns` is when its deadline began.

        Raises ConnectionClosedError, and what `Window.publish` raises.
        """
        if self.ended:
            raise ConnectionClosedError(protocol.CONNECTION_CLOSED)
        operation = self.window.publish(
            channel, data, receipt, now_ns, max_payload_bytes, message_id
        )
        if not self.is_up:
            return 0
        self.operations.append(operation)
        return len(operation)

    def receive(self, frames: list[Frame], now_ns: int) -> None:
        """Take a chunk of frames, those of one subject in a row at once."""
        position, count = 0, len(frames)
        while position < count:
            subject = frames[position][0]
            end = position + 1
            while end < count and frames[end][0] == subject:
                end += 1
            self._receive_run(subject, frames[position:end], now_ns)
            position = end
        if self.is_up:
            self._heard_ns = now_ns

    def _receive_run(self, subject: bytes, run: list[Frame], now_ns: int) -> None:
        if self.ended:  # only whoever closes still waits for an answer
            self.requests.answer(subject, run[0][2], now_ns)
        elif subject.startswith(self._ack_subject):
            self._patience.acked(now_ns)
            self.window.acknowledge([one[2] for one in run], subject[len(self._ack_subject) :])
            if self.window.is_doubted:
                self.window.is_doubted = False
                self.doubt(now_ns)
        elif (feed := self._feeds.get(subject)) is not None:
            feed.offer([payload for _, _, payload in run])
            if feed.gap is not None:
                self.returning.take_gap(feed, now_ns)
            elif self.returning.is_reporting:
                self.returning.tell(now_ns)
            if feed.is_open:
                self.ready.append(feed)
        elif subject == self._heartbeat_subject:
            self.operations += [pub(reply, b"") for _, reply, _ in run if reply]
        elif subject == self._ping_subject:
            for _, _, payload in run:
                self._receive_ping_response(payload, now_ns)
        else:
            self.requests.answer(subject, run[0][2], now_ns)

    def _receive_ping_response(self, payload: bytes | None, now_ns: int) -> None:
        if self.ended or not self.registration:
            return
        if payload is None:
            # Without `resume` it is neither good nor bad news: the ping stays unanswered.
            self._interrupt(now_ns, protocol.NO_SERVER)
            return
        try:
            error = parse(PingResponse, payload).error
        except ValueError:
            return
        if error:
            self.unknown(error, now_ns)
            return
        if self.pulse.answered(now_ns):
            self._resume(now_ns, is_registered_again=False)
        elif self._patience.wants_resend and self.is_up:
            self._send_again(now_ns)

    def unknown(self, words: str, now_ns: int) -> None:
        """The server says that it does not know us."""
        if not self._options.resume:
            self.lose(ConnectionLostError(words))
            return
        self._interrupt(now_ns, words)
        self.pulse.forgotten(now_ns)
        self._step(now_ns)

    def doubt(self, now_ns: int) -> None:
        """Nobody listened: the server is gone."""
        self._interrupt(now_ns, protocol.NO_SERVER)
        self._step(now_ns)

    # Time

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do, if nothing else happens."""
        deadlines = [self.requests.next_deadline_ns]
        if not self.ended:
            deadlines.append(self.window.next_deadline_ns)
            if self.registration:
                deadlines.append(self.pulse.next_deadline_ns)
                deadlines.append(self._probe_due_ns)
                deadlines.append(self.returning.next_deadline_ns)
        return min((at for at in deadlines if at is not None), default=None)

    def tick(self, now_ns: int) -> None:
        """Do what is due: give up, send a ping, find the server gone, or try again."""
        self.requests.expire(now_ns)
        if self.ended:
            return
        self.window.expire(now_ns)
        if self.registration:
            self.returning.tick(now_ns)
            self._probe(now_ns)
            self._step(now_ns)

    # The end

    def lose(self, reason: ClientError) -> None:
        """The connection is lost: everything open fails, and `lost` keeps the reason."""
        if not self.ended:
            self.lost = reason
            self.announce(Lost(reason))
            self.end()

    def end(self) -> None:
        """Stop for good. Publishes without an ack fail; acks already given still leave."""
        if not self.ended:
            self.ended = True
            self.is_up = False
            self.window.fail(ConnectionClosedError, protocol.CONNECTION_CLOSED)
            self._feeds.clear()
            self.ready.clear()
            self.returning.clear()
