"""A simulated client: speaks the protocol's bytes, behaves badly on purpose.

It connects, publishes, subscribes, acks or does not, hangs, dies and comes back under the
same ID. It knows only what it has been told. When the world turns peaceful it acks all
that it gets and closes what it never got an answer for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stan.wire.stan_pb2 import (
    Ack,
    CloseRequest,
    ConnectRequest,
    ConnectResponse,
    MsgProto,
    Ping,
    PingResponse,
    PubAck,
    PubMsg,
    SubscriptionRequest,
    SubscriptionResponse,
    UnsubscribeRequest,
)
from tests.simulation.network import Connection

if TYPE_CHECKING:
    from tests.simulation.world import World

DISCOVER = b"_STAN.discover.test-cluster"
SUBSCRIBE = b"_STAN.sub.test-cluster"
UNSUBSCRIBE = b"_STAN.unsub.test-cluster"
SUB_CLOSE = b"_STAN.subclose.test-cluster"
CLOSE = b"_STAN.close.test-cluster"
PINGS = b"_STAN.discover.test-cluster.pings"
PUBLISH = b"_STAN.pub.test-cluster."

GARBAGE = (b"dummy", b"", b"\x0a\xff", b"\x0a\x02\xc3\x28", b"\xff" * 12, b"\x08\x01")


class Subscription:
    """A client's end of a subscription. `answered` turns true with the response."""

    def __init__(self, channel: str, inbox: str, ack_chance: float) -> None:
        self.channel = channel
        self.inbox = inbox
        self.ack_chance = ack_chance
        self.ack_inbox = ""
        self.answered = False
        self.unacked: list[int] = []


