"""Messages that an operator publishes: queued like a client's, in a lane of their own.

There is nobody to acknowledge them to; the outcome of the operation tells the sequence when the
message is true. Invariant: each outcome is told once, whatever becomes of the batch.
"""

from stan.engine.bursts import Burst
from stan.engine.channels import Channels, Refusal, is_acceptable_channel
from stan.engine.outbox import Outbox
from stan.engine.publishing import OVERLOADED, PAYLOAD_TOO_LARGE, Publishing
from stan.engine.records import OperationRefused, Outcome, PublishMessage, Run
from stan.engine.settings import Settings
from stan.wire.messages import MESSAGE_OVERHEAD_BYTES

LANE = "(operator)"  # no client can have this ID


class Posting:
    def __init__(
        self, settings: Settings, channels: Channels, publishing: Publishing, outbox: Outbox
    ) -> None:
        self.waiting: dict[Burst, Outcome] = {}
        self._settings = settings
        self._channels = channels
        self._publishing = publishing
        self._outbox = outbox

    def post(self, asked: PublishMessage, outcome: Outcome, is_trial: bool, now_ns: int) -> None:
        """Queue a message. Raises OperationRefused."""
        name = asked.channel
        if not is_acceptable_channel(name):
            raise OperationRefused(400, f'"{name}" is not a valid channel name')
        size = len(asked.data) + len(name.encode()) + len(asked.reply.encode())
        size += MESSAGE_OVERHEAD_BYTES
        if size > self._settings.max_payload_bytes:
            raise OperationRefused(400, PAYLOAD_TOO_LARGE)
        if self._publishing.is_full():
            raise OperationRefused(409, OVERLOADED)
        try:
            if name not in self._channels.by_name:
                self._channels.require_room(name)
            if is_trial:
                self._outbox.outcomes.append(outcome)
                return
            burst = Burst(self._channels.open(name, now_ns), LANE, b"", 0)
        except Refusal as error:
            raise OperationRefused(409, str(error)) from None
        burst.guids.append(b"")
        burst.payloads.append(asked.data)
        if asked.reply:
            burst.replies.append(asked.reply)
        burst.payload_bytes = len(asked.data)
        burst.queued_bytes = size
        self._publishing.lanes.append(burst)
        self._publishing.queued_messages += 1
        self._publishing.queued_bytes += size
        self.waiting[burst] = outcome

    def committed(self, bursts: list[Burst], runs: list[Run]) -> None:
        """These bursts, in this order, are these runs."""
        following = {run.channel_id: run.first_sequence for run in runs}
        for burst in bursts:
            channel_id = burst.channel.channel_id
            outcome = self.waiting.pop(burst, None)
            if outcome is not None:
                outcome.numbers["sequence"] = following[channel_id]
                self._outbox.outcomes.append(outcome)
            following[channel_id] += len(burst.guids)

    def refused(self, bursts: list[Burst], error: str) -> None:
        """The store does not want these."""
        for burst in bursts:
            outcome = self.waiting.pop(burst, None)
            if outcome is not None:
                outcome.error = error
                self._outbox.outcomes.append(outcome)
