"""The copying: from an origin through the store's contract, in batches of bounded size.

First every channel, then channel by channel the messages and, with the last of them, the
durables; who the store belongs to comes last, and no server starts on a store before that.
Invariants: sequences, payloads and replies are the original's; timestamps too, except that
they never decrease within a channel; memory does not grow with the messages.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from stan.engine.bursts import payload_growth
from stan.engine.records import Batch, ChannelRecord, Run, ServerRecord, Trim
from stan.errors import OriginError, StoreRefusedError
from stan.importing.durables import Durable, gather_durables, is_durable
from stan.importing.origin import (
    SEQUENCE_MAX,
    Origin,
    OriginChannel,
    OriginMessage,
    OriginSubscription,
    Warn,
)
from stan.store.contract import Store
from stan.wire.messages import encode_message, frame_message, string_field

REPORT_MESSAGES = 100_000
_ENCRYPTED_BYTES_MIN = 30

Decrypt = Callable[[str, bytes, int], bytes]
"""Channel, stored payload and sequence to payload. Raises StoreError."""


@dataclass(slots=True)
class Tally:
    """What came over, and what stayed behind."""

    cluster_id: str = ""
    channels: int = 0
    messages: int = 0
    payload_bytes: int = 0
    durables: int = 0
    pending: int = 0
    clients_left: int = 0
    subscriptions_left: int = 0
    payloads_like_encrypted: int = 0
    payloads: int = 0


@dataclass(slots=True)
class _Copy:
    """A channel on its way: where its next message goes."""

    channel_id: int
    channel: OriginChannel
    durables: list[Durable]
    last: int = 0
    end_position: int = 0
    timestamp_ns: int = 0
    moved_times: int = 0
    unseen: set[int] = field(default_factory=set)
    """Pending sequences whose messages were not met so far."""


class Transfer:
    """One import. Without a store it is a rehearsal: everything is read, nothing written.

    `payload_overhead_bytes` is what our store adds to a payload by encrypting it.
    """

    def __init__(
        self,
        origin: Origin,
        store: Store | None,
        *,
        decrypt: Decrypt | None = None,
        payload_overhead_bytes: int = 0,
        say: Warn = lambda line: None,
        warn: Warn = lambda line: None,
    ) -> None:
        self._origin = origin
        self._store = store
        self._decrypt = decrypt
        self._overhead_bytes = payload_overhead_bytes
        self._say = say
        self._warn = warn
        self._tally = Tally()
        self._reported = 0
        self._batch_number = 0
        self._next_subscription_id = 1
        self._next_channel_id = 1

    async def run(self, cluster_id: str, inbox_prefix: str) -> Tally:
        """Do it. `cluster_id` replaces the original's when it is not empty.

        Raises OriginError when the original's data cannot be read, StoreError when ours
        cannot be written or is not empty.
        """
        tally = self._tally
        recorded = await self._origin.open()
        tally.cluster_id = cluster_id or recorded
        if not tally.cluster_id:
            raise OriginError(
                f"{self._origin.location} does not say which cluster it belongs to: "
                "name it with --cluster_id"
            )
        channels = await self._origin.channels()
        tally.clients_left = await self._origin.count_clients()
        left = await self._prepare(self._store) if self._store is not None else []
        numbered = list(enumerate(channels, self._next_channel_id))
        created = [ChannelRecord(number, channel.name) for number, channel in numbered]
        if created or left:  # in one batch: a store without channels would be served
            await self._commit(Batch(0, channels_deleted=left, channels_created=created))
        ends = [
            (channel, await self._copy_channel(number, channel)) for number, channel in numbered
        ]
        tally.channels = len(ends)
        if self._store is not None:
            await self._refuse_growth(ends)
            await self._store.initialize(ServerRecord(tally.cluster_id, inbox_prefix))
        self._warn_of_ciphertext()
        return tally

    async def _refuse_growth(self, ends: list[tuple[OriginChannel, int]]) -> None:
        """Half of what a running original stores meanwhile would be missing."""
        for channel, last in ends:
            if await self._origin.has_grown(channel, last):
                raise OriginError(
                    f'channel "{channel.name}" grew while it was read: stop the original server, '
                    "then import again"
                )

    async def _prepare(self, store: Store) -> list[int]:
        """Open the store; refuse one in use. The channels that an earlier import left."""
        await store.open()
        recovered = await store.recover()
        if recovered.server is not None:
            raise StoreRefusedError(
                f'{store.location} already belongs to cluster "{recovered.server.cluster_id}": '
                "an import needs an empty store"
            )
        self._batch_number = recovered.batch_number
        self._next_channel_id = recovered.next_channel_id
        self._next_subscription_id = recovered.next_subscription_id
        if recovered.channels:
            self._say("an earlier import did not end: starting over")
        return [record.channel_id for record, _ in recovered.channels]

    async def _copy_channel(self, channel_id: int, channel: OriginChannel) -> int:
        """Copy all of a channel; the sequence of the last message that was read."""
        subscriptions = await self._origin.subscriptions(channel)
        copy = _Copy(channel_id, channel, gather_durables(subscriptions))
        copy.unseen = set[int]().union(*(durable.pending for durable in copy.durables))
        wanted = set(copy.unseen)
        async for messages in self._origin.messages(channel):
            await self._commit(Batch(0, runs=self._encode(copy, messages)))
            self._report()
        await self._end_channel(copy, subscriptions, wanted - copy.unseen)
        if copy.moved_times:
            self._warn(
                f'channel "{channel.name}": {copy.moved_times} messages were stored with an '
                "earlier time than the one before them, and got that one's"
            )
        return copy.last

    def _encode(self, copy: _Copy, messages: list[OriginMessage]) -> list[Run]:
        """The messages as runs: neighbors of one timestamp share one."""
        runs: list[Run] = []
        channel_field = string_field(0x12, copy.channel.name.encode())
        for sequence, timestamp_ns, reply, stored in messages:
            payload = self._open_payload(copy.channel.name, stored, sequence)
            if timestamp_ns < copy.timestamp_ns:
                copy.moved_times += 1
                timestamp_ns = copy.timestamp_ns
            run = runs[-1] if runs else None
            if run is None or sequence != copy.last + 1 or timestamp_ns != copy.timestamp_ns:
                run = _begin_run(copy, sequence, timestamp_ns)
                runs.append(run)
            message = encode_message(sequence, channel_field, reply, payload, timestamp_ns)
            size_bytes = len(message) + payload_growth(len(payload), self._overhead_bytes)
            run.framed.append(frame_message(message))
            run.sizes.append(size_bytes)
            run.payloads.append(payload)
            run.replies.append(reply)
            copy.last, copy.timestamp_ns = sequence, timestamp_ns
            copy.end_position += size_bytes
            copy.unseen.discard(sequence)
            self._tally.payload_bytes += len(payload)
        self._tally.messages += len(messages)
        return runs

    def _open_payload(self, channel: str, stored: bytes, sequence: int) -> bytes:
        if self._decrypt is not None:
            return self._decrypt(channel, stored, sequence)
        if stored:
            self._tally.payloads += 1
            if stored[0] in (1, 2) and len(stored) >= _ENCRYPTED_BYTES_MIN:
                self._tally.payloads_like_encrypted += 1
        return stored

    async def _end_channel(
        self, copy: _Copy, subscriptions: list[OriginSubscription], kept: set[int]
    ) -> None:
        """The durables, and a last sequence that outlives its message."""
        batch = Batch(0)
        last = max(copy.channel.last_sequence, *(one.last_sent for one in subscriptions), 0)
        if last > SEQUENCE_MAX:
            raise OriginError(
                f'a position in channel "{copy.channel.name}" is {last}, which no channel reaches'
            )
        if last > copy.last and copy.last and self._origin.follows_messages:
            self._warn(
                f'channel "{copy.channel.name}": subscriptions had got messages up to {last}, and '
                f"the last one that is left is {copy.last}: they go on after that one"
            )
            for durable in copy.durables:
                durable.last_sent = min(durable.last_sent, copy.last)
        elif last > copy.last:
            if copy.last:
                self._warn(
                    f'channel "{copy.channel.name}": the original had reached sequence {last}, '
                    f"so that it did not deliver its messages up to {copy.last} any more; they "
                    "are left out"
                )
            _empty_channel(batch, copy, last)
            kept = set()
        for durable in copy.durables:
            in_flight = durable.pending & kept
            record = durable.record(self._next_subscription_id, copy.channel_id, in_flight)
            batch.subscriptions_put.append(record)
            self._next_subscription_id += 1
            self._tally.pending += len(in_flight)
        self._tally.durables += len(copy.durables)
        states = [one.state for one in subscriptions if one.state is not None]
        self._tally.subscriptions_left += sum(not is_durable(state) for state in states)
        if batch.runs or batch.subscriptions_put:
            await self._commit(batch)

    async def _commit(self, batch: Batch) -> None:
        self._batch_number += 1
        batch.number = self._batch_number
        if self._store is not None:
            await self._store.commit(batch)

    def _report(self) -> None:
        if self._tally.messages - self._reported >= REPORT_MESSAGES:
            self._reported = self._tally.messages
            self._say(f"{self._reported} messages")

    def _warn_of_ciphertext(self) -> None:
        tally = self._tally
        if tally.payloads and tally.payloads == tally.payloads_like_encrypted:
            self._warn(
                "every payload looks encrypted and was taken as it is: if the original "
                "encrypted its store, only a server with -encrypt and the same key can read them"
            )


def _begin_run(copy: _Copy, sequence: int, timestamp_ns: int) -> Run:
    return Run(
        channel_id=copy.channel_id,
        channel=copy.channel.name,
        first_sequence=sequence,
        timestamp_ns=timestamp_ns,
        position=copy.end_position,
        framed=[],
        sizes=[],
        payloads=[],
        replies=[],
    )


def _empty_channel(batch: Batch, copy: _Copy, last: int) -> None:
    """Store an empty message at `last`, dropped by the same batch with all before it: so the
    channel goes on after `last` and holds nothing."""
    timestamp_ns = max(copy.timestamp_ns, 1)
    run = _begin_run(copy, last, timestamp_ns)
    channel_field = string_field(0x12, copy.channel.name.encode())
    message = encode_message(last, channel_field, "", b"", timestamp_ns)
    run.framed, run.sizes, run.payloads = [frame_message(message)], [len(message)], [b""]
    batch.runs.append(run)
    batch.trims.append(Trim(copy.channel_id, min_timestamp_ns=timestamp_ns + 1))
