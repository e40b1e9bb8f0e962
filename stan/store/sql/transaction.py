"""One batch, one transaction: the steps in the order that the records promise.

Blocking functions over a Session; nothing here connects, waits or retries. The ledger is
the store's copy of the channels' rows. Invariant: a transaction works on a draft, and the
ledger takes the draft over only when COMMIT returned.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from stan.engine.records import Batch, Bounds, ChannelRecord, Result, Run
from stan.errors import StoreRefusedError
from stan.store.sql import lease
from stan.store.sql.dialect import AtOnce, insert_sql
from stan.store.sql.guids import guid_row, write_published
from stan.store.sql.rows import (
    BOUNDS_COLUMNS,
    CLIENT_COLUMNS,
    DELETE_MESSAGES,
    SUBSCRIPTION_COLUMNS,
    Row,
    StoredRun,
    bounds_row,
    client_row,
    digest_key,
    pack_text,
    stored_run,
    subscription_row,
)
from stan.store.sql.session import Phase, Session
from stan.store.sql.trimming import begin_at, drop_head, find_heads

if TYPE_CHECKING:
    from stan.store.encryption import Encryption

_SWEEP_ROWS = 1000
_SWEEP_RATIO = 2

_UPDATE_CHANNEL = (
    "UPDATE stan_channels SET "
    + ", ".join(f"{name}=?" for name in BOUNDS_COLUMNS)
    + ", swept_sequence=? WHERE channel_id=?"
)
_INSERT_CHANNEL = insert_sql(
    "stan_channels", ("channel_id", "name", "deleted", *BOUNDS_COLUMNS, "swept_sequence")
)
_DELETE_CHANNEL = "UPDATE stan_channels SET deleted=1 WHERE channel_id=?"
_DELETE_SUBSCRIPTIONS = "DELETE FROM stan_subscriptions WHERE channel_id=?"


@dataclass(slots=True)
class Ledger:
    """What the channels' rows hold. `swept` is the sequence below which no row stands;
    `doomed` are deleted channels whose rows are still there: [lowest, end)."""

    bounds: dict[int, Bounds] = field(default_factory=dict)
    swept: dict[int, int] = field(default_factory=dict)
    doomed: dict[int, tuple[int, int]] = field(default_factory=dict)
    unswept: set[int] = field(default_factory=set)

    def put(self, channel_id: int, bounds: Bounds, swept: int) -> None:
        """Take over a channel's row."""
        self.bounds[channel_id] = bounds
        self.swept[channel_id] = swept
        if swept < bounds.first_sequence:
            self.unswept.add(channel_id)
        else:
            self.unswept.discard(channel_id)

    def doom(self, channel_id: int) -> None:
        """A channel was deleted: forget it but for its rows."""
        bounds = self.bounds.pop(channel_id, None)
        swept = self.swept.pop(channel_id, 1)
        self.unswept.discard(channel_id)
        if bounds is not None:
            self.doomed[channel_id] = (swept, bounds.last_sequence + 1)


@dataclass(slots=True)
class Draft:
    """What a transaction changes in the ledger."""

    deleted: list[int] = field(default_factory=list)
    changed: dict[int, tuple[Bounds, int]] = field(default_factory=dict)
    result: Result = field(default_factory=Result)

    def settle(self, ledger: Ledger) -> None:
        """The transaction is true: so is the draft."""
        for channel_id in self.deleted:
            ledger.doom(channel_id)
        for channel_id, (bounds, swept) in self.changed.items():
            ledger.put(channel_id, bounds, swept)


