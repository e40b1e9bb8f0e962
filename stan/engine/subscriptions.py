"""Subscribe, unsubscribe and close requests: validation, durables, queue groups, start.

Keeps which subscriptions exist and by which ack inbox they are reached. The rules of
protocol 5 about resuming, duplicates and leaving members are here; sending is `delivery`.
"""

from datetime import UTC, datetime, timedelta

from stan.engine.changes import Changes, Reply
from stan.engine.channels import Channels, Refusal, find_long_name, is_acceptable_channel
from stan.engine.clients import Clients
from stan.engine.delivery import Delivery
from stan.engine.history import Loads
from stan.engine.outbox import Outbox
from stan.engine.records import History, TimeLoad
from stan.engine.settings import Settings
from stan.engine.state import Channel, Client, Cursor, Subscription
from stan.engine.timers import Timers
from stan.wire.messages import parse_request
from stan.wire.stan_pb2 import (
    StartPosition,
    SubscriptionRequest,
    SubscriptionResponse,
    UnsubscribeRequest,
)
from stan.wire.subjects import is_publishable_subject

INVALID_REQUEST = "stan: invalid subscription request"
UNKNOWN_CLIENT = "stan: unknown clientID"
COLON_IN_DURABLE = (
    "stan: durable name of a durable queue subscriber can't contain the character ':'"
)


