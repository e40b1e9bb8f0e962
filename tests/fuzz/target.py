"""What is fuzzed, and what must hold: an engine at work, one hostile frame at a time.

After each frame: nothing was raised, every byte to send is a well-formed operation whose
subject somebody was entitled to name, and a refusal left no trace in the state. The engine
is kept alive through the whole run, so growth of memory shows.
"""

from stan.engine.engine import Engine
from stan.engine.limits import ChannelLimits, StoreLimits
from stan.engine.records import Recovered, ServerRecord
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.store.memory import MemoryStore
from stan.units import SECOND_NS
from stan.wire.frames import Frame, split
from stan.wire.messages import read_varint
from stan.wire.stan_pb2 import (
    CloseResponse,
    ConnectRequest,
    ConnectResponse,
    PubAck,
    SubscriptionRequest,
    SubscriptionResponse,
)
from tests.fuzz.inputs import SUBJECTS
from tests.simulation.operations import Operation, read_operations

START_NS = 1_700_000_000 * SECOND_NS
STEP_NS = 2 * MILLISECOND_NS
TAPPED = frozenset({b"7"})

# Refusals after which a channel that did not exist before may exist (protocol 4).
MAY_CREATE = (
    "durable name of a durable",
    "duplicate durable",
    "too many subscriptions",
    "invalid subscription request",  # for its inbox, which is looked at last
)

ANSWERS: dict[bytes, type[ConnectResponse | SubscriptionResponse | CloseResponse | PubAck]] = {
    SUBJECTS["connect"]: ConnectResponse,
    SUBJECTS["subscribe"]: SubscriptionResponse,
    SUBJECTS["unsubscribe"]: SubscriptionResponse,
    SUBJECTS["subclose"]: SubscriptionResponse,
    SUBJECTS["close"]: CloseResponse,
    SUBJECTS["publish"]: PubAck,
}


class Target:
    def __init__(self) -> None:
        limits = ChannelLimits(max_subscriptions=12, max_messages=30, max_bytes=20_000)
        self.settings = Settings(
            limits=StoreLimits(8, limits),
            heartbeat_interval_ns=SECOND_NS,
            heartbeat_timeout_ns=SECOND_NS // 2,
            heartbeat_fail_count=0,
            cache_bytes=8_000,
            load_messages=5,
        )
        self.store = MemoryStore()
        self.now_ns = START_NS
        self.refused = 0
        self.accepted = 0
        self._ids = 0
        self.engine = Engine(
            self.settings,
            Recovered(),
            ServerRecord("test-cluster", "_INBOX.fuzz"),
            self._new_id,
            self.now_ns,
        )

    def _new_id(self) -> str:
        self._ids += 1
        return f"f{self._ids}"

    def furnish(self) -> list[bytes]:
        """See to it that there is something to attack. Returns the ack inboxes."""
        for name in ("me", "you"):
            if name not in self.engine.clients.by_id:
                connection_id = f"conn-{name}".encode()
                request = ConnectRequest(
                    clientID=name, heartbeatInbox=f"hb.{name}", connID=connection_id, protocol=1
                )
                self._run((SUBJECTS["connect"], b"reply", request.SerializeToString()))
            request_for = SubscriptionRequest(
                clientID=name, subject="foo", inbox=f"in.{name}", maxInFlight=5, ackWaitInSecs=1
            )
            self._run((SUBJECTS["subscribe"], b"reply", request_for.SerializeToString()))
        return list(self.engine.subscriptions.by_ack_inbox)

    def feed(self, frame: Frame) -> None:
        """One hostile frame. Raises AssertionError, or whatever escaped."""
        before, channels = self._fingerprint(), self._channels()
        self.engine.receive([frame], self.now_ns)
        immediate = self._take()
        error = self._refusal(frame, immediate)
        if error:
            self.refused += 1
            assert self._fingerprint() == before, f"refused with {error!r}, but something changed"
            assert self._channels() == channels or any(words in error for words in MAY_CREATE), (
                f"refused with {error!r}, but there is another channel"
            )
        else:
            self.accepted += 1
        self._work()
        self.now_ns += STEP_NS
        due_ns = self.engine.next_deadline_ns()
        if due_ns is not None and due_ns <= self.now_ns:
            self.engine.tick(self.now_ns)
            self._work()

    def feed_chunk(self, chunk: bytes) -> None:
        """Bytes for the splitter and for the varint reader."""
        position = 0
        while position < len(chunk):
            try:
                frames, others, consumed, needed = split(chunk[position:], TAPPED)
            except ValueError:
                break
            assert 0 <= consumed <= len(chunk) - position
            assert needed == 0 or needed > len(chunk) - position - consumed
            assert all(len(frame) == 3 for frame in frames)
            assert all(others)
            if consumed == 0:
                break
            position += consumed
        assert -1 <= read_varint(chunk, 0) < 2**64

    def _run(self, frame: Frame) -> None:
        self.engine.receive([frame], self.now_ns)
        self._take()
        self._work()

    def _work(self) -> None:
        """Commit, load and send until nothing is left to do."""
        engine = self.engine
        for _ in range(200):
            batch = engine.seal(self.now_ns)
            if batch is not None:
                engine.committed(batch, self.store.commit_now(batch), self.now_ns)
            self._take()
            loads = engine.take_loads()
            for load in loads:
                engine.loaded(load, self.store.load_now(load), self.now_ns)
            if batch is None and not loads:
                return
        raise AssertionError("the engine never comes to rest")

    def _take(self) -> list[Operation]:
        operations = list(read_operations(b"".join(self.engine.take_sends())))
        for subject, _, _ in operations:
            assert b"stolen" not in subject, "an operation was injected"
        for _, text in self.engine.take_notices():
            assert isinstance(text, str)
        return operations

    def _refusal(self, frame: Frame, operations: list[Operation]) -> str:
        """The error a request was answered with at once; empty when there was none."""
        kind = ANSWERS.get(frame[0])
        if kind is None or not frame[1]:
            return ""
        for subject, _, payload in operations:
            if subject == frame[1]:
                answer = kind.FromString(payload)
                return str(answer.error)
        return ""

    def _fingerprint(self) -> tuple[object, ...]:
        engine = self.engine
        changes = engine.changes
        return (
            len(engine.clients.by_id),
            len(engine.clients.by_connection_id),
            len(engine.clients.checks),
            len(engine.subscriptions.by_ack_inbox),
            engine.subscriptions.next_subscription_id,
            engine.publishing.queued_messages,
            engine.publishing.queued_bytes,
            len(engine.outbox.loads),
            len(changes.replies),
            len(changes.clients),
            len(changes.subscriptions),
        )

    def _channels(self) -> tuple[int, ...]:
        return tuple(self.engine.channels.by_id)