def apply_batch(
    session: Session,
    batch: Batch,
    ledger: Ledger,
    epoch: int,
    lease_ms: int,
    encryption: "Encryption | None" = None,
) -> Draft:
    """Write the whole batch and commit it. The ledger is only read."""
    draft = Draft(deleted=list(batch.channels_deleted))
    created = {channel.channel_id for channel in batch.channels_created}
    runs = _extend_channels(batch, ledger, draft, created, encryption)
    at_once = session.dialect.at_once
    unfinished: list[int] = []
    if at_once and _is_plain(batch) and _trim_ahead(session, at_once, batch, ledger, draft):
        _write_at_once(session, at_once, batch, draft, runs, epoch, lease_ms)
    else:
        session.begin()
        lease.fence(session, epoch, batch.number, lease_ms)
        unfinished = _write_in_steps(session, batch, ledger, draft, created, runs)
        session.commit()
    draft.result = Result(
        {trim.channel_id: draft.changed[trim.channel_id][0] for trim in batch.trims},
        frozenset(unfinished),
    )
    return draft


def _write_in_steps(
    session: Session,
    batch: Batch,
    ledger: Ledger,
    draft: Draft,
    created: set[int],
    runs: list[StoredRun],
) -> list[int]:
    """Write everything, a statement after the other; the channels with unfinished trims."""
    for channel_id in batch.channels_deleted:
        session.execute(_DELETE_CHANNEL, (channel_id,))
        session.execute(_DELETE_SUBSCRIPTIONS, (channel_id,))
    session.dialect.insert_messages(session, runs)
    unfinished = _apply_trims(session, batch, ledger, draft, created)
    session.execute_many(DELETE_MESSAGES, _take_sweeps(draft, runs))
    _write_channels(session, batch.channels_created, draft)
    _write_clients(session, batch)
    _write_subscriptions(session, batch)
    write_published(session, batch)
    return unfinished


def extend_bounds(bounds: Bounds, run: Run) -> Bounds:
    """The bounds after the run was appended."""
    count = len(run.payloads)
    last = run.first_sequence + count - 1
    end_position = run.end_position
    if bounds.count:
        return replace(
            bounds,
            last_sequence=last,
            end_position=end_position,
            last_timestamp_ns=run.timestamp_ns,
            count=bounds.count + count,
        )
    return Bounds(
        first_sequence=run.first_sequence,
        last_sequence=last,
        first_position=run.position,
        end_position=end_position,
        first_timestamp_ns=run.timestamp_ns,
        last_timestamp_ns=run.timestamp_ns,
        count=count,
    )


def _state(ledger: Ledger, draft: Draft, created: set[int], channel_id: int) -> tuple[Bounds, int]:
    """A channel's bounds and sweep mark as this transaction sees them."""
    changed = draft.changed.get(channel_id)
    if changed is not None:
        return changed
    if channel_id in created:
        return Bounds(), 1
    bounds = ledger.bounds.get(channel_id)
    if bounds is None or channel_id in draft.deleted:
        raise StoreRefusedError(f"channel {channel_id} does not exist")
    return bounds, ledger.swept[channel_id]


def _extend_channels(
    batch: Batch,
    ledger: Ledger,
    draft: Draft,
    created: set[int],
    encryption: "Encryption | None",
) -> list[StoredRun]:
    """The batch's messages as stored; the draft gets the bounds that they make."""
    runs: list[StoredRun] = []
    for run in batch.runs:
        if not run.payloads:
            continue
        bounds, swept = _state(ledger, draft, created, run.channel_id)
        if swept == bounds.first_sequence and not bounds.count:
            swept = run.first_sequence  # nothing stands below what is written now
        draft.changed[run.channel_id] = extend_bounds(bounds, run), swept
        runs.append(stored_run(run, encryption))
    return runs


def _is_plain(batch: Batch) -> bool:
    """Whether there are only messages with guids, trims and subscriptions to write."""
    return not (
        batch.channels_deleted
        or batch.channels_created
        or batch.clients_put
        or batch.clients_deleted
        or batch.subscriptions_deleted
        or batch.message_ids
    )


def _trim_ahead(
    session: Session, at_once: AtOnce, batch: Batch, ledger: Ledger, draft: Draft
) -> bool:
    """Find where the trimmed channels will begin among the rows that stand already, so that
    all can be written at once. False, and nothing changed, when it takes more than that."""
    heads = find_heads(session, at_once, batch.trims, ledger.bounds)
    if heads is None:
        return False
    for trim in batch.trims:
        bounds, swept = _state(ledger, draft, set(), trim.channel_id)
        head = heads.get(trim.channel_id)
        if head is not None:
            bounds = begin_at(bounds, head, head[0] - bounds.first_sequence)
        draft.changed[trim.channel_id] = bounds, swept
    return True


