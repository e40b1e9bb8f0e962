"""Whether the server is there, and what to do about it: ping, register again, or give up.

Sans-I/O: the clock is an argument and randomness is handed in. `tick` says the next step
and whoever asks carries it out. While all is well a ping goes out each interval. A ping
without an answer makes it look closer, each second; what it then finds is an interruption,
not an end. A loop that stood still is no proof against the server: its answers may lie
unread in the socket.
"""

import enum
from collections.abc import Callable

from stan.client.options import ConnectOptions
from stan.units import SECOND_NS

# How long an answer may take before the next ping asks again, and how often that happens
# until the server counts as gone. With the default interval of 5 s that is after 9 s.
_CLOSER_LOOK_NS = SECOND_NS
_PATIENCE = 4
# A timer that fires later than this was held up by its own program.
_STALL_NS = SECOND_NS // 2
# After NATS came back all its clients ask at once; within this time each.
_SCATTER_NS = SECOND_NS // 20

# How often, and for how long, a client ID must be taken until that is final.
_TAKEN_TRIES = 3
_TAKEN_NS = 2 * SECOND_NS


def wait_ns(gone_ns: int, random: Callable[[], float]) -> int:
    """How long to wait before the next try, when the other side is gone for so long.

    A tenth of that time and never above five seconds, so that nobody waits much longer than
    needed; random, so that a thousand clients do not come all at once.
    """
    longest_ns = min(SECOND_NS // 10 + gone_ns // 10, 5 * SECOND_NS)
    return int(longest_ns * (0.5 + random() / 2))


class Step(enum.Enum):
    """What to do now."""

    NOTHING = enum.auto()
    PING = enum.auto()
    REGISTER = enum.auto()
    LOSE = enum.auto()
    """The old way: too many pings unanswered."""
    GIVE_UP = enum.auto()


class Pulse:
    """What is known about the server's life."""

    def __init__(self, options: ConnectOptions, random: Callable[[], float]) -> None:
        self.is_up = False
        """Whether the server answers, as far as is known, and knows us."""
        self.is_nats_up = True
        self.since_ns = 0
        """When the interruption began."""
        self.must_register = False
        self._resumes = options.resume
        self._give_up_ns = (
            None if options.give_up_after is None else int(options.give_up_after * SECOND_NS)
        )
        self._random = random
        self._interval_ns = 0
        self._max_out = options.ping_max_out
        self._unanswered = 0
        self._pinged_ns = 0
        self._is_registering = False
        self._taken = 0
        self._taken_since_ns = 0
        self._due_ns: int | None = None

    def registered(self, interval_ns: int, max_out: int, now_ns: int) -> None:
        """The server registered us. An interval of 0: it wants no pings."""
        self.is_up = True
        self.must_register = self._is_registering = False
        self._interval_ns = interval_ns
        self._max_out = max_out
        self._unanswered = self._taken = 0
        self._due_ns = now_ns + interval_ns if interval_ns else None

    def answered(self, now_ns: int) -> bool:
        """A ping was answered: the server knows us. True when that ends an interruption."""
        if self.must_register:
            return False  # an answer from before, or to a registration that we never heard of
        self._unanswered = 0
        if self.is_up:
            if self._resumes:
                self._due_ns = max(now_ns, self._pinged_ns + self._interval_ns)
            return False
        self.is_up = True
        self._due_ns = now_ns + self._interval_ns
        return True

    @property
    def has_pings(self) -> bool:
        """Whether the server answers pings at all."""
        return self._interval_ns > 0

    def probed(self, now_ns: int) -> None:
        """A ping went out between two. It is to be answered, but those that follow it soon do
        not count again."""
        if not self._unanswered:
            self._unanswered = 1
            self._pinged_ns = now_ns
            self._due_ns = now_ns + min(_CLOSER_LOOK_NS, self._interval_ns)

    def interrupt(self, now_ns: int) -> bool:
        """The server, or NATS, is gone. True when that is news."""
        if not self.is_up:
            return False
        self.is_up = False
        self.since_ns = now_ns
        self._unanswered = 0
        self._due_ns = now_ns
        if not self._interval_ns:  # pings are not for this server
            self.must_register = True
        return True

    def forgotten(self, now_ns: int) -> None:
        """The server does not know us any more."""
        self.must_register = True
        if not self._is_registering:
            self._due_ns = now_ns

    def registering(self) -> None:
        """The request is out. Whatever becomes of it, the server may have taken it."""
        self.must_register = self._is_registering = True

    def not_registered(self, now_ns: int) -> None:
        """It was not answered, or refused."""
        self._is_registering = False
        self._due_ns = now_ns + self._wait_ns(now_ns)

    def taken(self, now_ns: int) -> bool:
        """It was refused because the client ID is taken: whether that is final. For a moment it
        may be so by our own last registration."""
        if not self._taken:
            self._taken_since_ns = now_ns
        self._taken += 1
        self.not_registered(now_ns)
        return self._taken >= _TAKEN_TRIES and now_ns - self._taken_since_ns >= _TAKEN_NS

    def nats_down(self) -> None:
        """Nothing can be asked until `nats_up`."""
        self.is_nats_up = False
        self._is_registering = False

    def nats_up(self, now_ns: int) -> None:
        """NATS is back: ask at once, or nearly."""
        self.is_nats_up = True
        self._due_ns = now_ns + int(self._random() * _SCATTER_NS)

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do."""
        if self.is_up:
            return self._due_ns
        waits = self._due_ns if self.is_nats_up and not self._is_registering else None
        if self._give_up_ns is None:
            return waits
        gives_up_ns = self.since_ns + self._give_up_ns
        return gives_up_ns if waits is None else min(waits, gives_up_ns)

    def tick(self, now_ns: int) -> Step:
        """The next step, when it is time for one."""
        if self.is_up:
            if self._due_ns is None or self._due_ns > now_ns:
                return Step.NOTHING
            return self._look_closer(now_ns) if self._resumes else self._count(now_ns)
        if self._give_up_ns is not None and now_ns >= self.since_ns + self._give_up_ns:
            return Step.GIVE_UP
        if not self.is_nats_up or self._is_registering:
            return Step.NOTHING
        if self._due_ns is None or self._due_ns > now_ns:
            return Step.NOTHING
        if self.must_register:
            return Step.REGISTER
        self._due_ns = now_ns + self._wait_ns(now_ns)
        return Step.PING

    def _look_closer(self, now_ns: int) -> Step:
        assert self._due_ns is not None
        if self._unanswered and now_ns - self._due_ns > _STALL_NS:
            self._due_ns = now_ns + _CLOSER_LOOK_NS
            return Step.NOTHING
        if self._unanswered >= min(_PATIENCE, self._max_out):
            return Step.LOSE
        self._unanswered += 1
        self._pinged_ns = now_ns
        self._due_ns = now_ns + min(_CLOSER_LOOK_NS, self._interval_ns)
        return Step.PING

    def _count(self, now_ns: int) -> Step:
        # From now, not from the deadline: after a pause (a suspended laptop) the missed pings
        # are not made up for in one burst.
        self._due_ns = now_ns + self._interval_ns
        self._unanswered += 1
        return Step.LOSE if self._unanswered > self._max_out else Step.PING

    def _wait_ns(self, now_ns: int) -> int:
        return wait_ns(now_ns - self.since_ns, self._random)
