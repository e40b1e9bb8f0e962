"""The batches: what is sealed, and what follows when it is true or failed.

One batch is in flight at most. Publishes wait unsealed while a commit runs; sequences and
timestamps are given when the batch is sealed. Nothing is said before it is true: acks,
deliveries and answers leave from `committed` only. A batch that failed burns no sequence.
"""

from stan.engine.bursts import Burst, write_acks
from stan.engine.cache import Cache
from stan.engine.changes import Changes, Reply
from stan.engine.channels import Channels
from stan.engine.clients import Clients
from stan.engine.delivery import Delivery
from stan.engine.guids import pack_guids
from stan.engine.outbox import Outbox
from stan.engine.posting import Posting
from stan.engine.publishing import Publishing
from stan.engine.records import Batch, Bounds, Result, Run, Trim
from stan.engine.relaying import Relaying
from stan.engine.settings import Settings
from stan.engine.state import Channel
from stan.engine.subscriptions import Subscriptions
from stan.engine.timers import Timers
from stan.errors import StoreUnavailableError
from stan.units import SECOND_NS
from stan.wire.stan_pb2 import CloseResponse, ConnectResponse, SubscriptionResponse

# How often the store is told to forget old guids, and how much longer than promised it
# keeps them.
_FORGET_INTERVAL_NS = 5 * SECOND_NS
_FORGET_SLACK_NS = 60 * SECOND_NS