def _write_at_once(
    session: Session,
    at_once: AtOnce,
    batch: Batch,
    draft: Draft,
    runs: list[StoredRun],
    epoch: int,
    lease_ms: int,
) -> None:
    """Commit a plain batch in one exchange with the database."""
    sweeps = _take_sweeps(draft, runs)
    channels = [
        (channel_id, *bounds_row(bounds), swept)
        for channel_id, (bounds, swept) in draft.changed.items()
    ]
    # One statement must not write a row twice; the last record of a subscription counts.
    records = {record.subscription_id: record for record in batch.subscriptions_put}
    subscriptions = [subscription_row(record) for record in records.values()]
    session.phase = Phase.COMMITTING
    published = guid_row(batch) if batch.guids else None
    fenced = at_once.write(
        session, (batch.number, lease_ms, epoch), runs, sweeps, channels, subscriptions, published
    )
    session.phase = Phase.IDLE
    if not fenced:
        raise lease.lost(session)


def _apply_trims(
    session: Session, batch: Batch, ledger: Ledger, draft: Draft, created: set[int]
) -> list[int]:
    unfinished = []
    for trim in batch.trims:
        bounds, swept = _state(ledger, draft, created, trim.channel_id)
        bounds, finished = drop_head(session, bounds, trim)
        draft.changed[trim.channel_id] = bounds, swept
        if not finished:
            unfinished.append(trim.channel_id)
    return unfinished


def _take_sweeps(draft: Draft, runs: list[StoredRun]) -> list[Row]:
    """Rows below the bounds to remove, as (channel, start, end): more than come in, so that
    they never pile up under load; what is left is the background's. The draft takes them
    for removed."""
    budget = max(_SWEEP_ROWS, sum([len(run.payloads) for run in runs]) * _SWEEP_RATIO)
    sweeps: list[Row] = []
    for channel_id, (bounds, swept) in draft.changed.items():
        end = min(bounds.first_sequence, swept + budget)
        if end > swept:
            sweeps.append((channel_id, swept, end))
            draft.changed[channel_id] = bounds, end
            budget -= end - swept
    return sweeps


def _write_channels(session: Session, created: list[ChannelRecord], draft: Draft) -> None:
    new = {channel.channel_id for channel in created}
    rows = []
    for channel in created:
        bounds, swept = draft.changed.setdefault(channel.channel_id, (Bounds(), 1))
        rows.append((channel.channel_id, pack_text(channel.name), 0, *bounds_row(bounds), swept))
    session.execute_many(_INSERT_CHANNEL, rows)
    session.execute_many(
        _UPDATE_CHANNEL,
        [
            (*bounds_row(bounds), swept, channel_id)
            for channel_id, (bounds, swept) in draft.changed.items()
            if channel_id not in new
        ],
    )


def _write_clients(session: Session, batch: Batch) -> None:
    if batch.clients_put:
        sql = session.dialect.upsert_sql("stan_clients", CLIENT_COLUMNS)
        session.execute_many(sql, [client_row(client) for client in batch.clients_put])
    session.execute_many(
        "DELETE FROM stan_clients WHERE client_key=?",
        [(digest_key(client_id),) for client_id in batch.clients_deleted],
    )


def _write_subscriptions(session: Session, batch: Batch) -> None:
    if batch.subscriptions_put:
        sql = session.dialect.upsert_sql("stan_subscriptions", SUBSCRIPTION_COLUMNS)
        session.execute_many(sql, [subscription_row(s) for s in batch.subscriptions_put])
    session.execute_many(
        "DELETE FROM stan_subscriptions WHERE subscription_id=?",
        [(subscription_id,) for subscription_id in batch.subscriptions_deleted],
    )
