"""The protocol of one connection, without a connection: bytes in, decisions, bytes out.

No asyncio, no sockets, no clock: `now_ns` is an argument, inboxes and identifiers are
given. After each call the owner drains three outputs: `operations` (whole NATS PUB
operations, in order), `ready` (feeds that got messages) and `window.settled` (publishes
whose fate is known). Once `ended` is set nothing is sent or delivered any more; `lost`
says why, when it was not the user who ended it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stan.client.feed import Feed
from stan.client.options import ConnectOptions, SubscribeOptions
from stan.client.window import Window
from stan.errors import (
    ClientError,
    ClientIDTakenError,
    ConnectError,
    ConnectionClosedError,
    ConnectionLostError,
    InvalidSubscriptionError,
    SubscribeError,
)
from stan.units import SECOND_NS
from stan.wire.frames import Frame, pub
from stan.wire.messages import parse
from stan.wire.stan_pb2 import (
    CloseRequest,
    CloseResponse,
    ConnectRequest,
    ConnectResponse,
    Ping,
    PingResponse,
    SubscriptionRequest,
    SubscriptionResponse,
    UnsubscribeRequest,
)

if TYPE_CHECKING:
    from stan.client.receipt import Receipt

PROTOCOL_LEVEL = 1
CONNECTION_CLOSED = "stan: connection closed"
INVALID_SUBSCRIPTION = "stan: invalid subscription"


@dataclass(frozen=True, slots=True)
class Inboxes:
    """The NATS subjects on which one connection listens."""

    heartbeat: str
    ping: str
    ack: str


class Session:
    """One client ID's conversation with the server."""

    def __init__(
        self, options: ConnectOptions, inboxes: Inboxes, connection_id: str, guid_stem: str
    ) -> None:
        self.operations: list[bytes] = []
        self.ready: list[Feed] = []
        self.ended = False
        self.lost: ClientError | None = None
        self.subjects = ConnectResponse()
        self._options = options
        self._inboxes = inboxes
        self._connection_id = connection_id
        self._guid_stem = guid_stem
        self._heartbeat_subject = inboxes.heartbeat.encode()
        self._ping_subject = inboxes.ping.encode()
        self._ack_subject = inboxes.ack.encode()
        self._feeds: dict[bytes, Feed] = {}
        self._pings_out = 0
        self._ping_max_out = options.ping_max_out
        self._ping_interval_ns = 0
        self._next_ping_ns: int | None = None
        self._ping_operation = b""
        self.window = self._make_window("")

    def _make_window(self, publish_prefix: str) -> Window:
        return Window(
            client_id=self._options.client_id,
            connection_id=self._connection_id,
            guid_stem=self._guid_stem,
            publish_prefix=publish_prefix,
            ack_inbox=self._inboxes.ack,
            ack_wait_ns=int(self._options.pub_ack_wait * SECOND_NS),
        )

    # Requests and what their answers mean

    def connect_request(self) -> bytes:
        """The payload of the connect request."""
        return ConnectRequest(
            clientID=self._options.client_id,
            heartbeatInbox=self._inboxes.heartbeat,
            protocol=PROTOCOL_LEVEL,
            connID=self._connection_id.encode(),
            pingInterval=int(self._options.ping_interval),
            pingMaxOut=self._options.ping_max_out,
        ).SerializeToString()

    def connected(self, payload: bytes, now_ns: int) -> None:
        """Take the answer. Raises ConnectError with the server's words when it refuses."""
        try:
            response = parse(ConnectResponse, payload)
        except ValueError:
            raise ConnectError("stan: malformed connect response") from None
        if response.error:
            taken = response.error == "stan: clientID already registered"
            raise (ClientIDTakenError if taken else ConnectError)(response.error)
        self.subjects = response
        self.window = self._make_window(response.pubPrefix)
        if response.pingRequests and response.pingInterval > 0:
            ping = Ping(connID=self._connection_id.encode()).SerializeToString()
            self._ping_operation = pub(response.pingRequests, ping, self._inboxes.ping)
            self._ping_interval_ns = response.pingInterval * SECOND_NS
            self._ping_max_out = response.pingMaxOut
            self._next_ping_ns = now_ns + self._ping_interval_ns

    def open_feed(self, channel: str, inbox: str) -> Feed:
        """A feed for messages on this inbox, which must be listened to."""
        feed = Feed(channel, inbox)
        self._feeds[inbox.encode()] = feed
        return feed

    def close_feed(self, feed: Feed) -> None:
        """Deliver nothing more of this feed."""
        feed.stop()
        self._feeds.pop(feed.inbox.encode(), None)

    def subscribe_request(self, feed: Feed, options: SubscribeOptions, unix_ns: int) -> bytes:
        """The payload of a subscription request."""
        request = SubscriptionRequest(
            clientID=self._options.client_id, subject=feed.channel, inbox=feed.inbox
        )
        options.fill(request, unix_ns)
        return request.SerializeToString()

    def unsubscribe_request(self, feed: Feed) -> bytes:
        """The payload that ends a subscription, by unsubscribing or by closing it. One that
        the server may have accepted without our knowing is named by its inbox."""
        return UnsubscribeRequest(
            clientID=self._options.client_id,
            subject=feed.channel,
            inbox=feed.ack_inbox or feed.inbox,
        ).SerializeToString()

    def close_request(self) -> bytes:
        """The payload of the request that ends the connection."""
        return CloseRequest(clientID=self._options.client_id).SerializeToString()

    def read_subscribed(self, payload: bytes) -> str:
        """The ack inbox in an answer about a subscription.

        Raises InvalidSubscriptionError or SubscribeError with the server's words.
        """
        try:
            response = parse(SubscriptionResponse, payload)
        except ValueError:
            raise SubscribeError("stan: malformed subscription response") from None
        if response.error == INVALID_SUBSCRIPTION:
            raise InvalidSubscriptionError(response.error)
        if response.error:
            raise SubscribeError(response.error)
        return response.ackInbox

    def read_closed(self, payload: bytes) -> None:
        """Take the answer to a close. Raises ConnectionLostError when the server refuses it,
        because it does not know this client any more."""
        try:
            error = parse(CloseResponse, payload).error
        except ValueError:
            return
        if error:
            raise ConnectionLostError(error)

    # Traffic

    def publish(
        self, channel: str, data: bytes, receipt: "Receipt", now_ns: int, max_payload_bytes: int
    ) -> int:
        """Send one message; returns how many bytes that adds to `operations`.

        Raises ConnectionClosedError, PublishError and PayloadTooLargeError (see Window).
        """
        if self.ended:
            raise ConnectionClosedError(CONNECTION_CLOSED)
        operation = self.window.publish(channel, data, receipt, now_ns, max_payload_bytes)
        self.operations.append(operation)
        return len(operation)

    def receive(self, frames: list[Frame]) -> None:
        """Take a chunk of frames, those of one subject in a row at once."""
        if self.ended:
            return
        position, count = 0, len(frames)
        while position < count:
            subject = frames[position][0]
            end = position + 1
            while end < count and frames[end][0] == subject:
                end += 1
            self._receive_run(subject, frames[position:end])
            position = end

    def _receive_run(self, subject: bytes, run: list[Frame]) -> None:
        if subject == self._ack_subject:
            self.window.acknowledge([payload for _, _, payload in run])
        elif (feed := self._feeds.get(subject)) is not None:
            feed.offer([payload for _, _, payload in run])
            if feed.is_open:
                self.ready.append(feed)
        elif subject == self._heartbeat_subject:
            self.operations += [pub(reply, b"") for _, reply, _ in run if reply]
        elif subject == self._ping_subject:
            for _, _, payload in run:
                self._receive_ping_response(payload)

    def _receive_ping_response(self, payload: bytes | None) -> None:
        if payload is None or self.ended:
            return  # nobody listens: neither good nor bad news, the ping stays unanswered
        if payload:
            try:
                error = parse(PingResponse, payload).error
            except ValueError:
                return
            if error:
                self.lose(ConnectionLostError(error))
                return
        self._pings_out = 0

    # Time

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do, if nothing else happens."""
        if self.ended:
            return None
        deadlines = [self._next_ping_ns, self.window.next_deadline_ns]
        return min((at for at in deadlines if at is not None), default=None)

    def tick(self, now_ns: int) -> None:
        """Do what is due: give up on old publishes, send a ping, or find the server gone."""
        if self.ended:
            return
        self.window.expire(now_ns)
        if self._next_ping_ns is not None and self._next_ping_ns <= now_ns:
            # From now, not from the deadline: after a pause (a suspended laptop) the missed
            # pings are not made up for in one burst.
            self._next_ping_ns = now_ns + self._ping_interval_ns
            self._pings_out += 1
            if self._pings_out > self._ping_max_out:
                self.lose(ConnectionLostError("stan: connection lost due to PING failure"))
            else:
                self.operations.append(self._ping_operation)

    # The end

    def lose(self, reason: ClientError) -> None:
        """The connection is lost: everything open fails, and `lost` keeps the reason."""
        if not self.ended:
            self.lost = reason
            self.end()

    def end(self) -> None:
        """Stop for good. Publishes without an ack fail; acks already given still leave."""
        if not self.ended:
            self.ended = True
            self.window.fail(ConnectionClosedError, CONNECTION_CLOSED)
            self._feeds.clear()
            self.ready.clear()
