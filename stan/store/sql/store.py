"""The SQL store: SQLite, PostgreSQL and MySQL/MariaDB by the same steps.

This file is the order of things: open, lease, recover, commit, load, sweep, close. The
steps themselves are blocking functions elsewhere; where they run is stan.store.sql.database's.
Invariant: the ledger changes only after COMMIT returned, or is read anew when that is
not known; nothing is written without proof of the lease.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from stan.engine.records import (
    Batch,
    Bounds,
    History,
    Load,
    RangeLoad,
    Recovered,
    Result,
    ServerRecord,
)
from stan.errors import (
    ConfigError,
    LeaseLostError,
    StoreError,
    StoreOutcomeUnknownError,
    StoreRefusedError,
    StoreUnavailableError,
)
from stan.store.sql import lease, schema
from stan.store.sql.database import Database, connect_database
from stan.store.sql.original import refuse_channels
from stan.store.sql.reading import find_time, read_everything, read_ledger, read_range
from stan.store.sql.rows import pack_text
from stan.store.sql.sampling import find_unreadable, require_plain, take_samples
from stan.store.sql.session import Session
from stan.store.sql.sources import Source
from stan.store.sql.sweeping import next_chunk, record_swept, sweep
from stan.store.sql.tables import SCHEMA_REVISION
from stan.store.sql.transaction import Ledger, apply_batch

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

_log = logging.getLogger("stan.store")
T = TypeVar("T")

_SWEEP_ROWS_MIN = 200
_SWEEP_ROWS_MAX = 5000
_SWEEP_S = 0.005
_RETRY_S = 1.0

_INITIALIZE = (
    "UPDATE stan_server SET cluster_id=?, inbox_prefix=? WHERE id=1 AND cluster_id IS NULL"
)


class SqlStore:
    """A store in a database. See stan.store.open for the settings."""

    kind = "SQL"
    persistent = True
    instant = None  # a database has to be waited for

    def __init__(
        self,
        source: Source,
        *,
        durability: str = "full",
        wait_for_lease: bool = False,
        migrate: bool = True,
        beside_original: bool = False,
        lease_s: float = 5.0,
        timeout_s: float = 10.0,
        encryption: "Encryption | None" = None,
        deliver_encrypted: bool = False,
    ) -> None:
        if lease_s <= 0 or timeout_s <= 0:
            raise ConfigError("lease and timeout of the SQL store must be positive")
        self.location = source.location
        self._lease_ms = int(lease_s * 1000)
        self._patience_s = lease_s + 2 * timeout_s
        self._wait_for_lease = wait_for_lease
        self._migrate = migrate
        self._beside_original = beside_original
        self._encryption = encryption
        self._deliver_encrypted = deliver_encrypted
        self._database: Database = connect_database(source, durability, timeout_s, lease_s)
        self._ledger = Ledger()
        self._owner = ""
        self._epoch = 0
        self._renewed_s = 0.0
        self._lost: LeaseLostError | None = None
        self._writing = asyncio.Lock()
        self._unsettled = False
        self._garbage = asyncio.Event()
        self.swept = asyncio.Event()
        """Set while no row stands that nothing speaks of any more."""
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def open(self) -> None:
        """Connect, bring the schema up to date, take the lease. Once in an object's life.

        Raises SchemaError, LeaseLostError (another server holds the store), StoreError.
        """
        try:
            await self._database.write(self._prepare_schema, patient=True)
            await self._take_lease()
            self._ledger = await self._database.write(read_ledger, patient=True)
        except BaseException:
            await self.close()
            raise
        self._notice_garbage()
        self._tasks = [
            asyncio.create_task(self._renew_forever(), name="stan-store-lease"),
            asyncio.create_task(self._sweep_forever(), name="stan-store-sweep"),
        ]

    async def recover(self) -> Recovered:
        """Read everything but messages."""
        async with self._writing:
            await self._settle()
            recovered, self._ledger = await self._write(read_everything, patient=True)
        self._notice_garbage()
        await self._check_key(recovered)
        return recovered

    async def initialize(self, server: ServerRecord) -> None:
        """Write who the store belongs to. Raises StoreRefusedError when it belongs to
        somebody already."""
        row = (pack_text(server.cluster_id), pack_text(server.inbox_prefix))

        def step(session: Session) -> None:
            session.begin()
            lease.check(session, self._epoch, self._lease_ms)
            if session.execute(_INITIALIZE, row) != 1:
                raise StoreRefusedError("the store already belongs to a cluster")
            session.commit()

        async with self._writing:
            await self._write(step)

    async def commit(self, batch: Batch) -> Result:
        """Apply the whole batch durably, or nothing of it."""
        async with self._writing:
            await self._settle()
            draft = await self._write(
                partial(
                    apply_batch,
                    batch=batch,
                    ledger=self._ledger,
                    epoch=self._epoch,
                    lease_ms=self._lease_ms,
                    encryption=self._encryption,
                )
            )
            draft.settle(self._ledger)
        self._notice_garbage()
        return draft.result

    async def outcome(self) -> int:
        """The number of the last batch that is true.

        After a COMMIT without an answer this first shuts that transaction out, so that the
        number returned cannot change any more.
        """
        async with self._writing:
            await self._settle()
            return await self._write(partial(lease.read_batch_number, epoch=self._epoch))

    async def load(self, load: Load) -> History:
        """Read history, on a connection that never waits for commits."""
        bounds = self._ledger.bounds.get(load.channel_id, Bounds())
        if isinstance(load, RangeLoad):
            return await self._database.read(
                partial(read_range, load=load, bounds=bounds, encryption=self._encryption)
            )
        return await self._database.read(
            partial(
                find_time,
                channel_id=load.channel_id,
                timestamp_ns=load.timestamp_ns,
                bounds=bounds,
            )
        )

    async def close(self) -> None:
        """Release the lease and every connection. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._writing:
            if self._epoch and self._lost is None:
                with contextlib.suppress(StoreError):
                    await self._database.write(partial(lease.release, epoch=self._epoch))
            await self._database.close()

    # Opening

    def _prepare_schema(self, session: Session) -> None:
        if self._migrate:
            if not (self._beside_original or schema.read_revision(session.connection)):
                refuse_channels(session.connection)
            before = schema.upgrade(session.connection, session.dialect)
            if before != SCHEMA_REVISION:
                _log.info("schema upgraded from %s to %s", before or "none", SCHEMA_REVISION)
        else:
            schema.require_current(session.connection)

    async def _take_lease(self) -> None:
        """Take the lease from nobody, from a process that is gone, or from one whose lease
        ended; wait for a live owner, or refuse as soon as it is seen to be alive."""
        self._owner = lease.owner_name()
        first: lease.Holder | None = None
        since_s = time.monotonic()
        while True:
            holder = await self._database.write(lease.read_holder)
            if first is None or holder.expires_ms != first.expires_ms:
                if first is not None and not self._wait_for_lease and holder.owner:
                    raise LeaseLostError(f"the store is in use by another server: {holder.owner}")
                if first is None and not holder.free:
                    _log.info("waiting for the store: it is in use by %s", holder.owner)
                first, since_s = holder, time.monotonic()
            # The database's clock may have been set back: a lease that nobody renewed for
            # its whole length is over, whatever the clock says.
            unchanged_s = time.monotonic() - since_s
            over = holder.free or unchanged_s > self._lease_ms / 1000
            if over and await self._try_to_take(holder, unchanged_s):
                return
            await asyncio.sleep(min(0.25, self._lease_ms / 4000))

    async def _try_to_take(self, holder: lease.Holder, waited_s: float) -> bool:
        """Take a lease that is over. A transaction that its owner left open may stand in
        the way for a while, until the database ends it."""
        take = partial(lease.take, seen=holder, owner=self._owner, lease_ms=self._lease_ms)
        try:
            self._epoch = await self._database.write(take)
        except StoreUnavailableError:
            if waited_s > self._patience_s:
                raise
            return False
        self._renewed_s = time.monotonic()
        return self._epoch > 0

    async def _check_key(self, recovered: Recovered) -> None:
        """Refuse what nobody could read without the key. A wrong one is no reason: it may be
        a new one, and the messages to come are readable."""
        samples = await self._database.read(partial(take_samples, recovered=recovered))
        if self._encryption is not None:
            problem = find_unreadable(samples, self._encryption)
            if problem:
                _log.warning("%s", problem)
        elif not self._deliver_encrypted:
            require_plain(samples)

    # Writing

    async def _write(self, step: Callable[[Session], T], *, patient: bool = False) -> T:
        """Run a writing step; remember what its failure means for the next one."""
        if self._lost is not None:
            raise self._lost
        try:
            result = await self._database.write(step, patient=patient)
        except LeaseLostError as error:
            self._lost = error
            raise
        except StoreOutcomeUnknownError:
            self._unsettled = True
            raise
        except asyncio.CancelledError:
            self._unsettled = True
            raise
        self._renewed_s = time.monotonic()
        return result

    async def _settle(self) -> None:
        """After a write whose outcome is unknown: shut it out, read what is true."""
        if self._lost is not None:
            raise self._lost
        if not self._unsettled:
            return
        try:
            self._epoch = await self._database.settle(
                partial(lease.renumber, epoch=self._epoch, owner=self._owner)
            )
        except LeaseLostError as error:
            self._lost = error
            raise
        self._ledger = await self._database.write(read_ledger, patient=True)
        self._unsettled = False
        self._notice_garbage()

    # In the background

    async def _renew_forever(self) -> None:
        pause_s = min(1.0, self._lease_ms / 4000)
        while self._lost is None:
            await asyncio.sleep(pause_s)
            if time.monotonic() - self._renewed_s < pause_s:
                continue
            with contextlib.suppress(StoreError):
                async with self._writing:
                    await self._settle()
                    await self._write(
                        partial(lease.renew, epoch=self._epoch, lease_ms=self._lease_ms)
                    )

    def _notice_garbage(self) -> None:
        if self._ledger.unswept or self._ledger.doomed:
            self.swept.clear()
            self._garbage.set()
        else:
            self.swept.set()

    async def _sweep_forever(self) -> None:
        """Remove dead rows between commits, a few milliseconds at a time."""
        rows = _SWEEP_ROWS_MIN
        while self._lost is None:
            await self._garbage.wait()
            try:
                rows = await self._sweep_once(rows)
            except StoreError as error:
                _log.debug("sweeping: %s", error)
                await asyncio.sleep(_RETRY_S)
            # As long a pause as the chunk took: commits come first.
            await asyncio.sleep(_SWEEP_S)

    async def _sweep_once(self, rows: int) -> int:
        """Remove one chunk; how many rows the next one may have."""
        async with self._writing:
            if self._unsettled:
                self._garbage.clear()  # whoever settles it sets it again
                return rows
            chunk = next_chunk(self._ledger)
            if chunk is None:
                self._garbage.clear()
                self.swept.set()
                return rows
            started_s = time.monotonic()
            end = await self._write(
                partial(sweep, chunk=chunk, rows=rows, epoch=self._epoch, lease_ms=self._lease_ms)
            )
            record_swept(self._ledger, chunk, end)
            took_s = time.monotonic() - started_s
        if took_s > _SWEEP_S:
            return max(rows // 2, _SWEEP_ROWS_MIN)
        return min(rows * 2, _SWEEP_ROWS_MAX)
