"""One seeded world: everything that happens in it follows from its seed.

A step is one event: an action of a client, a frame, the end of a commit or load, a
deadline. After the given number of steps faults stop, clients behave, and the world must
become complete: every subscription has every message, every publish its answer.
"""

from collections import deque
from random import Random

from stan.engine.limits import StoreLimits
from tests.simulation.client import SUB_CLOSE, UNSUBSCRIBE, Client
from tests.simulation.client import Subscription as Orphan
from tests.simulation.member import Member, draw_group
from tests.simulation.model import ModelStore
from tests.simulation.network import Events, Network
from tests.simulation.node import Node
from tests.simulation.observer import Chronicle
from tests.simulation.peace import find_missing
from tests.simulation.profile import MS, Faults, draw, draw_limits, draw_operation
from tests.simulation.published import Published
from tests.simulation.resending import ResendingClient
from tests.simulation.server import Server
from tests.simulation.session import SessionClient
from tests.simulation.writers import Writers

START_NS = 1_700_000_000_000_000_000
MOST_STEP_NS = 4000 * MS
KINDS = ("plain", "resending", "failover", "session", "outbox")
PEACE_STEP_NS = 200 * MS
MOST_PEACE_STEPS = 400
MOST_EVENTS_IN_PEACE = 60_000


def choose_kind(seed: int) -> str:
    """What kind of world a seed makes."""
    return Random(f"kind {seed}").choices(KINDS, (4, 2, 2, 1, 2))[0]


