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
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from stan.engine.records import (
    Batch,
    Bounds,
    GuidLoad,
    History,
    Load,
    OutboxLoad,
    RangeLoad,
    Recovered,
    Result,
    ServerRecord,
)
from stan.errors import (
    LeaseLostError,
    StoreError,
    StoreOutcomeUnknownError,
    StoreRefusedError,
    StoreUnavailableError,
)
from stan.store.contract import HeldLease, Holder
from stan.store.settings import StoreSettings
from stan.store.sql.database import Database, connect_database
from stan.store.sql.dialect import Session
from stan.store.sql.guids import find_published, forget_published
from stan.store.sql.lease import Lease, read_holder
from stan.store.sql.ledger import Ledger
from stan.store.sql.opening import prepare, take_from, take_over
from stan.store.sql.outbox import read_outbox
from stan.store.sql.reading import (
    find_time,
    read_everything,
    read_ledger,
    read_range,
    read_server,
    read_times,
)
from stan.store.sql.rows import pack_text
from stan.store.sql.sampling import Sample, find_unreadable, require_plain, take_samples
from stan.store.sql.sources import parse_source
from stan.store.sql.sweeping import next_chunk, record_swept, sweep
from stan.store.sql.transaction import apply_batch

_log = logging.getLogger("stan.store")
T = TypeVar("T")

_SWEEP_ROWS_MIN = 200
_SWEEP_ROWS_MAX = 5000
_SWEEP_S = 0.005
_RETRY_S = 1.0
_PASSING = (StoreUnavailableError, StoreOutcomeUnknownError, LeaseLostError)

_INITIALIZE = (
    "UPDATE stan_server SET cluster_id=?, inbox_prefix=? WHERE id=1 AND cluster_id IS NULL"
)


