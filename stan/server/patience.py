"""For how long a member of a group lets others take the lease first.

Any of them may take a free lease at any time, and nothing acknowledged would be lost. But what
clients sent lately is held by those who heard it, so who heard less waits for a moment. All
times are those of the loop. Invariant: every wait has an end, so that the last member serves.
"""

from stan.store.contract import Holder

# Who handed over lets the others go first.
REST_S = 2.0
# How long one that has just begun to listen, or knows of another one that heard more, waits:
# they hold what it did not hear.
YIELD_S = 1.0
# Who was deposed takes nothing on the word of NATS for so many lengths of the lease.
WARY_LEASES = 10


class Patience:
    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._wary_until_s = 0.0
        self._resting_until_s = 0.0
        self._yielding_until_s = 0.0
        self._seen: tuple[Holder, float] | None = None  # a holder, and since when it is that

    @property
    def has_seen(self) -> bool:
        """Whether there was ever a lease to look at."""
        return self._seen is not None

    def rest(self, now_s: float) -> None:
        """This server hands over: until another one has taken the lease, or nobody wants it."""
        self._resting_until_s = now_s + REST_S

    def give_way(self, now_s: float) -> None:
        """Another member heard what this one did not."""
        self._yielding_until_s = now_s + YIELD_S

    def be_wary(self, now_s: float) -> None:
        """This server was deposed: two that see two halves of a NATS cluster must not take
        from each other for ever."""
        self._wary_until_s = now_s + WARY_LEASES * self._lease_s

    def allows(self, holder: Holder, is_silent: bool, heard_for_s: float, now_s: float) -> bool:
        """Whether the lease may be taken from this holder, of whom NATS knows nothing when it
        `is_silent`, by one that has heard everything for so long."""
        seen = self._seen
        if seen is None or (seen[0].epoch, seen[0].expires_ms) != (
            holder.epoch,
            holder.expires_ms,
        ):
            seen = self._seen = (holder, now_s)
        if holder.owner:
            self._resting_until_s = 0.0  # somebody took what this server handed over
            if heard_for_s < YIELD_S:
                return False
        if now_s < self._yielding_until_s:
            return False
        if holder.free:
            return bool(holder.owner) or now_s >= self._resting_until_s
        # The database's clock may have been set back: a lease that nobody renewed for its
        # whole length is over, whatever the clock says.
        if now_s - seen[1] > self._lease_s:
            return True
        return is_silent and now_s >= self._wary_until_s
