"""From a database to the right to write into it: schema, lease, upgrade, in this order.

A schema is only upgraded by the holder of the lease, so never under another server that is
alive, of whatever version; that one's lease columns are the same in every revision. Where
there is no schema there is no lease either: it is created under a lock of the database's.
Invariant: whoever gets a lease from here found the schema at the revision of this code.
"""

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial

from stan.errors import LeaseLostError, StoreError, StoreUnavailableError
from stan.store.contract import Holder
from stan.store.settings import StoreSettings
from stan.store.sql import schema
from stan.store.sql.database import Database
from stan.store.sql.dialect import Session
from stan.store.sql.lease import Lease, owner_name, read_holder, take
from stan.store.sql.original import refuse_channels

_log = logging.getLogger("stan.store")


async def take_over(database: Database, settings: StoreSettings) -> Lease:
    """Bring the schema up to date and take the lease; wait for it if the settings say so.

    Raises SchemaError, LeaseLostError (another server holds the store), StoreError.
    """
    await prepare(database, settings)
    lease = await _take_lease(database, settings)
    await _upgrade(database, lease)
    return lease


async def prepare(database: Database, settings: StoreSettings) -> None:
    """Create the schema where there is none, and see that it can be used."""
    await database.write(partial(_create_schema, settings=settings), patient=True)


async def take_from(database: Database, settings: StoreSettings, seen: Holder) -> Lease | None:
    """Take the lease from a holder that did nothing since it was seen; None when it did.

    Raises SchemaError, StoreError.
    """
    step = partial(_try_to_take, settings=settings, holder=seen, owner=owner_name())
    lease = await database.write(step)
    if lease is not None:
        await _upgrade(database, lease)
    return lease


async def _upgrade(database: Database, lease: Lease) -> None:
    try:
        before = await database.write(partial(schema.upgrade, lease=lease), patient=True)
    except BaseException:
        with suppress(StoreError):
            await database.write(lease.release)
        raise
    if before != schema.SCHEMA_REVISION:
        _log.info("schema upgraded from %s to %s", before, schema.SCHEMA_REVISION)


def _create_schema(session: Session, settings: StoreSettings) -> None:
    """Create the schema where there is none. Refuse at once one that cannot be used."""
    revision = schema.read_revision(session.connection)
    schema.require_usable(revision, migrate=settings.migrate)
    if not revision:
        if not settings.beside_original:
            refuse_channels(session.connection)
        if schema.create(session):
            _log.info("schema upgraded from none to %s", schema.SCHEMA_REVISION)


async def _take_lease(database: Database, settings: StoreSettings) -> Lease:
    """Take the lease from nobody, from a process that is gone, or from one whose lease
    ended; wait for a live owner, or refuse as soon as it is seen to be alive."""
    owner = owner_name()
    first: Holder | None = None
    since_s = time.monotonic()
    while True:
        holder = await database.write(read_holder)
        if first is None or holder.expires_ms != first.expires_ms:
            if first is not None and not settings.wait_for_lease and holder.owner:
                raise LeaseLostError(f"the store is in use by another server: {holder.owner}")
            if first is None and not holder.free:
                _log.info("waiting for the store: it is in use by %s", holder.owner)
            first, since_s = holder, time.monotonic()
        # The database's clock may have been set back: a lease that nobody renewed for
        # its whole length is over, whatever the clock says.
        unchanged_s = time.monotonic() - since_s
        if holder.free or unchanged_s > settings.lease_s:
            try:
                lease = await database.write(
                    partial(_try_to_take, settings=settings, holder=holder, owner=owner)
                )
            except StoreUnavailableError:
                # A transaction that its owner left open may stand in the way for a while,
                # until the database ends it.
                if unchanged_s > settings.lease_s + 2 * settings.timeout_s:
                    raise
                lease = None
            if lease is not None:
                return lease
        await asyncio.sleep(min(0.25, settings.lease_s / 4))


def _try_to_take(
    session: Session, settings: StoreSettings, holder: Holder, owner: str
) -> Lease | None:
    """Take a lease that is over, of a schema that this code can use.

    The last owner may have been a newer server. Whoever changes a schema renews the lease,
    so the revision read here is still the one when the lease is taken.
    """
    revision = schema.read_revision(session.connection)
    schema.require_usable(revision, migrate=settings.migrate)
    return take(session, holder, owner, settings.lease_ms)