class SqlStore:
    """A store in a database. Raises ConfigError for settings that make no sense."""

    kind = "SQL"
    persistent = True
    instant = None  # a database has to be waited for

    def __init__(self, settings: StoreSettings) -> None:
        source = parse_source(settings.sql_driver, settings.sql_source)
        self.location = source.location
        self._settings = settings
        self._database: Database = connect_database(source, settings)
        self._ledger = Ledger()
        self._lease = Lease("", -1, 0)  # nobody's, until it is taken
        self._renewed_s = 0.0
        self._lost: LeaseLostError | None = None
        self._losing = asyncio.Event()
        self._writing = asyncio.Lock()
        self._unsettled = False
        self._forget_ns = 0  # what was published before is to be forgotten; 0: nothing is
        self._garbage = asyncio.Event()
        self.swept = asyncio.Event()
        """Set while no row stands that nothing speaks of any more."""
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def held_lease(self) -> HeldLease | None:
        """The lease that was taken."""
        lease = self._lease
        return HeldLease(lease.owner, lease.epoch, lease.lease_ms / 1000) if lease.owner else None

    async def open(self) -> None:
        """Connect, bring the schema up to date, take the lease. Once in an object's life.

        Raises SchemaError, LeaseLostError (another server holds the store), StoreError.
        """
        try:
            self._lease = await take_over(self._database, self._settings)
            await self._begin()
        except BaseException:
            await self.close()
            raise

    async def prepare(self) -> None:
        """Connect and see that the schema can be used; the lease stays whose it is."""
        async with self._writing:
            self._require_open()
            await prepare(self._database, self._settings)

    async def read_holder(self) -> Holder:
        """Who holds the lease now."""
        async with self._writing:
            self._require_open()
            return await self._database.write(read_holder)

    async def read_server(self) -> ServerRecord | None:
        """Who the store belongs to."""
        async with self._writing:
            self._require_open()
            return await self._database.write(read_server)

    async def take(self, seen: Holder) -> bool:
        """Take the lease from a holder that did nothing since it was seen."""
        async with self._writing:
            self._require_open()
            lease = await take_from(self._database, self._settings, seen)
            if lease is None:
                return False
            self._lease = lease
            await self._begin()
        return True

    async def _begin(self) -> None:
        """The lease is ours."""
        self._renewed_s = time.monotonic()
        self._ledger = await self._database.write(read_ledger, patient=True)
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
            # On the connection that writes: at the start no other is needed.
            samples = await self._database.write(partial(take_samples, recovered=recovered))
        self._notice_garbage()
        self._check_key(samples)
        return recovered

    async def initialize(self, server: ServerRecord) -> None:
        """Write who the store belongs to. Raises StoreRefusedError when it belongs to
        somebody already."""
        row = (pack_text(server.cluster_id), pack_text(server.inbox_prefix))

        def step(session: Session) -> None:
            session.begin()
            self._lease.prove(session)
            if session.execute(_INITIALIZE, row) != 1:
                raise StoreRefusedError("the store already belongs to a cluster")
            session.commit()

        async with self._writing:
            await self._write(step)

    async def commit(self, batch: Batch) -> Result:
        """Apply the whole batch durably, or nothing of it."""
        async with self._writing:
            await self._settle()
            draft, result = await self._write(
                partial(
                    apply_batch,
                    batch=batch,
                    ledger=self._ledger,
                    lease=self._lease,
                    encryption=self._settings.encryption,
                )
            )
            draft.settle()
        self._forget_ns = batch.forget_ns or self._forget_ns
        self._notice_garbage()
        return result

    async def outcome(self) -> int:
        """The number of the last batch that is true.

        After a COMMIT without an answer this first shuts that transaction out, so that the
        number returned cannot change any more.
        """
        async with self._writing:
            await self._settle()
            return await self._write(self._lease.read_batch_number)

    async def lost(self) -> None:
        """Wait until another server owns the store, as a commit or the renewal finds out."""
        await self._losing.wait()
        if self._lost is not None:
            raise self._lost

    async def outbox_written(self) -> None:
        """Wait until PostgreSQL says so; the others have no way to."""
        if not self._settings.outbox:
            await asyncio.get_running_loop().create_future()
        await self._database.notified()

    async def load(self, load: Load) -> History:
        """Read history, on a connection that never waits for commits."""
        if isinstance(load, GuidLoad):
            found = await self._database.read(partial(find_published, load=load))
            return History([], [], found)
        if isinstance(load, OutboxLoad):
            look = partial(read_outbox, load=load)
            rows = await self._database.look(look)
            if await self._database.attend(bool(rows)):
                rows = await self._database.look(look)
            return History([], [], rows=rows)
        bounds = self._ledger.bounds.get(load.channel_id, Bounds())
        if isinstance(load, RangeLoad):
            encryption = self._settings.encryption
            return await self._database.read(
                partial(read_range, load=load, bounds=bounds, encryption=encryption)
            )
        return await self._database.read(
            partial(
                find_time,
                channel_id=load.channel_id,
                timestamp_ns=load.timestamp_ns,
                bounds=bounds,
            )
        )

    async def read_times(self, messages: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """See the contract."""
        bounds = self._ledger.bounds
        kept = [
            (channel_id, sequence)
            for channel_id, sequence in messages
            if sequence >= bounds.get(channel_id, Bounds()).first_sequence
        ]
        return await self._database.read(partial(read_times, messages=kept)) if kept else {}

    async def close(self) -> None:
        """Release the lease and every connection. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._writing:
            if self._lease.epoch > 0 and self._lost is None:
                with contextlib.suppress(StoreError):
                    await self._database.write(self._lease.release)
            await self._database.close()

    def _check_key(self, samples: list[Sample]) -> None:
        """Refuse what nobody could read without the key. A wrong one is no reason: it may be
        a new one, and the messages to come are readable."""
        if self._settings.encryption is not None:
            problem = find_unreadable(samples, self._settings.encryption)
            if problem:
                _log.warning("%s", problem)
        elif not self._settings.deliver_encrypted:
            require_plain(samples)

    # Writing

    async def _write(self, step: Callable[[Session], T], *, patient: bool = False) -> T:
        """Run a writing step; remember what its failure means for the next one."""
        if self._lost is not None:
            raise self._lost
        self._require_open()
        try:
            result = await self._database.write(step, patient=patient)
        except LeaseLostError as error:
            self._lose(error)
            raise
        except StoreOutcomeUnknownError:
            self._unsettled = True
            raise
        except asyncio.CancelledError:
            self._unsettled = True
            raise
        self._renewed_s = time.monotonic()
        return result

    def _lose(self, error: LeaseLostError) -> None:
        self._lost = error
        self._losing.set()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailableError("the store is closed")

    async def _settle(self) -> None:
        """After a write whose outcome is unknown: shut it out, read what is true."""
        if self._lost is not None:
            raise self._lost
        if not self._unsettled:
            return
        try:
            self._lease = await self._database.settle(self._lease.renumber)
        except LeaseLostError as error:
            self._lose(error)
            raise
        self._ledger = await self._database.write(read_ledger, patient=True)
        self._unsettled = False
        self._notice_garbage()

    # In the background

    async def _renew_forever(self) -> None:
        """Renew the lease while no commit does."""
        pause_s = min(1.0, self._settings.lease_s / 4)
        reported = ""
        while self._lost is None:
            await asyncio.sleep(pause_s)
            if time.monotonic() - self._renewed_s < pause_s:
                continue
            try:
                async with self._writing:
                    await self._settle()
                    await self._write(self._lease.renew)
                reported = ""
            except Exception as error:
                reported = _report("renewing the lease", error, reported)

    def _notice_garbage(self) -> None:
        if self._ledger.unswept or self._ledger.doomed or self._forget_ns:
            self.swept.clear()
            self._garbage.set()
        else:
            self.swept.set()

    async def _sweep_forever(self) -> None:
        """Remove dead rows between commits, a few milliseconds at a time."""
        rows = _SWEEP_ROWS_MIN
        reported = ""
        while self._lost is None:
            await self._garbage.wait()
            try:
                rows = await self._sweep_once(rows)
                reported = ""
            except Exception as error:
                reported = _report("sweeping", error, reported)
                await asyncio.sleep(_RETRY_S)
            # As long a pause as the chunk took: commits come first.
            await asyncio.sleep(_SWEEP_S)

    async def _forget(self) -> None:
        before_ns = self._forget_ns
        step = partial(forget_published, before_ns=before_ns, lease=self._lease)
        if not await self._write(step) and self._forget_ns == before_ns:
            self._forget_ns = 0

    async def _sweep_once(self, rows: int) -> int:
        """Remove one chunk; how many rows the next one may have."""
        async with self._writing:
            if self._unsettled:
                self._garbage.clear()  # whoever settles it sets it again
                return rows
            if self._forget_ns:
                await self._forget()
                return rows
            chunk = next_chunk(self._ledger)
            if chunk is None:
                self._garbage.clear()
                self.swept.set()
                return rows
            started_s = time.monotonic()
            end = await self._write(partial(sweep, chunk=chunk, rows=rows, lease=self._lease))
            record_swept(self._ledger, chunk, end)
            took_s = time.monotonic() - started_s
        if took_s > _SWEEP_S:
            return max(rows // 2, _SWEEP_ROWS_MIN)
        return min(rows * 2, _SWEEP_ROWS_MAX)


def _report(doing: str, error: Exception, reported: str) -> str:
    """Log what stopped a background task for the moment, and give back what was said. What
    passes by itself, and what was `reported` before, is for the debug log only."""
    words = f"{doing}: {error}"
    if isinstance(error, _PASSING) or words == reported:
        _log.debug("%s", words)
    elif isinstance(error, StoreError):
        _log.error("%s", words)
    else:
        _log.error("a defect in the store, %s", words, exc_info=error)
    return words