class Subscriptions:
    def __init__(
        self,
        settings: Settings,
        inbox_head: str,
        channels: Channels,
        clients: Clients,
        delivery: Delivery,
        loads: Loads,
        changes: Changes,
        timers: Timers,
        outbox: Outbox,
    ) -> None:
        self.by_ack_inbox: dict[bytes, Subscription] = {}
        self.next_subscription_id: int = 1
        self._inbox_head = inbox_head
        self._inboxes = 0
        # Subscribe requests that wait for the answer where their start time is.
        self._seeking: dict[int, tuple[SubscriptionRequest, bytes]] = {}
        self._settings = settings
        self._channels = channels
        self._clients = clients
        self._delivery = delivery
        self._loads = loads
        self._changes = changes
        self._timers = timers
        self._outbox = outbox

    # Subscribing.

    def subscribe(self, payload: bytes, reply: bytes, now_ns: int) -> None:
        """Answer a SubscriptionRequest, now with an error or after the commit."""
        try:
            request = parse_request(SubscriptionRequest, payload)
        except ValueError:
            self._refuse(reply, INVALID_REQUEST)
            return
        error = self._validate(request)
        if error:
            self._refuse(reply, error)
            return
        if self._channels.serves(request.subject):
            self._open(request, reply, -1, now_ns)

    def _validate(self, request: SubscriptionRequest) -> str:
        """The error of a request on its own; the order is the protocol's."""
        shortest = -(2**31) if self._settings.test_timers else 1
        if not request.clientID:
            return "stan: clientID missing"
        if request.ackWaitInSecs < shortest or request.ackWaitInSecs == 0:
            return "stan: invalid ack wait time, should be >= 1s"
        if request.maxInFlight < 1:
            return "stan: invalid MaxInflight, should be >= 1"
        if request.startPosition not in StartPosition.values():
            return "stan: invalid start position"
        if not is_acceptable_channel(request.subject):
            return "stan: invalid subject"
        return find_long_name(
            ("durable name", len(request.durableName.encode())),
            ("queue group", len(request.qGroup.encode())),
        )

    def _open(self, request: SubscriptionRequest, reply: bytes, found: int, now_ns: int) -> None:
        """Subscribe a valid request. `found` is where its start time was found, or -1."""
        client = self._clients.by_id.get(request.clientID)
        if client is None:
            self._refuse(reply, UNKNOWN_CLIENT)
            return
        try:
            channel = self._channels.open(request.subject, now_ns)
            durable = self._admit(channel, request)
        except Refusal as refusal:
            self._refuse(reply, str(refusal))
            return
        if durable is not None:
            self._resume(durable, client, request, reply, now_ns)
            return
        group = group_name(request)
        cursor = channel.groups.get(group) if group else None
        start = ""
        if cursor is None:
            last_sent = self._start_before(channel, request, found, now_ns)
            if last_sent < 0:
                self._seek(channel, request, reply, now_ns)
                return
            cursor = Cursor(channel, group, last_sent)
            start = describe_start(request, last_sent + 1, now_ns)
            if group:
                channel.groups[group] = cursor
        self._join(cursor, client, request, reply, start, now_ns)

    def _admit(self, channel: Channel, request: SubscriptionRequest) -> Subscription | None:
        """The rules about what there is already, in the protocol's order; changes nothing.
        Returns the durable to go on with, if there is one. Raises Refusal."""
        durable: Subscription | None = None
        if request.qGroup:
            if ":" in request.durableName:
                raise Refusal(COLON_IN_DURABLE)
            cursor = channel.groups.get(group_name(request))
            durable = cursor.vacant if cursor is not None else None
        elif request.durableName:
            durable = channel.durables.get((request.clientID, request.durableName))
            if durable is not None and durable.active and not self._settings.replace_durable:
                raise Refusal("stan: duplicate durable registration")
        most = channel.limits.max_subscriptions
        if durable is None and 0 < most <= len(channel.subscriptions):
            raise Refusal("too many subscriptions per channel")
        # Last, because the original has no such rule: NATS would end the connection.
        if not is_publishable_subject(request.inbox):
            raise Refusal(INVALID_REQUEST)
        return durable

    def _resume(
        self,
        durable: Subscription,
        client: Client,
        request: SubscriptionRequest,
        reply: bytes,
        now_ns: int,
    ) -> None:
        """Go on with a durable, or a durable group without members."""
        if durable.active:  # to be replaced
            self.end(durable, False, now_ns)
        if durable.cursor.vacant is durable:
            durable.cursor.vacant = None
        self._attach(durable, client, request, now_ns)
        self._grant(durable, False, reply)
        self._log("Resumed", durable)

    def _join(
        self,
        cursor: Cursor,
        client: Client,
        request: SubscriptionRequest,
        reply: bytes,
        start: str,
        now_ns: int,
    ) -> None:
        """A new subscription, or a new member of a group; `start` says where a new cursor is."""
        subscription = Subscription(
            self.next_subscription_id,
            cursor,
            client.client_id,
            "" if cursor.group else request.durableName,
            bool(request.durableName),
        )
        self.next_subscription_id += 1
        cursor.channel.subscriptions[subscription.subscription_id] = subscription
        if subscription.durable:
            cursor.channel.durables[client.client_id, subscription.durable] = subscription
        self._attach(subscription, client, request, now_ns)
        self._grant(subscription, True, reply)
        self._log("Started new" if start else "Added member to", subscription, start)

    def _attach(
        self, subscription: Subscription, client: Client, request: SubscriptionRequest, now_ns: int
    ) -> None:
        self._inboxes += 1
        ack_inbox = f"{self._inbox_head}{self._inboxes}"
        most = request.maxInFlight
        limit = self._settings.max_in_flight_limit
        if 0 < limit < most:
            most = limit
            self._outbox.log(
                "warning",
                f"[Client:{client.client_id}] A subscription to "
                f"{subscription.cursor.channel.name} asked for {request.maxInFlight} messages "
                f"in flight and gets {limit} (max_inflight_limit)",
            )
        subscription.attach(client, request.inbox, ack_inbox, most, request.ackWaitInSecs)
        subscription.started = False
        self.place(subscription)
        self._channels.watch_inactivity(subscription.cursor.channel, now_ns)

    def place(self, subscription: Subscription) -> None:
        """Make an attached subscription reachable: by its ack inbox, client and channel."""
        cursor = subscription.cursor
        cursor.members.append(subscription)
        cursor.channel.cursors[cursor] = None
        self.by_ack_inbox[subscription.ack_inbox.encode()] = subscription
        if subscription.client is not None:
            subscription.client.subscriptions[subscription.subscription_id] = subscription

    def _grant(self, subscription: Subscription, fresh: bool, reply: bytes) -> None:
        self._changes.put_subscription(subscription)
        response = SubscriptionResponse(ackInbox=subscription.ack_inbox)
        answer = Reply(reply, response.SerializeToString(), "subscribe" if fresh else "resume")
        answer.subscription = subscription
        answer.ack_inbox = subscription.ack_inbox
        self._changes.reply(answer)

    # Start positions.

    def _start_before(
        self, channel: Channel, request: SubscriptionRequest, found: int, now_ns: int
    ) -> int:
        """The sequence before the first to deliver, or -1 when history must tell."""
        first, last = channel.first, channel.last
        position = request.startPosition
        if position == StartPosition.First:
            return first - 1
        if position == StartPosition.LastReceived:
            return last - 1 if channel.count > 0 else last
        if position == StartPosition.SequenceStart:
            return min(max(request.startSequence, first), last + 1) - 1
        if position == StartPosition.TimeDeltaStart:
            if found >= 0:
                return min(max(found, first), last + 1) - 1
            start_ns = now_ns - request.startTimeDelta
            if channel.count == 0 or start_ns > channel.last_timestamp_ns:
                return last
            if start_ns <= channel.first_timestamp_ns:
                return first - 1
            return -1
        return last

    def _seek(
        self, channel: Channel, request: SubscriptionRequest, reply: bytes, now_ns: int
    ) -> None:
        load_id = self._loads.seek(channel, now_ns - request.startTimeDelta)
        self._seeking[load_id] = (request, reply)

    def sought(self, load: TimeLoad, history: History, now_ns: int) -> None:
        """The message at a start time was found; everything else is looked at afresh."""
        self._loads.sought(load)
        waiting = self._seeking.pop(load.load_id, None)
        if waiting is None:
            return
        request, reply = waiting
        channel = self._channels.by_name.get(request.subject)
        after_all = channel.last + 1 if channel is not None else 0
        found = history.sequences[0] if history.sequences else after_all
        self._open(request, reply, found, now_ns)

    def seek_failed(self, load: TimeLoad, error: str) -> None:
        """History could not be read; the request is refused."""
        self._loads.sought(load)
        waiting = self._seeking.pop(load.load_id, None)
        if waiting is not None:
            self._refuse(waiting[1], error)

    # Leaving.

    def unsubscribe(self, payload: bytes, reply: bytes, now_ns: int) -> None:
        """Answer an UnsubscribeRequest on the subject for unsubscribing."""
        self._leave(payload, reply, True, now_ns)

    def close(self, payload: bytes, reply: bytes, now_ns: int) -> None:
        """Answer an UnsubscribeRequest on the subject for closing, which keeps durables."""
        self._leave(payload, reply, False, now_ns)

    def _leave(self, payload: bytes, reply: bytes, remove: bool, now_ns: int) -> None:
        try:
            request = parse_request(UnsubscribeRequest, payload)
        except ValueError:
            self._refuse(reply, "stan: invalid unsubscribe request")
            return
        if not self._channels.serves(request.subject):
            return
        channel = self._channels.by_name.get(request.subject)
        if channel is None:
            self._refuse(reply, "stan: unknown channel")
            return
        subscription = self._find(channel, request.inbox)
        if subscription is None:
            self._refuse(reply, "stan: invalid subscription")
            return
        if subscription.client_id != request.clientID:
            self._refuse(reply, UNKNOWN_CLIENT)
            return
        self.end(subscription, remove, now_ns)
        response = SubscriptionResponse().SerializeToString()
        self._changes.reply(Reply(reply, response, "unsubscribe"))

    def find(self, channel_name: str, inbox: str) -> Subscription | None:
        """The active subscription with this ack inbox, or this inbox, on that channel."""
        channel = self._channels.by_name.get(channel_name)
        return self._find(channel, inbox) if channel is not None else None

    def _find(self, channel: Channel, inbox: str) -> Subscription | None:
        found = self.by_ack_inbox.get(inbox.encode())
        if found is not None and found.cursor.channel is channel:
            return found
        for subscription in channel.subscriptions.values():
            if subscription.active and subscription.inbox == inbox:
                return subscription
        return None

    def end(self, subscription: Subscription, remove: bool, now_ns: int) -> None:
        """A subscription leaves. Durables stay behind offline unless `remove`."""
        cursor = subscription.cursor
        channel = cursor.channel
        if subscription.client is not None:
            subscription.client.subscriptions.pop(subscription.subscription_id, None)
            subscription.client = None
        self.by_ack_inbox.pop(subscription.ack_inbox.encode(), None)
        subscription.active = False
        subscription.started = False
        subscription.unaged = False
        self._timers.clear(subscription)
        cursor.members.remove(subscription)
        keep = subscription.is_durable and not remove
        if cursor.members:
            self._log("Removed member from", subscription)
            self._delivery.hand_over(subscription, now_ns)
            self._forget(subscription)
            return
        self._log("Suspended" if keep else "Removed", subscription)
        del channel.cursors[cursor]
        cursor.resend.clear()
        if keep:
            if cursor.group:
                cursor.vacant = subscription
            self._changes.put_subscription(subscription)
        else:
            self._forget(subscription)
            if cursor.group:
                del channel.groups[cursor.group]
        self._channels.watch_inactivity(channel, now_ns)

    def forget(self, durable: Subscription) -> None:
        """A durable, or a durable group, that is offline goes for good."""
        self._log("Removed", durable)
        cursor = durable.cursor
        if cursor.vacant is durable:
            cursor.vacant = None
            del cursor.channel.groups[cursor.group]
        self._forget(durable)

    def _forget(self, subscription: Subscription) -> None:
        channel = subscription.cursor.channel
        del channel.subscriptions[subscription.subscription_id]
        if subscription.durable:
            del channel.durables[subscription.client_id, subscription.durable]
        self._changes.delete_subscription(subscription.subscription_id)

    # Words.

    def _refuse(self, reply: bytes, error: str) -> None:
        self._outbox.send(reply, SubscriptionResponse(error=error).SerializeToString())

    def _log(self, verb: str, subscription: Subscription, start: str = "") -> None:
        cursor = subscription.cursor
        kind = "durable " if subscription.is_durable else ""
        queue = "queue " if cursor.group else ""
        name = f", queue={cursor.group}" if cursor.group else ""
        name += f", durable={subscription.durable}" if subscription.durable else ""
        self._outbox.log(
            "debug",
            f"[Client:{subscription.client_id}] {verb} {kind}{queue}subscription, "
            f"subject={cursor.channel.name}, inbox={subscription.inbox}{name}, "
            f"subid={subscription.subscription_id}{start}",
        )


def group_name(request: SubscriptionRequest) -> str:
    """The group a request names: a durable group is known as "durable:group"."""
    if request.qGroup and request.durableName:
        return f"{request.durableName}:{request.qGroup}"
    return str(request.qGroup)


def describe_start(request: SubscriptionRequest, sequence: int, now_ns: int) -> str:
    """Where a new subscription starts, in the words of the original's log."""
    position = request.startPosition
    if position == StartPosition.NewOnly:
        start = "new-only,"
    elif position == StartPosition.LastReceived:
        start = "last message,"
    elif position == StartPosition.TimeDeltaStart:
        microseconds = (now_ns - request.startTimeDelta) // 1000
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
        start = f"from time time='{time:%Y-%m-%d %H:%M:%S.%f +0000 UTC}'"
    elif position == StartPosition.SequenceStart:
        return f", sending from sequence, asked_seq={request.startSequence} actual_seq={sequence}"
    else:
        start = "from beginning,"
    return f", sending {start} seq={sequence}"
