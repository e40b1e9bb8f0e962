"""A member of a group of servers on one store: it stands by, serves, and stands by again.

What it holds, what it lets go and when it believes NATS that nobody serves is the real code;
what `stan.server.failover` does with that over sockets and tasks is done here step by step.
Every step may find the process frozen, the link cut or the store slow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from stan.engine.replaying import Held
from stan.server.failover import MARGIN_NS
from stan.server.settling import Questions
from stan.server.silence import Silence
from stan.server.standby import Standby
from stan.wire.frames import Frame
from tests.simulation.node import MS, Node
from tests.simulation.server import Server, read_guid

if TYPE_CHECKING:
    from tests.simulation.world import World

LOOK_NS = 100 * MS
# All that was sent before a server led has reached it so long after.
SETTLED_NS = 200 * MS


@dataclass(slots=True)
class GroupFaults:
    """Chances of an action."""

    freeze: float = 0.0
    early: float = 0.0  # somebody takes over although the active lives
    hand_over: float = 0.0


@dataclass(slots=True)
class GroupProfile:
    """What a group is like, drawn once."""

    faults: GroupFaults
    members: int
    lease_ns: int
    buffer_bytes: int
    one_machine: bool
    farthest_ns: int  # what a way through NATS may take longer than another
    skews_ns: list[int]


def draw_group(rng: Random) -> GroupProfile:
    pick = rng.choice
    members = pick([2, 2, 3])
    return GroupProfile(
        faults=GroupFaults(
            pick([0.0, 0.002, 0.01]), pick([0.0, 0.002, 0.01]), pick([0.0, 0.002, 0.005])
        ),
        members=members,
        lease_ns=pick([300, 1000, 3000]) * MS,
        buffer_bytes=pick([2000, 20_000, 200_000, 200_000]),
        one_machine=rng.random() < 0.5,
        farthest_ns=pick([0, 5, 100]) * MS,
        skews_ns=[pick([0, -1, 100, -1500, 1500, 3000]) * MS for _ in range(members)],
    )


class Member(Node):
    lingers = True

    def __init__(self, world: World, number: int, group: GroupProfile) -> None:
        super().__init__(world)
        self.name = f"s{number}"
        self.group = group
        self.skew_ns = group.skews_ns[number]
        self.port.far_ns = int(world.rng.random() * group.farthest_ns)
        self.state = "down"
        self.takeovers = 0
        # Publishes since it listens: when by its clock, and by the world's.
        self._heard: list[tuple[int, int, bytes]] = []
        self.standby = Standby(group.buffer_bytes, self.clock_ns)
        self._silence = Silence()
        self._questions = Questions()
        self._wary_until_ns = 0
        self._resting_until_ns = 0
        self.boot()
        self._tick()

    def _later(self, delay_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        self.world.events.after(delay_ns, self._when_awake, action, *arguments)

    def _when_awake(self, action: Callable[..., None], *arguments: Any) -> None:
        frozen_ns = self.frozen_until_ns - self.world.events.now_ns
        if frozen_ns > 0:
            self._later(frozen_ns, action, *arguments)
        else:
            action(*arguments)

    def _store_ns(self) -> int:
        return int(self.world.rng.random() * self.world.profile.store_ns)

    # Standing by.

    def boot(self) -> None:
        """A process starts."""
        if self.state == "down":
            self.standby = Standby(self.group.buffer_bytes, self.clock_ns)
            self._wary_until_ns = self._resting_until_ns = 0
            self._stand_by()

    def _stand_by(self) -> None:
        self.state = "standby"
        self._listen()
        self._silence.forget()
        self.port.receive = self._hear

    def _listen(self) -> None:
        self.standby.listen()
        self._heard = []

    def _hear(self, frame: Frame) -> None:
        if self.frozen_until_ns > self.world.events.now_ns:
            self._later(0, self._hear_late, frame)
            return
        self.standby.receive([frame])
        if guid := read_guid(frame):
            self._heard.append((self.clock_ns(), self.world.events.now_ns, guid))

    def _hear_late(self, frame: Frame) -> None:
        if self.port.receive is not None:
            self.port.receive(frame)

    def _tick(self) -> None:
        self._later(int((0.8 + 0.4 * self.world.rng.random()) * LOOK_NS), self._tick)
        if self.state == "standby" and self.port.up:
            self._look()
        elif self.state == "active":
            self._renew()

    def _look(self) -> None:
        """Take the lease when nobody has it, or NATS says that nobody serves; else ask."""
        lease, now_ns = self.world.store.lease, self.world.events.now_ns
        owner = lease.owner
        if not isinstance(owner, Member):
            free = now_ns >= self._resting_until_ns
        else:
            self._resting_until_ns = 0
            gone = owner.state in ("down", "standby") and self.group.one_machine
            free = lease.expires_ns <= now_ns or gone
        if free or (self._silence.is_proof(lease.epoch) and now_ns >= self._wary_until_ns):
            self.take()
        elif owner is not None:
            self._ask(lease.epoch)

    def _ask(self, epoch: int) -> None:
        """Ask whoever serves up to where all is settled."""
        world = self.world
        answering = [one for one in world.members if one.state in ("active", "taking")]
        answering = [one for one in answering if one.port.hears]
        if not answering:
            self._silence.observe(epoch, world.events.now_ns / 1e9)
            return
        self._silence.forget()
        for one in answering:
            way_ns = int(world.rng.random() * (world.profile.network_ns + self.port.far_ns))
            one._later(way_ns, one._answer, self, self.clock_ns())

    def _answer(self, asker: Member, moment_ns: int) -> None:
        server = self.server
        if self.state != "active" or server is None or not self.port.up:
            return
        settled_ns = server.settled_ns()
        moment_ns = self._questions.ask(asker.name, moment_ns, self.clock_ns(), settled_ns)
        if moment_ns:
            asker._later(0, asker._let_go, moment_ns)

    def _let_go(self, moment_ns: int) -> None:
        if self.state == "standby":
            self.standby.settle(moment_ns - MARGIN_NS)

    # Taking over.

    def take(self) -> None:
        """Try to take the lease as it is seen now."""
        if self.state == "standby":
            self.state = "taking"
            lease = self.world.store.lease
            seen = lease.epoch, lease.expires_ns, lease.owner
            self._later(self._store_ns(), self._compare_and_set, seen)

    def _compare_and_set(self, seen: tuple[int, int, object]) -> None:
        lease = self.world.store.lease
        if self.state != "taking":
            return
        if seen != (lease.epoch, lease.expires_ns, lease.owner):
            self.state = "standby"
            return
        lease.epoch += 1
        lease.owner = self
        lease.expires_ns = self.world.events.now_ns + self.group.lease_ns
        self.epoch = lease.epoch
        self.world.trace(self.name, f"took epoch {lease.epoch}")
        self._later(self._store_ns(), self._serve, lease.epoch)

    def _serve(self, epoch: int) -> None:
        if self.state != "taking" or epoch != self.epoch:
            return
        if epoch != self.world.store.lease.epoch:
            self.state = "standby"  # another one took it meanwhile; what is held stays
            return
        gap_ns = self.standby.gap_ns
        held = self.standby.take()
        self._check_held(held, gap_ns)
        self.state = "active"
        self.takeovers += 1
        self._questions = Questions()
        server = Server(self.world, self)
        self.world.server = server
        server.start_with(held)

    def _check_held(self, held: Held, gap_ns: int) -> None:
        """What it heard since the last leader led is held, settled, or known to be missing."""
        world = self.world
        since_ns, world.led_since_ns = world.led_since_ns + SETTLED_NS, world.events.now_ns
        if not world.is_lossless:
            return
        guids = {read_guid(frame) for _, frames in held for frame in frames}
        for arrived_ns, heard_ns, guid in self._heard:
            if arrived_ns > gap_ns and heard_ns > since_ns and guid not in guids:
                settled = world.store.published.is_settled(guid)
                assert settled, f"{self.name}: {guid!r} was let go, and is not settled"

    def _renew(self) -> None:
        lease = self.world.store.lease
        server = self.server
        if server is None or server.dead:
            return
        if lease.epoch != self.epoch:
            server.depose()
        else:
            lease.expires_ns = self.world.events.now_ns + self.group.lease_ns

    # Leaving.

    def crashed(self) -> None:
        """The process is gone; another one starts soon."""
        self.world.crashes += 1
        self.state = "down"
        self.world.events.after(int(self.world.rng.random() * 300 * MS), self.boot)

    def deposed(self) -> None:
        """Another member serves."""
        self._wary_until_ns = self.world.events.now_ns + 10 * self.group.lease_ns
        self._stand_by()

    def hand_over(self) -> None:
        """Commit and answer what was received, and let another one serve; a frozen process
        hears of it when it wakes."""
        if self.frozen_until_ns > self.world.events.now_ns:
            self._later(0, self.hand_over)
        elif self.state == "active" and self.server is not None:
            self.world.trace(self.name, "hands over")
            self.state = "leaving"
            self._listen()
            self.port.receive = self._hear
            self._leave(self.server)

    def _leave(self, server: Server) -> None:
        if server.dead:
            return
        if server.committing is not None or server.engine.publishing.queued_messages:
            self._later(5 * MS, self._leave, server)
            return
        server.retire()
        lease = self.world.store.lease
        if lease.epoch == self.epoch:
            lease.owner, lease.expires_ns = None, 0
        self._resting_until_ns = self.world.events.now_ns + 2000 * MS
        self.state = "standby"
        self.port.receive = self._hear