class Batches:
    def __init__(
        self,
        settings: Settings,
        channels: Channels,
        clients: Clients,
        subscriptions: Subscriptions,
        delivery: Delivery,
        publishing: Publishing,
        changes: Changes,
        timers: Timers,
        outbox: Outbox,
        cache: Cache,
        last_number: int,
    ) -> None:
        self.in_flight: Batch | None = None
        self.relaying: Relaying = Relaying(settings, channels, publishing, changes, timers, outbox)
        self.posting: Posting = Posting(settings, channels, publishing, outbox)
        self._nothing: Changes = Changes()  # while there is no batch
        self._taken: Changes = self._nothing
        self._bursts: list[Burst] = []
        self._last_number: int = last_number
        self._retry_at_ns: int = 0
        self._progress_at_ns: int = 0
        self._forget_at_ns: int = 0
        self._settings = settings
        self._channels = channels
        self._clients = clients
        self._subscriptions = subscriptions
        self._delivery = delivery
        self._publishing = publishing
        self._changes = changes
        self._outbox = outbox
        self._cache = cache

    # Sealing.

    def due_ns(self) -> int:
        """When `seal` has something to do: 0 for now, a moment to come, or -1 for never."""
        if self.in_flight is not None:
            return -1
        changes = self._changes
        if self._publishing.queued_messages or changes.urgent or changes.trims_due:
            return self._retry_at_ns
        if changes.progressed:
            return max(self._progress_at_ns, self._retry_at_ns)
        return -1

    def seal(self, now_ns: int, everything: bool) -> Batch | None:
        """Give sequences and hand over what must be stored; None while a batch is in flight
        or nothing is due. `everything` includes progress that could wait."""
        due_ns = self.due_ns()
        if due_ns < 0 or (due_ns > now_ns and not everything):
            return None
        batch = Batch(self._last_number + 1)
        runs, self._bursts = self._publishing.seal(now_ns)
        batch.runs = list(runs.values())
        for run in batch.runs:
            channel = self._channels.by_id[run.channel_id]
            self._add_trim(batch, channel, run.end_position, len(run.framed), now_ns)
        if self._changes.trims_due:
            self._trim_due(batch, runs, now_ns)
        if self._changes.urgent or now_ns >= self._progress_at_ns or everything:
            self._progress_at_ns = now_ns + self._settings.progress_interval_ns
            self._taken = self._changes.fill(batch)
        self._record_guids(batch, now_ns)
        if self.relaying.pending:
            self.relaying.fill(batch, self._bursts)
        if not (batch.runs or batch.trims or has_records(batch)):
            taken, self._taken = self._taken, self._nothing
            self._answer(taken.replies, now_ns)
            return None
        self.in_flight = batch
        self._last_number += 1
        return batch

    def _record_guids(self, batch: Batch, now_ns: int) -> None:
        """Let the store remember what may be published again."""
        guids = self._publishing.guids
        if guids.unsettled or guids.passing:
            batch.guids = pack_guids(self._bursts)
            batch.message_ids = [
                (burst.channel.channel_id, message_id)
                for burst in self._bursts
                for message_id in burst.message_ids
            ]
            batch.sealed_ns = now_ns
            if now_ns >= self._forget_at_ns:
                self._forget_at_ns = now_ns + _FORGET_INTERVAL_NS
                batch.forget_ns = now_ns - self._settings.dedupe_window_ns - _FORGET_SLACK_NS

    def _settle_guids(self, bursts: list[Burst], now_ns: int) -> None:
        """Their fate is known: what was held for that may be asked for now."""
        guids = self._publishing.guids
        if guids.unsettled or guids.passing:
            guids.settled(bursts)
            guids.ask(now_ns)

    def _trim_due(self, batch: Batch, runs: dict[int, Run], now_ns: int) -> None:
        """Add the trims that were asked for, but of the channels that have one already."""
        due, self._changes.trims_due = self._changes.trims_due, {}
        trimmed = {trim.channel_id for trim in batch.trims}
        for channel_id in due:
            if channel_id in trimmed:
                continue
            channel = self._channels.by_id[channel_id]
            if channel_id in runs or not self._add_trim(
                batch, channel, channel.end_position, 0, now_ns
            ):
                self._channels.watch_age(channel)  # nothing is old: the clock went back

    def _add_trim(
        self, batch: Batch, channel: Channel, end_position: int, added: int, now_ns: int
    ) -> bool:
        """The floors that the channel's limits put under it after this batch. Returns
        whether there are any."""
        limits = channel.limits
        min_sequence = min_position = min_timestamp_ns = 0
        if 0 < limits.max_messages < channel.count + added:
            # Where sequences are missing this may be too few; the bounds will tell.
            min_sequence = channel.first + channel.count + added - limits.max_messages
        if 0 < limits.max_bytes < end_position - channel.first_position:
            min_position = end_position - limits.max_bytes
        if (
            limits.max_age_ns > 0
            and channel.count > 0
            and channel.first_timestamp_ns + limits.max_age_ns <= now_ns
        ):
            min_timestamp_ns = now_ns - limits.max_age_ns + 1
        may_empty = False
        is_limited = bool(min_sequence or min_position)
        floor = channel.floor
        if floor is not None:
            floor.is_sealed = True
            if floor.sequence > min_sequence:
                min_sequence, may_empty = floor.sequence, True
        due = bool(min_sequence or min_position or min_timestamp_ns) or channel.bounds_unknown
        if due:
            batch.trims.append(
                Trim(channel.channel_id, min_sequence, min_position, min_timestamp_ns, may_empty)
            )
            if is_limited and not channel.warned:
                channel.warned = True
                self._outbox.log(
                    "warning",
                    f'Reached limits for store "{channel.name}" '
                    f"(msgs={channel.count + added}/{limits.max_messages} "
                    f"bytes={end_position - channel.first_position}/{limits.max_bytes}), "
                    "dropping old messages to make room for new ones",
                )
        return due

    # The end of a batch.

    def committed(self, batch: Batch, result: Result, now_ns: int) -> None:
        """The batch is true: answer, acknowledge, deliver."""
        assert batch is self.in_flight
        self.in_flight = None
        self._retry_at_ns = 0
        touched = [self._grow(run) for run in batch.runs]
        if result.bounds or result.unfinished:
            self._take_bounds(result)
        if batch.messages_deleted:
            for channel_id, sequence in batch.messages_deleted:
                self._forget_message(channel_id, sequence, now_ns)
        self._answer(self._taken.replies, now_ns)
        write_acks(self._bursts, self._outbox.operations)
        self._settle_guids(self._bursts, now_ns)
        for channel in touched:
            limits = channel.limits
            if limits.max_age_ns > 0 and channel.age_timer.deadline_ns == 0:
                self._channels.watch_age(channel)
            if limits.max_inactivity_ns > 0:
                self._channels.watch_inactivity(channel, now_ns)
            if channel.cursors:
                for cursor in list(channel.cursors):
                    self._delivery.advance(cursor, now_ns)
        self._cache.evict()
        if self.relaying.pending:
            self.relaying.committed(batch, self._bursts, now_ns)
        if self.posting.waiting:
            self.posting.committed(self._bursts, batch.runs)
        self._bursts = []
        self._taken = self._nothing

    def _forget_message(self, channel_id: int, sequence: int, now_ns: int) -> None:
        """A single message is gone: nobody is sent it, and nobody needs to acknowledge it."""
        channel = self._channels.by_id.get(channel_id)
        if channel is None:
            return
        if sequence >= channel.first:
            channel.removed.add(sequence)
        self._cache.remove(channel.shelf, sequence)
        for member in channel.subscriptions.values():
            member.cursor.oversize.discard(sequence)
            if sequence in member.in_flight:
                self._delivery.acknowledge(member, sequence)
        for cursor in list(channel.cursors):
            self._delivery.advance(cursor, now_ns)

    def _grow(self, run: Run) -> Channel:
        """Put a run at the end of its channel, which nothing deletes while it is stored."""
        channel = self._channels.by_id[run.channel_id]
        if channel.count == 0:
            channel.first = run.first_sequence
            channel.first_position = run.position
            channel.first_timestamp_ns = run.timestamp_ns
        count = len(run.framed)
        channel.last = run.first_sequence + count - 1
        channel.count += count
        channel.end_position = run.end_position
        channel.last_timestamp_ns = run.timestamp_ns
        self._cache.append(channel.shelf, run.first_sequence, run.framed)
        return channel

    def _take_bounds(self, result: Result) -> None:
        """Take what the store found out about the channels it trimmed."""
        for channel_id, bounds in result.bounds.items():
            channel = self._channels.by_id.get(channel_id)
            if channel is not None:
                channel.bounds_unknown = False
                if channel.floor is not None:
                    self._follow_purge(channel, bounds, channel_id in result.unfinished)
                channel.set_bounds(bounds)
                self._channels.watch_age(channel)
                if 0 < channel.limits.max_messages < channel.count:
                    self._changes.trims_due[channel_id] = None
        for channel_id in result.unfinished:
            channel = self._channels.by_id.get(channel_id)
            if channel is not None:
                self._changes.trims_due[channel_id] = None
                if channel_id not in result.bounds:
                    channel.bounds_unknown = True

    def _follow_purge(self, channel: Channel, bounds: Bounds, goes_on: bool) -> None:
        """This is left of a channel that is purged."""
        floor = channel.floor
        if floor is not None and floor.is_sealed:
            floor.outcome.numbers["purged"] += channel.count - bounds.kept
            if goes_on:
                return
            excess = floor.excess(bounds)
            if not excess:
                self._channels.end_purge(channel)
            else:  # as many sequences hold no more messages than that
                floor.sequence = bounds.first_sequence + excess
                floor.is_sealed = False
                self._changes.trims_due[channel.channel_id] = None

    def failed(self, batch: Batch, error: Exception, now_ns: int) -> None:
        """Nothing of the batch is true. An unreachable store is tried again with the same
        publishes; a refusal is passed on to who asked."""
        assert batch is self.in_flight
        self.in_flight = None
        self._last_number -= 1
        self._retry_at_ns = now_ns + self._settings.retry_interval_ns
        taken, bursts = self._taken, self._bursts
        self._bursts = []
        self._taken = self._nothing
        for trim in batch.trims:
            if trim.channel_id in self._channels.by_id:
                self._changes.trims_due[trim.channel_id] = None
        retry = isinstance(error, StoreUnavailableError)
        self._changes.take_back(taken, retry)
        if retry:
            self._publishing.put_back(bursts)
            self.relaying.unreachable()
        else:
            self._publishing.refuse_all(bursts, str(error))
            self.relaying.refused(batch, str(error), now_ns)
            self.posting.refused(bursts, str(error))
            self._settle_guids(bursts, now_ns)
            for reply in taken.replies:
                self._refuse(reply, str(error), now_ns)
            self._refuse_purges(batch, str(error))
            self._publishing.interrupt()

    def _refuse_purges(self, batch: Batch, error: str) -> None:
        for trim in batch.trims:
            channel = self._channels.by_id.get(trim.channel_id)
            if channel is not None and channel.floor is not None and channel.floor.is_sealed:
                self._channels.end_purge(channel, error)

    def _answer(self, replies: list[Reply], now_ns: int) -> None:
        for reply in replies:
            if reply.outcome is not None:
                self._outbox.outcomes.append(reply.outcome)
                for one in reply.moved or ():
                    if one.active:
                        self._delivery.advance(one.cursor, now_ns)
                continue
            self._outbox.send(reply.subject, reply.granted)
            member = reply.subscription
            if member is not None and member.active and member.ack_inbox == reply.ack_inbox:
                self._delivery.start(member, now_ns)

    def _refuse(self, reply: Reply, error: str, now_ns: int) -> None:
        """Take back what a request changed and say why."""
        member = reply.subscription
        if reply.outcome is not None:
            reply.outcome.error = error
            self._outbox.outcomes.append(reply.outcome)
            return
        if reply.kind == "connect":
            payload = ConnectResponse(error=error).SerializeToString()
            # Another client may have the ID by now.
            if reply.client is not None and not reply.client.gone:
                self._clients.remove(reply.client, now_ns)
        elif reply.kind == "close":
            payload = CloseResponse(error=error).SerializeToString()
        else:
            payload = SubscriptionResponse(error=error).SerializeToString()
            if member is not None and member.active and member.ack_inbox == reply.ack_inbox:
                self._subscriptions.end(member, reply.kind == "subscribe", now_ns)
        self._outbox.send(reply.subject, payload)

    # Questions.

    def replies(self) -> list[Reply]:
        """The answers that wait for a batch, that in flight included."""
        return self._taken.replies + self._changes.replies

    def is_storing(self, channel: Channel) -> bool:
        """Whether messages for this channel are held, wait for a commit, or are in one."""
        runs = self.in_flight.runs if self.in_flight is not None else ()
        return (
            any(run.channel_id == channel.channel_id for run in runs)
            or any(burst.channel is channel for burst in self._publishing.lanes)
            or self._publishing.guids.is_held(channel.channel_id)
        )

    def is_trimming(self, channel_id: int) -> bool:
        """Whether the batch in flight trims this channel."""
        return self.in_flight is not None and any(
            trim.channel_id == channel_id for trim in self.in_flight.trims
        )


def has_records(batch: Batch) -> bool:
    """Whether the batch changes what is not a message."""
    return bool(
        batch.channels_deleted
        or batch.channels_created
        or batch.channels_limited
        or batch.messages_deleted
        or batch.clients_put
        or batch.clients_deleted
        or batch.subscriptions_put
        or batch.subscriptions_deleted
        or batch.outbox_taken
        or batch.outbox_parked
    )
