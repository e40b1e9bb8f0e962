"""The simulated process around the real engine: what the pump does, without waiting.

A commit and a load take simulated time and may fail in every way the contract allows. The
process can die between any two of its steps; what the store was doing then may still
become true, or not. Each engine call is followed by a look of the self.observer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stan.engine.engine import Engine
from stan.engine.limits import StoreLimits
from stan.engine.records import (
    Batch,
    DeleteMessage,
    GuidLoad,
    History,
    Load,
    MoveDurable,
    Operation,
    OperationRefused,
    OutboxLoad,
    PublishMessage,
    Purge,
    Result,
    ServerRecord,
)
from stan.engine.replaying import Held
from stan.errors import LeaseLostError, StoreRefusedError, StoreUnavailableError
from stan.server.settling import Settling
from stan.wire.frames import Frame
from stan.wire.stan_pb2 import PubMsg
from tests.simulation.client import PUBLISH
from tests.simulation.observer import Observer

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World

MOST_IDLE_RINGS = 1000


class Crash(Exception):
    """The process dies here."""


def read_guid(frame: Frame) -> bytes:
    """The guid of a publish; nothing for any other frame."""
    subject, _, payload = frame
    if payload is None or not subject.startswith(PUBLISH):
        return b""
    try:
        return PubMsg.FromString(payload).guid.encode()
    except Exception:
        return b""


class Server:
    def __init__(self, world: World, node: Node) -> None:
        self.world = world
        self.node = node
        self.dead = False
        self.deadline_ns: int | None = None
        self.outstanding: set[int] = set()  # loads of messages
        self.asked_guids: set[int] = set()  # loads of guids
        self.asked_rows: set[int] = set()  # loads of the outbox table
        self._chunk: list[Frame] = []
        self._committing: Batch | None = None
        self._sealed_within = world.profile.settings.limits
        self._applied = False
        self._last_ticket = 0
        self._deletions: dict[int, tuple[int, int]] = {}  # ticket -> channel ID, sequence
        self._posts: dict[int, bytes] = {}  # ticket -> what was published
        # Ticket -> channel ID, floor, last sequence, and how many up to that stay, or -1.
        self._purges: dict[int, tuple[int, int, int, int]] = {}
        self._rings = 0
        self._rang_at_ns = -1
        self._epoch = node.epoch
        self._settling = Settling(node.clock_ns())
        self.owed: set[bytes] = set()  # publishes that were held, and what became of them
        record = ServerRecord("test-cluster", "_INBOX.sim")
        world.store.server = record
        self.engine = Engine(
            world.profile.settings, world.store.recover(), record, world.new_id, node.clock_ns()
        )
        self.observer = Observer(world, self)
        node.server = self
        node.port.receive = self.arrive

    @property
    def leads(self) -> bool:
        """Whether the store is this server's, whatever it knows of that itself."""
        return self._epoch == self.world.store.lease.epoch

    def start(self) -> None:
        """Deliver what was recovered, and run."""
        self.engine.start(self.node.clock_ns())
        self._guarded_turn()

    def start_with(self, held: Held) -> None:
        """The same, with what was held while nobody led."""
        now_ns = self.node.clock_ns()
        frames = [frame for _, some in held for frame in some]
        self.owed = {guid for frame in frames if (guid := read_guid(frame))}
        self.engine.start(now_ns)
        self.observer.receiving(self, frames)
        self.engine.replay(held, now_ns)
        self._guarded_turn()

    def settled_ns(self) -> int:
        """As the pump finds it out: what came before this moment is settled."""
        engine = self.engine
        if not engine.publishing.guids.holds and not (
            engine.batches.in_flight is not None
            or engine.publishing.queued_messages
            or engine.changes.urgent
        ):
            self._settling.rest(self.node.clock_ns())
        return self._settling.settled_ns

    def _later(self, delay_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        """Let something happen in this process, which may be frozen by then."""
        self.world.events.after(delay_ns, self._when_awake, action, *arguments)

    def _when_awake(self, action: Callable[..., None], *arguments: Any) -> None:
        frozen_ns = self.node.frozen_until_ns - self.world.events.now_ns
        if frozen_ns > 0:
            self._later(frozen_ns, action, *arguments)
        elif not self.dead:
            action(*arguments)

    # Frames.

    def arrive(self, frame: Frame) -> None:
        """A frame is in the socket; a read takes all that is there."""
        if not self._chunk:
            self._later(self.world.rng.choice((0, 0, 200_000, 2_000_000)), self._read)
        self._chunk.append(frame)

    def _read(self) -> None:
        frames, self._chunk = self._chunk, []
        self.observer.receiving(self, frames)
        self.engine.receive(frames, self.node.clock_ns())
        self._guarded_turn()

    def ring(self) -> None:
        """The engine's next deadline has come."""
        if self._rang_at_ns == self.world.events.now_ns:
            self._rings += 1
            assert self._rings < MOST_IDLE_RINGS, "the engine asks for the same moment for ever"
        else:
            self._rang_at_ns, self._rings = self.world.events.now_ns, 0
        self.engine.tick(self.node.clock_ns())
        self._guarded_turn()

    def change_limits(self, limits: StoreLimits) -> None:
        """The operator wants other limits."""
        self.engine.change_limits(limits, self.node.clock_ns())
        self._guarded_turn()

    def administer(self, operation: Operation) -> None:
        """The operator asks for something; what it says of a purge is checked."""
        self._last_ticket += 1
        if isinstance(operation, Purge):
            channel = self.engine.channels.by_name.get(operation.channel)
            if channel is not None and channel.floor is None:
                channel_id, last, keep = channel.channel_id, channel.last, operation.keep
                floor = min(operation.up_to, last) + 1
                if operation.up_to < 0:
                    floor = last + 1 - max(keep, 0)
                    if keep > 0 and all(channel_id != one for one, _ in self._deletions.values()):
                        floor = self.world.store.find_floor(channel_id, last, keep)
                self.world.store.allow_purge(channel_id, floor)
                self._purges[self._last_ticket] = (channel_id, floor, last, keep)
        try:
            self.engine.administer(self._last_ticket, operation, self.node.clock_ns())
        except OperationRefused as error:
            self.world.trace("operator", f"refused: {error}")
            self._purges.pop(self._last_ticket, None)
        else:
            self._note(operation)
        self._guarded_turn()

    def _note(self, operation: Operation) -> None:
        """What the checkers must know of an operation before anything comes of it."""
        store, channels = self.world.store, self.engine.channels.by_name
        self.world.trace("operator", f"{operation}")
        if isinstance(operation, DeleteMessage):
            one = (channels[operation.channel].channel_id, operation.sequence)
            store.deletions.add(one)
            self._deletions[self._last_ticket] = one
        elif isinstance(operation, PublishMessage):
            store.posts[operation.data] = 0
            self._posts[self._last_ticket] = operation.data
        elif isinstance(operation, MoveDurable):
            name = operation.name
            channel = channels[name.channel]
            if name.queue_group:
                cursor = channel.groups[name.queue_group]
            else:
                cursor = channel.durables[name.client_id, name.durable].cursor
            self.observer.moved(cursor, cursor.last_sent + 1)

    def _hear_outcomes(self) -> None:
        for outcome in self.engine.take_outcomes():
            self.world.trace("operator", f"{outcome}")
            purge = self._purges.pop(outcome.ticket, None)
            deletion = self._deletions.pop(outcome.ticket, None)
            post = self._posts.pop(outcome.ticket, None)
            if outcome.error:
                continue
            if purge is not None:
                self.world.store.check_purged(*purge)
            if deletion is not None:
                self.world.store.check_deleted(*deletion)
                self.observer.deleted(*deletion)
            if post is not None:
                sequence = outcome.numbers["sequence"]
                assert self.world.store.posts[post] == sequence > 0, "published otherwise than told"

    # A turn.

    def _guarded_turn(self) -> None:
        self._guarded(self._turn)

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        if self.dead:
            return
        try:
            action(*arguments)
        except Crash:
            self.die()
            self.node.crashed()

    def _turn(self) -> None:
        engine, world = self.engine, self.world
        self.observer.called(self)
        if self._committing is None:
            self._seal()
        self._point()
        self._send()
        self._hear_outcomes()
        loads = engine.take_loads()
        for load in loads:
            self._begin_load(load)
        for level, text in engine.take_notices():
            world.trace(level, text)
        self._point()
        port = self.node.port
        # Without a connection nothing is ticked, as in the pump; it rings when that is back.
        self.deadline_ns = engine.next_deadline_ns() if port.hears or port.speaks else None

    def _send(self) -> None:
        sends = self.engine.take_sends()
        if sends:
            operations = self.observer.sending(self, b"".join(sends))
            for subject, reply, payload in operations:
                self.world.network.from_server(self.node.port, subject, payload, reply)

    def _point(self) -> None:
        """A point between two steps, where the process may die."""
        crash = self.world.faults.crash
        if crash and self.world.rng.random() < crash:
            raise Crash

    # Commits.

    def _seal(self) -> None:
        while self._seal_one():
            pass

    def _seal_one(self) -> bool:
        """Whether the next one may follow at once: this one is true already."""
        world = self.world
        now_ns, publishing = self.node.clock_ns(), self.engine.publishing
        last, is_all_queued = publishing.lanes.last_number, not publishing.guids.holds
        batch = self.engine.seal(now_ns)
        if batch is None:
            return False
        self._settling.seal(now_ns, last, publishing.lanes.first_number(), is_all_queued)
        self.observer.called(self)
        self._sealed_within = self.engine.settings.limits
        self._committing = batch
        self._applied = False
        faults, chance = world.faults, world.rng.random()
        delay_ns = self._store_delay()
        if chance < faults.commit_unavailable:
            self._later(delay_ns, self._commit_failed, StoreUnavailableError("no store"))
            return False
        chance -= faults.commit_unavailable
        if chance < faults.commit_refused:
            self._later(delay_ns, self._commit_failed, StoreRefusedError("disk full"))
            return False
        chance -= faults.commit_refused
        unknown = chance < faults.commit_unknown
        if unknown and world.rng.random() < 0.5:
            # Connection lost; asking shows that it did not happen.
            self._later(delay_ns * 3, self._commit_failed, StoreUnavailableError("lost"))
            return False
        if delay_ns == 0 and not unknown:
            result = self._apply()
            if result is None:
                return False
            self._committed(result)
            return world.profile.store_ns == 0
        world.events.after(delay_ns, self._apply_later, unknown)
        return False

    def _store_delay(self) -> int:
        most_ns = self.world.profile.store_ns
        return int(self.world.rng.random() * most_ns) if most_ns else 0

    def _apply(self) -> Result | None:
        """The store makes the batch true, or says that it belongs to another server."""
        batch = self._committing
        assert batch is not None
        now_ns = self.node.clock_ns()
        store = self.world.store
        try:
            result = store.apply(batch, now_ns, self._sealed_within, self._epoch, self)
        except LeaseLostError:
            self._later(0, self.depose)
            return None
        self._applied = True
        self.observer.stored(batch)
        return result

    def _apply_later(self, unknown: bool) -> None:
        if self.dead:
            return
        result = self._apply()
        if result is None:
            return
        if unknown:
            assert self._committing is not None
            trims = self._committing.trims
            result = Result(unfinished=frozenset(trim.channel_id for trim in trims))
        self._later(self._store_delay(), self._committed_later, result, unknown)

    def _committed_later(self, result: Result, unknown: bool) -> None:
        if unknown and not self.leads:
            self.depose()  # it asks what is true, and learns who leads
            return
        self._guarded(self._committed_alone, result)
        self._guarded_turn()

    def _committed_alone(self, result: Result) -> None:
        self._committed(result)
        if self.world.profile.store_ns == 0:
            self._seal()

    def _committed(self, result: Result) -> None:
        batch, self._committing = self._committing, None
        assert batch is not None
        self._point()
        self.engine.committed(batch, result, self.node.clock_ns())
        self._settling.commit()
        self.observer.called(self)
        if self.world.rng.random() < 0.5:  # the pump seals again before it sends, or not
            self._send()

    def _commit_failed(self, error: Exception) -> None:
        batch, self._committing = self._committing, None
        assert batch is not None
        self.world.trace("store", f"batch {batch.number} failed: {error}")
        self.engine.commit_failed(batch, error, self.node.clock_ns())
        self._settling.fail()
        self._guarded_turn()

    @property
    def committing(self) -> Batch | None:
        return self._committing

    # Loads.

    def _begin_load(self, load: Load) -> None:
        world = self.world
        outstanding = self._outstanding(load)
        assert load.load_id not in outstanding, "a load ID was given twice"
        outstanding.add(load.load_id)
        if world.rng.random() < world.faults.load_fails:
            self._later(self._store_delay() + 1_000_000, self._load_failed, load)
        else:
            world.events.after(self._store_delay(), self._read_history, load)

    def _outstanding(self, load: Load) -> set[int]:
        if isinstance(load, OutboxLoad):
            return self.asked_rows
        return self.asked_guids if isinstance(load, GuidLoad) else self.outstanding

    def _read_history(self, load: Load) -> None:
        if not self.dead:
            history = self.world.store.load(load)
            self._later(self._store_delay(), self._loaded, load, history)

    def _loaded(self, load: Load, history: History) -> None:
        self._outstanding(load).discard(load.load_id)
        self.engine.loaded(load, history, self.node.clock_ns())
        self._guarded_turn()

    def _load_failed(self, load: Load) -> None:
        self._outstanding(load).discard(load.load_id)
        error = StoreUnavailableError("cannot read")
        self.engine.load_failed(load, error, self.node.clock_ns())
        self._guarded_turn()

    # The end.

    def depose(self) -> None:
        """It has learned that it does not lead any more: it says nothing more."""
        self._end()
        self.world.trace(self.node.name, "deposed")
        self.node.deposed()

    def retire(self) -> None:
        """It has committed and said all that it received."""
        self._send()
        self._end()

    def _end(self) -> None:
        self.dead = True
        self.deadline_ns = None
        self.node.port.receive = None

    def die(self) -> None:
        """The process ends; a commit under way happens, or not."""
        self._end()
        self.world.trace(self.node.name, "the server died")
        if self._committing is not None and not self._applied and self.world.rng.random() < 0.5:
            if self.node.lingers:
                self.world.events.after(self._store_delay(), self._apply)
            else:
                self._apply()