class World:
    def __init__(
        self, seed: int, check_every: int = 4, steady: bool = False, kind: str = ""
    ) -> None:
        """Of this kind, or of one that the seed chooses. In every third world the operator
        changes the limits now and then, in every third the store encrypts, and in every second
        somebody purges and disconnects, by dice of their own; a `steady` one goes without any of
        that, and is otherwise the same."""
        self.seed = seed
        self.kind = kind or choose_kind(seed)
        self._dice = Random(f"limits {seed}")
        restless = not steady and self._dice.random() < 0.3
        self._change_limits = self._dice.choice((0.002, 0.02)) if restless else 0.0
        self.limit_changes = 0
        self._operator = Random(f"operator {seed}")
        self._operate = 0.0 if steady else self._operator.choice((0.0, 0.0, 0.005, 0.02))
        self.operations = 0
        self.check_every = check_every
        self.rng = Random(seed)
        self.profile = draw(self.rng)
        self.faults = self.profile.faults
        self.events = Events()
        self.network = Network(self.events, self.rng, self.profile.network_ns)
        self.network.lose_frame = self.faults.lose_frame
        settings = self.profile.settings
        if not steady and Random(f"encryption {seed}").random() < 0.3:
            settings.payload_overhead_bytes = 29
        if self.kind != "plain":
            settings.dedupe_window_ns = self.rng.choice((1000, 3000, 120_000)) * MS
        self.store = ModelStore(
            settings.limits,
            self.profile.trim_step,
            settings.payload_overhead_bytes,
            Published(settings.dedupe_window_ns),
        )
        self.clients: list[Client | None] = [None] * len(self.profile.client_ids)
        self.everybody: list[Client] = []
        self.peaceful = False
        self.crashes = 0
        self.steps = 0
        self._log: deque[str] = deque(maxlen=60)
        self._number = 0
        self._clock_step_ns = 0
        if self.kind == "session":
            self.store.keeps_order = False  # what was lost on its way is sent behind the next ones
        self.chronicle = Chronicle()
        self.members: list[Member] = []
        self.nodes: list[Node] = []
        self.server: Server
        has_outbox = self.kind == "outbox"
        settings.outbox = has_outbox
        if self.kind == "failover" or (has_outbox and Random(f"group {seed}").random() < 0.5):
            self._make_group()
        else:
            self.nodes.append(Node(self))
            self.server = Server(self, self.nodes[0])
            self.server.start()
        self.events.after(0, self._act)
        self.writers = Writers(self) if has_outbox else None

    def _make_group(self) -> None:
        """Several servers on the store."""
        group = self.group = draw_group(self.rng)
        settings, faults = self.profile.settings, self.faults
        settings.record_all_guids = settings.persistent = self.profile.persistent = True
        settings.queue_bytes = 1 << 20
        settings.queue_messages = max(settings.queue_messages, 1000)
        self._change_limits = self._operate = 0.0
        self.store.clock_steps = True
        faults.clock_step = 0.0
        published = self.store.published
        published.refusals_last = False
        published.clocks_differ_ns = max(group.skews_ns) - min(group.skews_ns)
        self.is_lossless = not (faults.lose_frame or faults.cut_link)
        # What a server that has just begun to listen did not hear may be heard by another one,
        # who leads later.
        deaf = not self.is_lossless or faults.crash or group.faults.early
        self.store.keeps_order = not deaf and group.members == 2
        self.led_since_ns = 0
        self.members.extend(Member(self, n, group) for n in range(group.members))
        self.nodes.extend(self.members)
        self.members[0].take()
        while not hasattr(self, "server"):
            self.events.run_next()

    # What the parts ask for.

    def clock_ns(self, skew_ns: int = 0) -> int:
        """The clock of a server, which may step back and forth."""
        now_ns = START_NS + self.events.now_ns + self._clock_step_ns + skew_ns
        self.store.newest_clock_ns = max(self.store.newest_clock_ns, now_ns)
        return now_ns

    def moment_ns(self, clock_ns: int) -> int:
        """When a clock without skew shows this."""
        return clock_ns - START_NS - self._clock_step_ns

    def new_id(self) -> str:
        return f"ID{self.next_number()}"

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def trace(self, who: str, text: str) -> None:
        self._log.append(f"{self.events.now_ns / 1e6:10.3f} ms  {who}: {text}")

    def lines(self) -> list[str]:
        """The last things that happened."""
        return list(self._log)

    # Time.

    def run(self, steps: int) -> None:
        """Live through so many steps, then through peace."""
        for _ in range(steps):
            self.step()
        self._make_peace()

    def step(self) -> None:
        """The next event, or the server's deadline when that comes first."""
        self.steps += 1
        due = [
            (due_ns, n)
            for n, node in enumerate(self.nodes)
            if (due_ns := node.due_ns()) is not None
        ]
        if due:
            due_ns, n = min(due)
            if due_ns <= self.events.next_ns():
                if due_ns > self.events.now_ns and self.profile.late_ns and not self.peaceful:
                    due_ns += int(self.rng.random() * self.profile.late_ns)
                self.events.now_ns = max(self.events.now_ns, due_ns)
                server = self.nodes[n].server
                assert server is not None
                server.ring()
                return
        self.events.run_next()

    def restart_later(self) -> None:
        self.crashes += 1
        self.events.after(int(self.rng.random() * 300 * MS), self._restart)

    def _restart(self) -> None:
        if self.server.dead and not self.members:
            self.trace("crash", "the server starts again")
            self.server = Server(self, self.nodes[0])
            self.server.start()

    # Actions.

    def _act(self) -> None:
        if self.peaceful:
            return
        self.events.after(int(self.rng.expovariate(1.0) * self.profile.think_ns), self._act)
        if self._dice.random() < self._change_limits:
            self._take_limits(draw_limits(self._dice))
        if self._operator.random() < self._operate and not self.server.dead:
            self.operations += 1
            self.server.administer(draw_operation(self._operator, self.profile))
        rng = self.rng
        chance = rng.random()
        if self.members:
            self._disturb(rng.random())
        if chance < self.faults.cut_link:
            self._cut_link(rng.choice(self.nodes) if self.members else self.nodes[0])
        elif chance < self.faults.cut_link + self.faults.clock_step:
            self._step_clock(rng.choice((-2000, -100, -1, 1, 100, 2000)) * MS)
        index = rng.randrange(len(self.clients))
        client = self.clients[index]
        if client is None or client.state == "gone" or rng.random() < 0.005:
            # Another one of the same ID, whether the first still lives or not.
            client = self._make_client(self.profile.client_ids[index])
            self.clients[index] = client
            self.everybody.append(client)
            client.connect()
        else:
            self._act_as(client)

    def _make_client(self, client_id: str) -> Client:
        if self.kind == "session" and self.rng.random() < 0.7:
            return SessionClient(self, client_id)
        if self.kind != "plain" and self.rng.random() < 0.7:
            return ResendingClient(self, client_id)
        return Client(self, client_id)

    def _step_clock(self, step_ns: int) -> None:
        """Where publishes are sent again clocks agree a little, as the protocol asks."""
        step_to_ns = self._clock_step_ns + step_ns
        if self.kind == "plain" or abs(step_to_ns) <= MOST_STEP_NS:
            self.store.clock_steps = True
            self.store.published.clocks_differ_ns = 2 * MOST_STEP_NS
            self._clock_step_ns = step_to_ns

    def _act_as(self, client: Client) -> None:
        rng = self.rng
        if isinstance(client, ResendingClient | SessionClient) and rng.random() < 0.02:
            client.cut()
        chance = rng.random()
        channel = rng.choice(self.profile.channels)
        if chance < 0.45:
            client.publish(channel, 1 + rng.randrange(self.profile.publish_burst))
        elif chance < 0.6:
            # What a client asked for before it was connected a takeover may ask for again.
            if len(client.subscriptions) < 5 and (client.state == "up" or not self.members):
                client.subscribe(channel)
        elif chance < 0.8:
            if client.subscriptions:
                mine = rng.choice(client.subscriptions)
                if mine.answered:
                    client.ack_some(mine)
        elif chance < 0.9:
            if client.subscriptions and rng.random() < 0.6:
                mine = rng.choice(client.subscriptions)
                client.leave(mine, rng.choice((UNSUBSCRIBE, SUB_CLOSE)))
        elif chance < 0.94:
            client.ping()
        elif chance < 0.96:
            client.hung = not client.hung
        elif chance < 0.97:
            client.close()
        elif chance < 0.98:
            client.die()
        elif rng.random() < self.profile.misbehave * 5:
            client.talk_nonsense()

    def _take_limits(self, limits: StoreLimits) -> None:
        """The operator reloads the server; a dead one starts with what it finds."""
        self.limit_changes += 1
        self.trace("operator", f"other limits: {limits}")
        self.store.ever.append(limits)
        if self.server.dead:
            self.profile.settings.limits = limits
        else:
            self.server.change_limits(limits)

    def _disturb(self, chance: float) -> None:
        """Something befalls a member of the group."""
        faults, member = self.group.faults, self.rng.choice(self.members)
        if chance < faults.freeze and member.frozen_until_ns < self.events.now_ns:
            length_ns = int(self.rng.random() * 2 * self.group.lease_ns)
            member.frozen_until_ns = self.events.now_ns + length_ns
            self.trace(member.name, f"freezes for {length_ns / MS:.0f} ms")
        elif chance < faults.freeze + faults.early:
            member.take()
        elif chance < faults.freeze + faults.early + faults.hand_over:
            member.hand_over()

    def _cut_link(self, node: Node) -> None:
        port = node.port
        if not port.up:
            return
        if self.members:  # one direction, or both
            port.hears = self.rng.random() < 0.3
            port.speaks = not port.hears and self.rng.random() < 0.4
        else:
            port.up = False
        self.trace("link", "cut")
        self.events.after(int(self.rng.random() * 500 * MS), self._restore_link, node)

    def _restore_link(self, node: Node) -> None:
        node.port.up = True
        self.trace("link", "back")
        if isinstance(node, Member):
            node.standby.miss()
        if node.server is not None and not node.server.dead:
            node.server.ring()

    # Peace.

    def _make_peace(self) -> None:
        """Faults stop; wait until nothing is missing. Raises AssertionError when it stays so."""
        self.peaceful = True
        self.trace("world", "peace")
        self.faults = Faults()
        self.network.lose_frame = 0.0
        for node in self.nodes:
            if not node.port.up:
                self._restore_link(node)
        self._restart()
        if self.members:
            awake_ns = max(member.frozen_until_ns for member in self.members)
            self._live_until(max(self.events.now_ns, awake_ns) + 3 * self.group.lease_ns)
        # Frames on their way were sent in the faulty world; let them arrive first.
        self._live_until(self.events.now_ns + 2000 * MS)
        for client in self.everybody:
            if client.state != "gone":
                client.calm_down()
                client.forgive()
                client.ping()
        self._live_until(self.events.now_ns + 500 * MS)
        living = [client for client in self.everybody if client.state == "up"]
        for client in living:
            client.errors.clear()
            for channel in self.profile.channels:
                client.publish(channel, 2)
        self._end_orphans(living)
        self._become_complete(living)
        if self._change_limits:
            self._take_limits(draw_limits(self._dice))
            self._become_complete(living)

    def _become_complete(self, living: list[Client]) -> None:
        missing: list[str] = []
        for _ in range(MOST_PEACE_STEPS):
            self._live_until(self.events.now_ns + PEACE_STEP_NS)
            missing = find_missing(self, living)
            if not missing:
                return
        raise AssertionError("in peace, still: " + "; ".join(missing[:5]))

    def _end_orphans(self, living: list[Client]) -> None:
        """Close what a replaced client subscribed in the name of a living one: subscribe
        requests carry no connection ID, so nobody else ever would."""
        inboxes = {mine.inbox for client in living for mine in client.subscriptions}
        voices = [client for client in self.everybody if client.state != "gone"]
        for member in list(self.server.engine.subscriptions.by_ack_inbox.values()):
            if member.inbox not in inboxes and voices:
                orphan = Orphan(member.cursor.channel.name, member.inbox, 1.0)
                voices[0].leave(orphan, SUB_CLOSE, member.client_id)

    def _live_until(self, when_ns: int) -> None:
        reached: list[int] = []
        self.events.at(when_ns, reached.append, when_ns)
        for _ in range(MOST_EVENTS_IN_PEACE):
            self.step()
            if reached:
                return
        raise AssertionError("peace is too busy")
