"""One batch, one transaction: the steps in the order that the records promise.

Blocking functions over a Session; nothing here connects, waits or retries. Invariants: the
lease is proved before anything is written; what the batch makes of the channels is in the
draft, and nowhere else until COMMIT returned.
"""

from typing import TYPE_CHECKING

from stan.engine.records import Batch, ChannelRecord, Result
from stan.store.sql.dialect import AtOnce, Phase, Session, insert_sql
from stan.store.sql.guids import guid_row, write_published
from stan.store.sql.lease import Lease, lost
from stan.store.sql.ledger import Draft, Ledger
from stan.store.sql.outbox import write_outbox
from stan.store.sql.rows import (
    BOUNDS_COLUMNS,
    CLIENT_COLUMNS,
    DELETE_MESSAGES,
    SUBSCRIPTION_COLUMNS,
    client_row,
    digest_key,
    pack_limits,
    pack_text,
    subscription_row,
)
from stan.store.sql.runs import StoredRun, stored_run
from stan.store.sql.trimming import begin_at, drop_head, drop_message, find_heads

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
    "stan_channels",
    ("channel_id", "name", "deleted", *BOUNDS_COLUMNS, "swept_sequence", "own_limits"),
)
_LIMIT_CHANNEL = "UPDATE stan_channels SET own_limits=? WHERE channel_id=?"
_DELETE_CHANNEL = "UPDATE stan_channels SET deleted=1 WHERE channel_id=?"
_DELETE_SUBSCRIPTIONS = "DELETE FROM stan_subscriptions WHERE channel_id=?"


def apply_batch(
    session: Session,
    batch: Batch,
    ledger: Ledger,
    lease: Lease,
    encryption: "Encryption | None" = None,
) -> tuple[Draft, Result]:
    """Write the whole batch and commit it. The ledger is only read: settle the draft."""
    draft = Draft(ledger, batch)
    runs = _store_runs(batch, draft, encryption)
    at_once = session.dialect.at_once
    rows = len(draft.changed) + len(batch.subscriptions_put) + len(batch.outbox_taken)
    if (
        at_once
        and _is_plain(batch)
        and at_once.fits(runs, rows)
        and _trim_ahead(session, at_once, batch, draft)
    ):
        _write_at_once(session, at_once, batch, draft, runs, lease)
    else:
        session.begin()
        lease.fence(session, batch.number)
        _write_in_steps(session, batch, draft, runs)
        session.commit()
    shortened = [trim.channel_id for trim in batch.trims]
    shortened += [channel_id for channel_id, _ in batch.messages_deleted]
    bounds = {channel_id: draft.read(channel_id)[0] for channel_id in shortened}
    return draft, Result(bounds, frozenset(draft.unfinished))


def _write_in_steps(session: Session, batch: Batch, draft: Draft, runs: list[StoredRun]) -> None:
    """Write everything, a statement after the other."""
    for channel_id in batch.channels_deleted:
        session.execute(_DELETE_CHANNEL, (channel_id,))
        session.execute(_DELETE_SUBSCRIPTIONS, (channel_id,))
    session.dialect.insert_messages(session, runs)
    _apply_trims(session, batch, draft)
    for channel_id, sequence in batch.messages_deleted:
        bounds, _ = draft.read(channel_id)
        draft.move(channel_id, drop_message(session, bounds, channel_id, sequence))
    session.execute_many(DELETE_MESSAGES, draft.take_sweeps(_sweep_budget(runs)))
    _write_channels(session, batch.channels_created, draft)
    for channel in batch.channels_limited:
        draft.read(channel.channel_id)  # it exists
        session.execute(_LIMIT_CHANNEL, (pack_limits(channel.limits), channel.channel_id))
    _write_clients(session, batch)
    _write_subscriptions(session, batch)
    write_published(session, batch)
    write_outbox(session, batch)


def _store_runs(batch: Batch, draft: Draft, encryption: "Encryption | None") -> list[StoredRun]:
    """The batch's messages as stored; the draft gets the bounds that they make."""
    runs: list[StoredRun] = []
    for run in batch.runs:
        if run.payloads:
            draft.append(run)
            runs.append(stored_run(run, encryption))
    return runs


def _is_plain(batch: Batch) -> bool:
    """Whether there are only messages with guids, trims and subscriptions to write."""
    return not (
        batch.channels_deleted
        or batch.channels_created
        or batch.channels_limited
        or batch.messages_deleted
        or batch.clients_put
        or batch.clients_deleted
        or batch.subscriptions_deleted
        or batch.message_ids
        or batch.outbox_parked
    )


def _trim_ahead(session: Session, at_once: AtOnce, batch: Batch, draft: Draft) -> bool:
    """Find where the trimmed channels will begin among the rows that stand already, so that
    all can be written at once. False, and nothing changed, when it takes more than that."""
    heads = find_heads(session, at_once, batch.trims, draft.stored)
    if heads is None:
        return False
    for trim in batch.trims:
        bounds, _ = draft.read(trim.channel_id)
        head = heads.get(trim.channel_id)
        if head is not None:
            bounds = begin_at(bounds, head, head[0] - bounds.first_sequence)
        draft.move(trim.channel_id, bounds)
    return True


def _write_at_once(
    session: Session,
    at_once: AtOnce,
    batch: Batch,
    draft: Draft,
    runs: list[StoredRun],
    lease: Lease,
) -> None:
    """Commit a plain batch in one exchange with the database."""
    sweeps = draft.take_sweeps(_sweep_budget(runs))
    channels = [
        (channel_id, *bounds, swept) for channel_id, (bounds, swept) in draft.changed.items()
    ]
    # One statement must not write a row twice; the last record of a subscription counts.
    records = {record.subscription_id: record for record in batch.subscriptions_put}
    subscriptions = [subscription_row(record) for record in records.values()]
    fence = (batch.number, lease.lease_ms, lease.epoch)
    session.phase = Phase.COMMITTING
    published = guid_row(batch) if batch.guids else None
    fenced = at_once.write(
        session, fence, runs, sweeps, channels, subscriptions, published, batch.outbox_taken
    )
    session.phase = Phase.IDLE
    if not fenced:
        raise lost(session)


def _apply_trims(session: Session, batch: Batch, draft: Draft) -> None:
    for trim in batch.trims:
        bounds, finished = drop_head(session, draft.read(trim.channel_id)[0], trim)
        draft.move(trim.channel_id, bounds)
        if not finished:
            draft.unfinished.append(trim.channel_id)


def _sweep_budget(runs: list[StoredRun]) -> int:
    """How many rows below the bounds go with this batch: more than come in, so that they
    never pile up under load."""
    return max(_SWEEP_ROWS, sum([len(run.payloads) for run in runs]) * _SWEEP_RATIO)


def _write_channels(session: Session, created: list[ChannelRecord], draft: Draft) -> None:
    rows = []
    for channel in created:
        bounds, swept = draft.read(channel.channel_id)
        name, limits = pack_text(channel.name), pack_limits(channel.limits)
        rows.append((channel.channel_id, name, 0, *bounds, swept, limits))
    session.execute_many(_INSERT_CHANNEL, rows)
    session.execute_many(
        _UPDATE_CHANNEL,
        [
            (*bounds, swept, channel_id)
            for channel_id, (bounds, swept) in draft.changed.items()
            if not draft.is_new(channel_id)
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
