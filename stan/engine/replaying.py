"""What clients sent while nobody led, taken by the server that leads now.

Much of it the last leader has answered already, and it is not known what. So publishes are
looked up among the guids that were recorded, as those are that clients send again; requests
are answered again without being done again; acks may come twice anyway. Invariant: after a
replay the state is what it would be had the last leader taken every frame once.
"""

from stan.engine.clients import Clients
from stan.engine.outbox import Outbox
from stan.engine.publishing import Publishing
from stan.engine.state import Subscription
from stan.engine.subscriptions import Subscriptions
from stan.wire.frames import Frame
from stan.wire.messages import parse
from stan.wire.stan_pb2 import (
    CloseRequest,
    CloseResponse,
    ConnectRequest,
    SubscriptionRequest,
    SubscriptionResponse,
    UnsubscribeRequest,
)
from stan.wire.subjects import ServerSubjects

# Frames with the moment of their arrival, in nanoseconds.
Held = list[tuple[int, list[Frame]]]


class Replaying:
    """`take` takes one frame; True when it is done with, False for one that the engine shall
    take like any other."""

    def __init__(
        self,
        subjects: ServerSubjects,
        clients: Clients,
        subscriptions: Subscriptions,
        publishing: Publishing,
        outbox: Outbox,
    ) -> None:
        self._clients = clients
        self._subscriptions = subscriptions
        self._publishing = publishing
        self._outbox = outbox
        self._publish_head: bytes = subjects.publish_prefix.encode() + b"."
        self._connect: bytes = subjects.connect.encode()
        self._subscribe: bytes = subjects.subscribe.encode()
        self._leave: tuple[bytes, bytes] = (
            subjects.unsubscribe.encode(),
            subjects.subscription_close.encode(),
        )
        self._close: bytes = subjects.close.encode()
        # By client and channel: how many requests to come end a subscription that the last
        # leader both began and ended.
        self._ended: dict[tuple[str, str], int] = {}
        # By client: how many frames before which the last leader took all that it asked for. It
        # took them in order, and there one of those that can be seen to be done.
        self._taken: dict[str, int] = {}
        self._position: int = 0

    def begin(self, held: Held) -> None:
        """Look ahead for what the last leader took."""
        self._ended = {}
        self._taken = {}
        self._position = position = 0
        for _, frames in held:
            for subject, _, payload in frames:
                position += 1
                if payload is None:
                    continue
                if subject in self._leave:
                    leave = self._read_leave(payload)
                    if leave is not None and not self._is_known(leave):
                        key = leave.clientID, leave.subject
                        self._ended[key] = self._ended.get(key, 0) + 1
                elif subject == self._connect:
                    connect = self._read_connect(payload)
                    if connect is not None and self._clients.is_session(connect):
                        self._taken[connect.clientID] = position
                elif subject == self._subscribe:
                    wanted = self._read_subscribe(payload)
                    if wanted is not None and self._find(wanted) is not None:
                        self._taken[wanted.clientID] = position

    def take(self, frame: Frame, arrived_ns: int, now_ns: int) -> bool:
        self._position += 1
        subject, reply, payload = frame
        if payload is None:
            return False  # to a question of the last leader's, or to one of ours
        try:
            if subject.startswith(self._publish_head):
                self._publishing.replay(payload, reply, arrived_ns, now_ns)
                return True
            if subject == self._connect:
                request = parse(ConnectRequest, payload)
                return self._clients.answer_again(request, reply) or self._is_past(request.clientID)
            if subject == self._subscribe:
                return self._subscribe_again(parse(SubscriptionRequest, payload), reply)
            if subject in self._leave:
                return self._leave_again(payload, reply)
            if subject == self._close:
                return self._close_again(parse(CloseRequest, payload), reply)
        except ValueError:
            return False  # refused like any other that is malformed
        return False

    def _is_past(self, client_id: str) -> bool:
        """Whether the last leader took something later of this client."""
        return self._position < self._taken.get(client_id, 0)

    def _subscribe_again(self, request: SubscriptionRequest, reply: bytes) -> bool:
        one = self._find(request)
        if one is not None:
            response = SubscriptionResponse(ackInbox=one.ack_inbox)
            self._outbox.send(reply, response.SerializeToString())
            return True
        ended = self._ended.get((request.clientID, request.subject), 0)
        return ended > 0 or self._is_past(request.clientID)

    def _leave_again(self, payload: bytes, reply: bytes) -> bool:
        request = self._read_leave(payload)
        if request is None or self._is_known(request):
            return False
        key = request.clientID, request.subject
        self._ended[key] = self._ended.get(key, 0) - 1
        self._outbox.send(reply, SubscriptionResponse().SerializeToString())
        return True

    def _close_again(self, request: CloseRequest, reply: bytes) -> bool:
        if request.clientID in self._clients.by_id and not self._is_past(request.clientID):
            return False
        self._outbox.send(reply, CloseResponse().SerializeToString())
        return True

    def _find(self, request: SubscriptionRequest) -> Subscription | None:
        """The subscription that this request made."""
        client = self._clients.by_id.get(request.clientID)
        if client is not None:
            for one in client.subscriptions.values():
                if one.inbox == request.inbox and one.cursor.channel.name == request.subject:
                    return one
        return None

    def _read_subscribe(self, payload: bytes) -> SubscriptionRequest | None:
        try:
            return parse(SubscriptionRequest, payload)
        except ValueError:
            return None

    def _read_connect(self, payload: bytes) -> ConnectRequest | None:
        try:
            return parse(ConnectRequest, payload)
        except ValueError:
            return None

    def _read_leave(self, payload: bytes) -> UnsubscribeRequest | None:
        try:
            return parse(UnsubscribeRequest, payload)
        except ValueError:
            return None

    def _is_known(self, request: UnsubscribeRequest) -> bool:
        return self._subscriptions.find(request.subject, request.inbox) is not None
