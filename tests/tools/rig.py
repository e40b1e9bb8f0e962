"""An engine with a memory store and a clock that a test turns by hand.

Requests go in as the bytes of the protocol, what leaves is read strictly and sorted by
subject. `run` does what the pump does with a store that answers at once; with
`hold` a batch stays in flight until the test decides about it.
"""

from google.protobuf.message import Message

from stan.engine import invariants
from stan.engine.engine import Engine
from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.engine.records import Batch, Load, Recovered, ServerRecord
from stan.engine.settings import Settings
from stan.store.memory import MemoryStore
from stan.units import SECOND_NS
from stan.wire.frames import Frame
from stan.wire.messages import M
from stan.wire.stan_pb2 import (
    Ack,
    CloseRequest,
    CloseResponse,
    ConnectRequest,
    ConnectResponse,
    MsgProto,
    Ping,
    PubAck,
    PubMsg,
    SubscriptionRequest,
    SubscriptionResponse,
    UnsubscribeRequest,
)
from tests.simulation.operations import Operation, read_operations

START_NS = 1_700_000_000 * SECOND_NS
SERVER = ServerRecord("test-cluster", "_INBOX.srv")


class Rig:
    def __init__(self, settings: Settings | None = None, store: MemoryStore | None = None) -> None:
        self.settings = settings or Settings()
        self.store = store or MemoryStore()
        self.now_ns = START_NS
        self.hold = False
        self.hold_loads = False
        self.batch: Batch | None = None
        self.loads: list[Load] = []
        self.sent: list[Operation] = []
        self.notices: list[tuple[str, str]] = []
        self._ids = 0
        self.engine = Engine(self.settings, recover(self.store), SERVER, self._new_id, self.now_ns)

    def _new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"

    def restart(self) -> "Rig":
        """Another engine on the same store, at the same moment; not started yet."""
        other = Rig(self.settings, self.store)
        other.now_ns = self.now_ns
        other.engine = Engine(
            self.settings, recover(self.store), SERVER, lambda: "second", self.now_ns
        )
        return other

    # Time and turns.

    def run(self) -> None:
        """What a pump does after each call."""
        engine = self.engine
        while True:
            invariants.check(engine)
            if self.batch is None:
                self.batch = engine.seal(self.now_ns)
            if self.batch is not None and not self.hold:
                self.commit()
                continue
            self.take()
            loads = engine.take_loads()
            self.loads += loads
            if not self.loads or self.hold_loads:
                return
            for load in self.loads:
                engine.loaded(load, self.store.load_now(load), self.now_ns)
            self.loads = []

    def take(self) -> None:
        """Collect what leaves."""
        sends = b"".join(self.engine.take_sends())
        self.sent += read_operations(sends, self.settings.max_payload_bytes)
        self.notices += self.engine.take_notices()

    def commit(self) -> None:
        """The batch in flight becomes true."""
        assert self.batch is not None
        batch, self.batch = self.batch, None
        self.engine.committed(batch, self.store.commit_now(batch), self.now_ns)

    def fail(self, error: Exception) -> None:
        """The batch in flight does not."""
        assert self.batch is not None
        batch, self.batch = self.batch, None
        self.engine.commit_failed(batch, error, self.now_ns)
        self.run()

    def receive(self, *frames: Frame) -> None:
        self.engine.receive(list(frames), self.now_ns)
        self.run()

    def wait(self, duration_ns: int) -> None:
        """Let time pass, deadline by deadline."""
        end_ns = self.now_ns + duration_ns
        for _ in range(10_000):
            due_ns = self.engine.next_deadline_ns()
            if due_ns is None or due_ns > end_ns:
                break
            self.now_ns = max(self.now_ns, due_ns)
            self.engine.tick(self.now_ns)
            self.run()
        self.now_ns = end_ns
        self.engine.tick(end_ns)
        self.run()

    # Requests.

    def ask(self, subject: str, request: Message | bytes, answer: type[M]) -> M:
        """Send a request and return its one answer."""
        payload = request if isinstance(request, bytes) else request.SerializeToString()
        self._ids += 1
        reply = f"reply.{self._ids}"
        self.receive((subject.encode(), reply.encode(), payload))
        (response,) = self.take_payloads(reply)
        return answer.FromString(response)

    def connect(self, client_id: str = "me", connection_id: bytes = b"") -> ConnectResponse:
        return self.ask(self.engine.subjects.connect, connect(client_id, connection_id),
                        ConnectResponse)  # fmt: skip

    def close(self, client_id: str = "me") -> CloseResponse:
        return self.ask(self.engine.subjects.close, CloseRequest(clientID=client_id), CloseResponse)

    def ping(self, connection_id: bytes) -> None:
        payload = Ping(connID=connection_id).SerializeToString()
        self.receive((self.engine.subjects.pings.encode(), b"pong", payload))

    def subscribe(
        self, channel: str = "foo", inbox: str = "in", client_id: str = "me", **fields: object
    ) -> SubscriptionResponse:
        request = subscription(channel, inbox, client_id, **fields)
        return self.ask(self.engine.subjects.subscribe, request, SubscriptionResponse)

    def unsubscribe(
        self, inbox: str, channel: str = "foo", client_id: str = "me", close: bool = False
    ) -> SubscriptionResponse:
        subjects = self.engine.subjects
        subject = subjects.subscription_close if close else subjects.unsubscribe
        request = UnsubscribeRequest(clientID=client_id, subject=channel, inbox=inbox)
        return self.ask(subject, request, SubscriptionResponse)

    def publish(self, *data: bytes, channel: str = "foo", client_id: str = "me") -> None:
        self.receive(*(publish(part, channel, client_id) for part in data))

    def ack(self, ack_inbox: str, *sequences: int, channel: str = "foo") -> None:
        self.receive(*(ack(ack_inbox, sequence, channel) for sequence in sequences))

    # What left.

    def take_payloads(self, subject: str) -> list[bytes]:
        """The payloads sent to a subject so far; they are not shown again."""
        wanted = subject.encode()
        found = [payload for to, _, payload in self.sent if to == wanted]
        self.sent = [operation for operation in self.sent if operation[0] != wanted]
        return found

    def messages(self, inbox: str = "in") -> list[MsgProto]:
        return [MsgProto.FromString(payload) for payload in self.take_payloads(inbox)]

    def sequences(self, inbox: str = "in") -> list[int]:
        return [message.sequence for message in self.messages(inbox)]

    def acks(self) -> list[tuple[str, str]]:
        """Guid and error of each publish ack."""
        acks = [PubAck.FromString(payload) for payload in self.take_payloads("acks")]
        return [(ack.guid, ack.error) for ack in acks]


