"""What people ask of a server: purge, create, limit and delete channels, delete and publish
messages, move and delete durables, send again, disconnect clients.

Each operation is part of the next batch like what clients ask for: atomic, recorded, fenced.
Its outcome is told when that batch is true, and a batch that fails takes the outcome with it. A
trial run tells the numbers and changes nothing. A purge raises the floor under a channel: its
bounds move by the trims that limits use, so it never holds up publishing.
"""

from stan.engine.batches import Batches
from stan.engine.changes import Changes, Reply
from stan.engine.channels import Channels, Refusal, is_acceptable_channel
from stan.engine.clients import Clients
from stan.engine.delivery import Delivery
from stan.engine.outbox import Outbox
from stan.engine.records import (
    CreateChannel,
    DeleteChannel,
    DeleteDurable,
    DeleteMessage,
    Disconnect,
    DurableName,
    LimitChannel,
    MoveDurable,
    Operation,
    OperationRefused,
    Outcome,
    PublishMessage,
    Purge,
    ResendPending,
)
from stan.engine.state import Channel, Cursor, Floor, Subscription
from stan.engine.subscriptions import Subscriptions
from stan.engine.timers import Timers

MISSING, CONFLICT, MEANINGLESS, BUSY = 404, 409, 400, 423


class Administration:
    """Made for one operation: it keeps nothing."""

    def __init__(
        self,
        channels: Channels,
        clients: Clients,
        subscriptions: Subscriptions,
        delivery: Delivery,
        batches: Batches,
        changes: Changes,
        timers: Timers,
        outbox: Outbox,
    ) -> None:
        self._channels = channels
        self._clients = clients
        self._subscriptions = subscriptions
        self._delivery = delivery
        self._batches = batches
        self._changes = changes
        self._timers = timers
        self._outbox = outbox

    def run(self, ticket: int, operation: Operation, is_trial: bool, now_ns: int) -> None:
        """Do this, or only tell what it would do. The outcome with this ticket comes when it is
        true. Raises OperationRefused, and then nothing was changed."""
        outcome = Outcome(ticket)
        if isinstance(operation, Purge):
            self._purge(operation, outcome, is_trial)
        elif isinstance(operation, CreateChannel):
            self._create_channel(operation, outcome, is_trial, now_ns)
        elif isinstance(operation, LimitChannel):
            self._limit_channel(operation, outcome, is_trial, now_ns)
        elif isinstance(operation, DeleteMessage):
            self._delete_message(operation, outcome, is_trial)
        elif isinstance(operation, PublishMessage):
            self._require_served(operation.channel)
            self._batches.posting.post(operation, outcome, is_trial, now_ns)
        elif isinstance(operation, DeleteChannel):
            self._delete_channel(operation, outcome, is_trial, now_ns)
        elif isinstance(operation, MoveDurable):
            self._move(operation, outcome, is_trial)
        elif isinstance(operation, DeleteDurable):
            self._delete_durable(operation, outcome, is_trial, now_ns)
        elif isinstance(operation, ResendPending):
            self._resend(operation, outcome, is_trial, now_ns)
        else:
            self._disconnect(operation, outcome, is_trial, now_ns)

    # Channels.

    def _channel(self, name: str) -> Channel:
        channel = self._channels.by_name.get(name)
        if channel is None:
            raise OperationRefused(MISSING, f'channel "{name}" does not exist')
        return channel

    def _purge(self, asked: Purge, outcome: Outcome, is_trial: bool) -> None:
        channel = self._channel(asked.channel)
        up_to = channel.last
        if asked.keep > 0:
            # No more than that, also where sequences are missing.
            up_to = channel.first + channel.count - asked.keep - 1
        elif asked.keep < 0 <= asked.up_to:
            up_to = min(asked.up_to, channel.last)
        if is_trial or up_to < channel.first:
            # What was deleted is known since the start; a real purge counts.
            gone = 0 if asked.keep >= 0 else sum(one <= up_to for one in channel.removed)
            most = up_to - channel.first + 1 - gone
            outcome.numbers["purged"] = max(0, min(most, channel.count))
            self._outbox.outcomes.append(outcome)
            return
        if channel.floor is not None:
            raise OperationRefused(BUSY, f'channel "{channel.name}" is being purged already')
        outcome.numbers["purged"] = 0
        channel.floor = Floor(up_to + 1, outcome, channel.last, asked.keep)
        self._changes.trims_due[channel.channel_id] = None

    def _create_channel(
        self, asked: CreateChannel, outcome: Outcome, is_trial: bool, now_ns: int
    ) -> None:
        name = asked.channel
        if not is_acceptable_channel(name):
            raise OperationRefused(MEANINGLESS, f'"{name}" is not a valid channel name')
        if name in self._channels.by_name:
            raise OperationRefused(CONFLICT, f'channel "{name}" exists already')
        self._require_served(name)
        try:
            self._channels.require_room(name)
            if not is_trial:
                self._channels.open(name, now_ns, asked.limits)
        except Refusal as error:
            raise OperationRefused(CONFLICT, str(error)) from None
        self._tell(outcome, is_trial)

    def _require_served(self, name: str) -> None:
        if is_acceptable_channel(name) and not self._channels.serves(name):
            raise OperationRefused(CONFLICT, f'channel "{name}" is another partition\'s')

    def _limit_channel(
        self, asked: LimitChannel, outcome: Outcome, is_trial: bool, now_ns: int
    ) -> None:
        channel = self._channel(asked.channel)
        if not is_trial:
            self._channels.limit(channel, asked.limits, now_ns)
        self._tell(outcome, is_trial)

    def _delete_message(self, asked: DeleteMessage, outcome: Outcome, is_trial: bool) -> None:
        channel = self._channel(asked.channel)
        sequence = asked.sequence
        if not channel.first <= sequence <= channel.last or sequence in channel.removed:
            text = f'channel "{channel.name}" has no message {sequence}'
            raise OperationRefused(MISSING, text)
        outcome.numbers["deleted"] = 1
        if not is_trial:
            self._changes.delete_message(channel.channel_id, sequence)
        self._tell(outcome, is_trial)

    def _delete_channel(
        self, asked: DeleteChannel, outcome: Outcome, is_trial: bool, now_ns: int
    ) -> None:
        channel = self._channel(asked.channel)
        active = [one for one in channel.subscriptions.values() if one.active]
        outcome.numbers["messages"] = channel.count
        outcome.numbers["subscriptions"] = len(channel.subscriptions)
        if not is_trial:
            if active and not asked.force:
                text = f'channel "{channel.name}" has {len(active)} active subscriptions'
                raise OperationRefused(CONFLICT, text)
            if self._batches.is_storing(channel):
                text = f'messages are being stored into channel "{channel.name}"'
                raise OperationRefused(BUSY, text)
            for one in active:
                self._subscriptions.end(one, True, now_ns)
            self._channels.delete(channel)
        self._tell(outcome, is_trial)

    # Durables and groups.

    def _cursor(self, asked: DurableName) -> tuple[Cursor, list[Subscription]]:
        """The position, and the subscriptions that hold its messages."""
        channel = self._channel(asked.channel)
        if asked.queue_group:
            cursor = channel.groups.get(asked.queue_group)
            if cursor is not None:
                return cursor, [cursor.vacant] if cursor.vacant else list(cursor.members)
        else:
            durable = channel.durables.get((asked.client_id, asked.durable))
            if durable is not None:
                return durable.cursor, [durable]
        raise OperationRefused(MISSING, f'channel "{channel.name}" has no such durable or group')

    def _move(self, asked: MoveDurable, outcome: Outcome, is_trial: bool) -> None:
        cursor, holders = self._cursor(asked.name)
        channel = cursor.channel
        if asked.position == "first":
            sequence = channel.first
        elif asked.position == "last":
            sequence = channel.last if channel.count else channel.last + 1
        elif asked.position == "new":
            sequence = channel.last + 1
        else:
            sequence = min(max(asked.sequence, channel.first), channel.last + 1)
        outcome.numbers["sequence"] = sequence
        outcome.numbers["released"] = sum([len(one.in_flight) for one in holders])
        if is_trial:
            self._outbox.outcomes.append(outcome)
            return
        cursor.resend.clear()
        cursor.redeliveries.clear()
        cursor.oversize.clear()
        cursor.last_sent = sequence - 1
        for one in holders:
            one.in_flight = {}
            one.unaged = False
            one.last_sent = cursor.last_sent
            if one.active:
                self._timers.clear(one)
            self._changes.put_subscription(one)
        self._tell(outcome, False, holders)

    def _delete_durable(
        self, asked: DeleteDurable, outcome: Outcome, is_trial: bool, now_ns: int
    ) -> None:
        holders = self._cursor(asked.name)[1]
        active = [one for one in holders if one.active]
        outcome.numbers["pending"] = sum([len(one.in_flight) for one in holders])
        outcome.numbers["members"] = len(active)
        if not is_trial:
            if active and not asked.force:
                raise OperationRefused(CONFLICT, f"{len(active)} clients receive by it")
            for one in active:
                self._subscriptions.end(one, True, now_ns)
            for one in holders:
                if one not in active:
                    self._subscriptions.forget(one)
        self._tell(outcome, is_trial)

    def _resend(self, asked: ResendPending, outcome: Outcome, is_trial: bool, now_ns: int) -> None:
        holders = self._cursor(asked.name)[1]
        active = [one for one in holders if one.active and one.started]
        if not active:
            raise OperationRefused(CONFLICT, "nobody receives by it now")
        outcome.numbers["resent"] = sum([len(one.in_flight) for one in active])
        if not is_trial:
            for one in active:
                self._delivery.resume(one, now_ns)
        self._outbox.outcomes.append(outcome)

    # Clients.

    def _disconnect(self, asked: Disconnect, outcome: Outcome, is_trial: bool, now_ns: int) -> None:
        client = self._clients.by_id.get(asked.client_id)
        if client is None:
            raise OperationRefused(MISSING, f'client "{asked.client_id}" does not exist')
        outcome.numbers["subscriptions"] = len(client.subscriptions)
        if not is_trial:
            self._clients.remove(client, now_ns)
        self._tell(outcome, is_trial)

    # Outcomes.

    def _tell(
        self, outcome: Outcome, is_trial: bool, moved: list[Subscription] | None = None
    ) -> None:
        """Tell the outcome now, or when what was changed is true; `moved` go on then."""
        if is_trial:
            self._outbox.outcomes.append(outcome)
            return
        answer = Reply(b"", b"", "operation")
        answer.outcome = outcome
        answer.moved = moved
        self._changes.reply(answer)
