"""The contract of a store: what must be true after each call returns.

The engine decides, a store obeys: it applies a batch at once and reads ranges; it has no
policy. One behaviour suite (tests/store) runs on every implementation. All coroutines may
be called while another is running, except that there is never more than one `commit`.

Errors are those of stan.errors: StoreUnavailableError and StoreRefusedError promise that
nothing was applied; StoreOutcomeUnknownError says that the caller must ask `outcome`.
Nothing else may escape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stan.engine.records import Batch, History, Load, Recovered, Result, ServerRecord


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease, as another server sees it; without an owner nobody does. The
    owner `is_gone` when it certainly does not run any more."""

    owner: str
    epoch: int
    expires_ms: int
    remaining_ms: int
    is_gone: bool = False

    @property
    def free(self) -> bool:
        """Whether anybody may take the lease."""
        return not self.owner or self.remaining_ms <= 0 or self.is_gone


class InstantStore(Protocol):
    """What a store that needs no waiting offers besides: the pump answers in the turn in
    which it was asked."""

    def commit_now(self, batch: Batch) -> Result:
        """`commit` without a loop."""
        ...

    def load_now(self, load: Load) -> History:
        """`load` without a loop."""
        ...


@dataclass(frozen=True, slots=True)
class HeldLease:
    """The lease as its own holder knows it; the database is asked at every commit."""

    owner: str
    epoch: int
    duration_s: float


MOST_TIMES = 64


class Store(Protocol):
    kind: str
    """MEMORY or SQL, as the banner and the monitoring name it."""

    location: str
    """Where the data lives, for people; no password in it. Empty for memory."""

    persistent: bool
    """Whether anything survives the process. When false the engine need not record the
    progress of subscriptions."""

    @property
    def held_lease(self) -> HeldLease | None:
        """The lease that this process took, for people to see; None without one."""
        ...

    @property
    def instant(self) -> InstantStore | None:
        """The same store without waiting; None when it has to wait for somebody."""
        ...

    async def open(self) -> None:
        """Make the store usable: connect, create or upgrade the schema, take the lease.

        Raises SchemaError for a schema newer than the code, LeaseLostError when another
        server holds the store, StoreError for anything else a user can cause.
        """
        ...

    async def prepare(self) -> None:
        """Become ready to take the lease one day: connect, create the schema where there is
        none. Instead of `open`, and as often as it failed. Raises StoreError; a store that
        nobody can share refuses.
        """
        ...

    async def read_holder(self) -> Holder:
        """Who holds the lease now. Raises StoreError."""
        ...

    async def read_server(self) -> ServerRecord | None:
        """Who the store belongs to, without the lease; None when it is empty."""
        ...

    async def take(self, seen: Holder) -> bool:
        """Take the lease unless its holder did anything since it was `seen`. Whoever gets it
        has the store as after `open`. Raises as `open`.
        """
        ...

    async def recover(self) -> Recovered:
        """Read everything but messages. Costs grow with channels and subscriptions only.

        The bounds of a channel never go back: the last sequence survives the expiry of
        every message.
        """
        ...

    async def initialize(self, server: ServerRecord) -> None:
        """Write who the store belongs to, once, in an empty store."""
        ...

    async def commit(self, batch: Batch) -> Result:
        """Apply the whole batch durably, or nothing of it.

        After it returns, `outcome` gives at least this batch's number, a power cut loses
        nothing of it, and loads see it. The result tells the bounds of each trimmed channel.
        """
        ...

    async def outcome(self) -> int:
        """The number of the last batch that is true. Settles a StoreOutcomeUnknownError."""
        ...

    async def lost(self) -> None:
        """Wait until the store belongs to another server. Raises LeaseLostError then; a store
        that nobody shares waits for ever."""
        ...

    async def outbox_written(self) -> None:
        """Wait until somebody may have written to the outbox table. Only a hint that comes
        early: a store that cannot tell waits for ever, and a hint may be lost."""
        ...

    async def load(self, load: Load) -> History:
        """Read history. Never sees a batch in part, never waits for a commit for long.

        Messages that a trim dropped are not returned, even while their rows still stand.
        """
        ...

    async def read_times(self, messages: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """When these messages, a channel's ID and a sequence each, were stored, in Unix
        nanoseconds; those that are kept. At most `MOST_TIMES`, in one exchange."""
        ...

    async def close(self) -> None:
        """Release everything, the lease included. Safe to call twice."""
        ...