def recover(store: MemoryStore) -> Recovered:
    """What the store remembers, without a loop: it never waits."""
    try:
        store.recover().send(None)
    except StopIteration as stop:
        recovered: Recovered = stop.value
        return recovered
    raise AssertionError("the memory store waited")


def connect(client_id: str, connection_id: bytes = b"", **fields: object) -> ConnectRequest:
    return ConnectRequest(
        clientID=client_id,
        heartbeatInbox=f"hb.{client_id}",
        connID=connection_id,
        protocol=1,
        **fields,  # type: ignore[arg-type]
    )


def subscription(
    channel: str = "foo", inbox: str = "in", client_id: str = "me", **fields: object
) -> SubscriptionRequest:
    request = SubscriptionRequest(
        clientID=client_id, subject=channel, inbox=inbox, maxInFlight=10, ackWaitInSecs=1
    )
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def publish(
    data: bytes, channel: str = "foo", client_id: str = "me", guid: str = "", **fields: object
) -> Frame:
    message = PubMsg(
        clientID=client_id, guid=guid or data[:512].decode(), subject=channel, data=data
    )
    for name, value in fields.items():
        setattr(message, name, value)
    return b"_STAN.pub.test-cluster." + channel.encode(), b"acks", message.SerializeToString()


def ack(ack_inbox: str, sequence: int, channel: str = "foo") -> Frame:
    payload = Ack(subject=channel, sequence=sequence).SerializeToString()
    return ack_inbox.encode(), b"", payload


def limited(overrides: ChannelOverrides | None = None, **limits: int) -> Settings:
    """Settings with these limits for all channels."""
    channels = {"kept": overrides} if overrides is not None else {}
    most = limits.pop("max_channels", 100)
    return Settings(limits=StoreLimits(most, ChannelLimits(**limits), channels))


def receive_both_ways(frames: list[Frame], together: Rig, alone: Rig) -> None:
    """Behind a batch that is held, one engine gets the chunk, the other its frames one at a
    time, each looked at from scratch and decoded."""
    for rig in (together, alone):
        rig.hold = True
        rig.publish(b"sealed")
    together.receive(*frames)
    for frame in frames:
        alone.engine.publishing.interrupt()
        alone.engine.publishing.familiar.forget()
        alone.receive(frame)