class Client:
    def __init__(self, world: World, client_id: str) -> None:
        self.world = world
        self.client_id = client_id
        self.number = world.next_number()
        self.connection = Connection()
        self.connection_id = f"conn{self.number}".encode() if world.rng.random() < 0.9 else b""
        self.state = "connecting"
        self.hung = False
        self.subscriptions: list[Subscription] = []
        self.pending: dict[str, int] = {}  # guid -> when it was published
        self.errors: list[str] = []
        self._heartbeat_inbox = f"hb.{self.number}"
        self._ack_subject = f"acks.{self.number}".encode()
        listen = world.network.listen
        listen(self.connection, self._heartbeat_inbox.encode(), self._on_heartbeat)
        listen(self.connection, self._ack_subject, self._on_publish_ack)

    # Requests.

    def _ask(self, kind: str, subject: bytes, payload: bytes, answer: object) -> None:
        reply = f"{kind}.{self.world.next_number()}".encode()

        def listener(response: bytes, _: bytes) -> None:
            self.world.network.unlisten(self.connection, reply)
            if not self.hung and callable(answer):
                answer(response)

        self.world.network.listen(self.connection, reply, listener)
        self.world.network.from_client(self.connection, subject, payload, reply)

    def connect(self) -> None:
        request = ConnectRequest(
            clientID=self.client_id,
            heartbeatInbox=self._heartbeat_inbox,
            protocol=1,
            connID=self.connection_id,
            pingInterval=1,
            pingMaxOut=3,
        )
        self._ask("connect", DISCOVER, request.SerializeToString(), self._on_connected)

    def _on_connected(self, payload: bytes) -> None:
        response = ConnectResponse.FromString(payload)
        if response.error:
            self.die()
        elif self.state == "connecting":
            self.state = "up"

    def ping(self) -> None:
        payload = Ping(connID=self.connection_id).SerializeToString()
        self._ask("ping", PINGS, payload, self._on_pong)

    def _on_pong(self, payload: bytes) -> None:
        if PingResponse.FromString(payload).error:
            self.die()

    def close(self) -> None:
        payload = CloseRequest(clientID=self.client_id).SerializeToString()
        self._ask("close", CLOSE, payload, lambda _: self.die())
        self.state = "closing"

    def die(self) -> None:
        """The NATS connection ends without a word."""
        self.state = "gone"
        self.world.network.drop(self.connection)

    # Publishing.

    def publish(self, channel: str, count: int) -> None:
        world = self.world
        for _ in range(count):
            guid = f"{world.next_number():08d}"
            size = world.rng.randrange(world.profile.payload_bytes + 1)
            self.pending[guid] = world.events.now_ns
            world.store.owners[guid.encode()] = self.number
            times = 1
            if world.rng.random() < world.profile.misbehave:
                times = 2
                world.store.published.repeated.add(guid.encode())
            for _ in range(times):
                self._publish(channel, guid, guid.encode() + b"x" * size)

    def _publish(self, channel: str, guid: str, data: bytes) -> None:
        message = PubMsg(
            clientID=self.client_id, guid=guid, subject=channel, data=data,
            connID=self.connection_id,
        )  # fmt: skip
        if self.world.rng.random() < 0.05:
            message.reply = "answer.here"
        subject = PUBLISH + channel.encode()
        self.world.network.from_client(
            self.connection, subject, message.SerializeToString(), self._ack_subject
        )

    def _on_publish_ack(self, payload: bytes, _: bytes) -> None:
        ack = PubAck.FromString(payload)
        if self.pending.pop(ack.guid, None) is not None and ack.error:
            self.errors.append(ack.error)

    def forgive(self) -> None:
        """What was lost in the faulty world is lost."""
        self.pending.clear()

    # Subscribing.

    def subscribe(self, channel: str) -> None:
        rng = self.world.rng
        inbox = f"in.{self.world.next_number()}"
        policy = 1.0 if self.world.peaceful else rng.choice((1.0, 1.0, 0.7, 0.2, 0.0))
        mine = Subscription(channel, inbox, policy)
        request = SubscriptionRequest(
            clientID=self.client_id,
            subject=channel,
            inbox=inbox,
            qGroup=rng.choice(("", "", "g", "h")),
            durableName=rng.choice(("", "", "d", "e")),
            maxInFlight=rng.choice((1, 2, 5, 100)),
            ackWaitInSecs=rng.choice((-20, -100, -400, 1)),
            startPosition=rng.randrange(5),  # type: ignore[arg-type]
            startSequence=rng.choice((0, 1, 3, 10, 1 << 63)),
            startTimeDelta=rng.choice((0, 50_000_000, 500_000_000, -1_000_000_000, 1 << 62)),
        )
        self.subscriptions.append(mine)
        network = self.world.network
        network.listen(self.connection, inbox.encode(), lambda p, _: self._on_message(mine, p))

        def answered(payload: bytes) -> None:
            response = SubscriptionResponse.FromString(payload)
            if response.error:
                self._forget(mine)
            else:
                mine.answered = True
                mine.ack_inbox = response.ackInbox

        self._ask("sub", SUBSCRIBE, request.SerializeToString(), answered)

    def _on_message(self, mine: Subscription, payload: bytes) -> None:
        if self.hung:
            return
        message = MsgProto.FromString(payload)
        self.world.chronicle.received(mine.inbox.encode(), message.sequence)
        chance = 1.0 if self.world.peaceful else mine.ack_chance
        if mine.answered and (chance >= 1.0 or self.world.rng.random() < chance):
            self._ack(mine, message.sequence)
        elif len(mine.unacked) < 50:
            mine.unacked.append(message.sequence)

    def _ack(self, mine: Subscription, sequence: int) -> None:
        payload = Ack(subject=mine.channel, sequence=sequence).SerializeToString()
        self.world.network.from_client(self.connection, mine.ack_inbox.encode(), payload)

    def ack_some(self, mine: Subscription) -> None:
        """Late acks, twice at times, in any order."""
        rng = self.world.rng
        rng.shuffle(mine.unacked)
        for _ in range(min(len(mine.unacked), 1 + rng.randrange(4))):
            sequence = mine.unacked.pop()
            self._ack(mine, sequence)
            if rng.random() < 0.1:
                self._ack(mine, sequence)

    def leave(self, mine: Subscription, subject: bytes, owner: str = "") -> None:
        """Unsubscribe or close; by the delivery inbox when there was never an answer."""
        payload = UnsubscribeRequest(
            clientID=owner or self.client_id,
            subject=mine.channel,
            inbox=mine.ack_inbox or mine.inbox,
        ).SerializeToString()
        self._ask("unsub", subject, payload, lambda _: self._forget(mine))

    def _forget(self, mine: Subscription) -> None:
        self.world.network.unlisten(self.connection, mine.inbox.encode())
        if mine in self.subscriptions:
            self.subscriptions.remove(mine)

    # Heartbeats.

    def _on_heartbeat(self, _: bytes, reply: bytes) -> None:
        if not self.hung and reply:
            self.world.network.from_client(self.connection, reply, b"")

    # Tempers.

    def talk_nonsense(self) -> None:
        """Frames that no honest client sends."""
        rng, world = self.world.rng, self.world
        subjects = [DISCOVER, SUBSCRIBE, UNSUBSCRIBE, SUB_CLOSE, CLOSE, PINGS, PUBLISH + b"foo"]
        subjects += [s.ack_inbox.encode() for s in self.subscriptions if s.ack_inbox]
        payload = rng.choice(GARBAGE)
        world.network.from_client(self.connection, rng.choice(subjects), payload, b"nobody")

    def calm_down(self) -> None:
        """The world is peaceful: be a good client from now on."""
        self.hung = False
        for mine in list(self.subscriptions):
            if not mine.answered:
                self.leave(mine, SUB_CLOSE)
            while mine.unacked and mine.answered:
                self._ack(mine, mine.unacked.pop())
