"""Who gets what, and when: new messages, redelivery, acks.

Everything moves by two calls. `advance` sends a cursor what waits to be sent again, then
new messages, until its members are stalled, the channel is exhausted, history must be read
first, or enough is prepared to leave: then it is parked until `unpark`. `acknowledge` takes
one sequence out of flight. Only committed messages are ever sent, and none before the
response to the subscribe request.
"""

from bisect import bisect_left

from stan.engine.cache import Block, Cache
from stan.engine.changes import Changes
from stan.engine.channels import Channel
from stan.engine.outbox import Outbox
from stan.engine.records import History, RangeLoad
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.engine.subscription import Cursor, Subscription
from stan.engine.timers import Timers
from stan.wire.frames import pub
from stan.wire.messages import mark_redelivered, message_timestamp, unframe_message

# A redelivery timer takes along what expires this soon (protocol 5.4).
REDELIVERY_SLACK_NS = 15 * MILLISECOND_NS
# When the messages of a member that left are sent to the others (protocol 5.6).
HANDOVER_NS = 100 * MILLISECOND_NS
# What frame_message adds to a message, at most.
_FRAMING_BYTES = 14


class Delivery:
    def __init__(
        self, settings: Settings, changes: Changes, timers: Timers, outbox: Outbox, cache: Cache
    ) -> None:
        self.out_messages: int = 0
        self.out_bytes: int = 0
        self.redelivered: int = 0
        # By load ID: the channel, and its last sequence when the load was asked for.
        self.loads: dict[int, tuple[Channel, int]] = {}
        self.last_load_id: int = 0
        # Who waits until what was prepared has left, first come, first served.
        self.parked: dict[Cursor, None] = {}
        self._settings = settings
        self._changes = changes
        self._timers = timers
        self._outbox = outbox
        self._cache = cache

    # Sending.

    def advance(self, cursor: Cursor, now_ns: int) -> None:
        """Send this cursor all that may be sent now."""
        if self.parked:
            self.parked[cursor] = None
        else:
            self._advance(cursor, now_ns)

    def unpark(self, now_ns: int) -> None:
        """What was prepared has left: go on with who waited for that."""
        parked = self.parked
        while parked and not self._is_full():
            cursor = next(iter(parked))
            del parked[cursor]
            self._advance(cursor, now_ns)

    def _is_full(self) -> bool:
        return self._outbox.delivered_bytes >= self._settings.outbox_bytes

    def _advance(self, cursor: Cursor, now_ns: int) -> None:
        if cursor.waiting:
            return
        if cursor.resend and not self._resend(cursor, now_ns):
            return
        if len(cursor.members) == 1:
            self._send_new(cursor, cursor.members[0], now_ns)
        elif cursor.members:
            self._share_new(cursor, now_ns)

    def _send_new(self, cursor: Cursor, member: Subscription, now_ns: int) -> None:
        """New messages for a cursor's only member, a block at a time."""
        channel = cursor.channel
        if not member.started:
            return
        in_flight = member.in_flight
        room = member.max_in_flight - len(in_flight)
        while room > 0:
            sequence = max(cursor.last_sent + 1, channel.first)
            if sequence > channel.last:
                return
            if self._is_full():
                self.parked[cursor] = None
                return
            if sequence > cursor.last_sent + 1:  # limits dropped what is before it
                cursor.lost += sequence - 1 - cursor.last_sent
                cursor.last_sent = sequence - 1
            block = channel.shelf.find(sequence)
            if block is None:
                self._wait_for_history(cursor, sequence)
                return
            if block.largest > self._settings.max_payload_bytes + _FRAMING_BYTES:
                if not self._fits(block, sequence):
                    self._stop_oversize(cursor, member, sequence)
                    return
                room = min(room, 1)
            if block.sequences is None:
                start = sequence - block.first
                framed = block.framed[start : start + room]
                count = len(framed)
                expiries = dict.fromkeys(
                    range(sequence, sequence + count), now_ns + member.ack_wait_ns
                )
                cursor.last_sent = sequence + count - 1
            else:
                start = bisect_left(block.sequences, sequence)
                framed = block.framed[start : start + room]
                count = len(framed)
                sequences = block.sequences[start : start + count]
                expiries = dict.fromkeys(sequences, now_ns + member.ack_wait_ns)
                at_end = start + count == len(block.sequences)
                cursor.last_sent = block.next - 1 if at_end else sequences[-1]
            member.last_sent = cursor.last_sent
            self._prefetch(channel, block, cursor.last_sent)
            if count:
                in_flight.update(expiries)
                operations = member.head + member.head.join(framed)
                self._outbox.operations.append(operations)
                self._outbox.delivered_bytes += len(operations)
                self.out_messages += count
                self.out_bytes += len(operations) - count * len(member.head)
                self.out_bytes -= framing_bytes(block, framed)
                if member.deadline_ns == 0:
                    self._timers.set(member, now_ns + member.ack_wait_ns)
                if self._settings.persistent:
                    self._changes.progressed[member.subscription_id] = member
            room = member.max_in_flight - len(in_flight)

    def _share_new(self, cursor: Cursor, now_ns: int) -> None:
        """New messages for the members of a group, each to the member that suits best."""
        channel = cursor.channel
        while True:
            member = choose(cursor)
            if member is None or member.is_stalled:
                return
            sequence = max(cursor.last_sent + 1, channel.first)
            if sequence > channel.last:
                return
            if self._is_full():
                self.parked[cursor] = None
                return
            if sequence > cursor.last_sent + 1:  # limits dropped what is before it
                cursor.lost += sequence - 1 - cursor.last_sent
                cursor.last_sent = sequence - 1
            block = channel.shelf.find(sequence)
            if block is None:
                self._wait_for_history(cursor, sequence)
                return
            if block.sequences is None:
                framed = block.framed[sequence - block.first]
            else:
                index = bisect_left(block.sequences, sequence)
                if index == len(block.sequences):
                    cursor.last_sent = block.next - 1
                    continue
                sequence = block.sequences[index]
                framed = block.framed[index]
            self._prefetch(channel, block, sequence)
            if len(framed) > self._settings.max_payload_bytes + _FRAMING_BYTES:
                self._stop_oversize(cursor, member, sequence)
                return
            rotate(cursor, member)
            cursor.last_sent = member.last_sent = sequence
            member.in_flight[sequence] = now_ns + member.ack_wait_ns
            self._outbox.operations.append(member.head + framed)
            self._outbox.delivered_bytes += len(framed)
            self.out_messages += 1
            self.out_bytes += len(framed) - framed.index(b"\r") - 4
            if member.deadline_ns == 0:
                self._timers.set(member, now_ns + member.ack_wait_ns)
            if self._settings.persistent:
                self._changes.progressed[member.subscription_id] = member

    def _fits(self, block: Block, sequence: int) -> bool:
        sequences = block.sequences
        at = sequence - block.first if sequences is None else bisect_left(sequences, sequence)
        most = self._settings.max_payload_bytes + _FRAMING_BYTES
        return at == len(block.framed) or len(block.framed[at]) <= most

    def _stop_oversize(self, cursor: Cursor, member: Subscription, sequence: int) -> None:
        self._outbox.log(
            "error",
            f"[Client:{member.client_id}] Message {sequence} of channel {cursor.channel.name} "
            f"exceeds the maximum payload of {self._settings.max_payload_bytes} bytes "
            "and cannot be delivered",
        )

    # Sending again.

    def expire(self, member: Subscription, now_ns: int) -> None:
        """The member's timer is due: send again what was not acked in time."""
        if not member.active or not member.in_flight:
            return
        client = member.client
        if client is not None and client.failed_heartbeats > 0 and not member.group:
            self._timers.set(member, now_ns + member.ack_wait_ns)
            return
        horizon_ns = now_ns + REDELIVERY_SLACK_NS
        expired = [
            (expiry_ns, sequence)
            for sequence, expiry_ns in member.in_flight.items()
            if expiry_ns <= horizon_ns
        ]
        expired.sort()
        for expiry_ns, sequence in expired:
            again_ns = expiry_ns + member.ack_wait_ns
            member.in_flight[sequence] = (
                again_ns if again_ns > now_ns else (now_ns + member.ack_wait_ns)
            )
            member.cursor.resend[sequence, member] = None
        self._timers.set(member, min(member.in_flight.values()))
        if expired:
            self.advance(member.cursor, now_ns)

    def start(self, member: Subscription, now_ns: int) -> None:
        """The subscribe response is out: first what is in flight already, then new ones."""
        member.started = True
        self.resume(member, now_ns)

    def resume(self, member: Subscription, now_ns: int) -> None:
        """Send a member all that it has in flight, in order, then new messages."""
        cursor = member.cursor
        for sequence in sorted(member.in_flight):
            member.in_flight[sequence] = now_ns + member.ack_wait_ns
            cursor.resend[sequence, member] = None
        if member.in_flight:
            self._timers.set(member, now_ns + member.ack_wait_ns)
        self.advance(cursor, now_ns)

    def hand_over(self, member: Subscription, now_ns: int) -> None:
        """Spread what a leaving member has in flight over the members that remain."""
        others = member.cursor.members
        if self._settings.persistent:
            # The group's position may have been recorded with the leaving member only.
            self._changes.progressed[others[0].subscription_id] = others[0]
        for index, sequence in enumerate(sorted(member.in_flight)):
            heir = others[index % len(others)]
            heir.in_flight[sequence] = now_ns + HANDOVER_NS
            if self._settings.persistent:
                self._changes.progressed[heir.subscription_id] = heir
        if member.in_flight:
            for heir in others:
                if heir.deadline_ns == 0 or heir.deadline_ns > now_ns + HANDOVER_NS:
                    self._timers.set(heir, now_ns + HANDOVER_NS)
        member.in_flight = {}

    def _resend(self, cursor: Cursor, now_ns: int) -> bool:
        """Work off the cursor's resend queue; False when it must wait for history."""
        channel = cursor.channel
        resend = cursor.resend
        while resend:
            entry = next(iter(resend))
            sequence, member = entry
            if sequence not in member.in_flight or not member.active:
                del resend[entry]  # acked, handed over or closed meanwhile
                continue
            if not member.started:
                return False
            if self._is_full():
                self.parked[cursor] = None
                return False
            framed: bytes | None = None
            if sequence >= channel.first:
                block = channel.shelf.find(sequence)
                if block is None:
                    self._wait_for_history(cursor, sequence)
                    return False
                framed = channel.shelf.message(sequence)
            del resend[entry]
            if framed is None:  # dropped by a limit: as good as acked
                self.acknowledge(member, sequence)
                continue
            message = unframe_message(framed)
            if member.unaged and not self._is_overdue(member, sequence, message, now_ns):
                continue
            self._send_again(cursor, member, sequence, message, now_ns)
        for member in cursor.members:
            if member.unaged:
                member.unaged = False
                if member.in_flight:
                    self._timers.set(member, min(member.in_flight.values()))
        return True

    def _is_overdue(self, member: Subscription, sequence: int, message: bytes, now_ns: int) -> bool:
        """Whether a message recovered in flight is older than the ack wait (protocol 5.4)."""
        expiry_ns = message_timestamp(message) + member.ack_wait_ns
        if expiry_ns <= now_ns + REDELIVERY_SLACK_NS:
            return True
        # A timestamp ahead of the clock must not postpone it further than one ack wait.
        member.in_flight[sequence] = min(expiry_ns, now_ns + member.ack_wait_ns)
        return False

    def _send_again(
        self, cursor: Cursor, member: Subscription, sequence: int, message: bytes, now_ns: int
    ) -> None:
        if len(message) > self._settings.max_payload_bytes:
            self._stop_oversize(cursor, member, sequence)
            return
        target = member
        if cursor.group and not member.unaged:  # recovered ones go back to who held them
            target = choose(cursor) or member
            rotate(cursor, target)
        if target is not member:
            del member.in_flight[sequence]
            target.in_flight[sequence] = now_ns + target.ack_wait_ns
            if self._settings.persistent:
                self._changes.progressed[member.subscription_id] = member
                self._changes.progressed[target.subscription_id] = target
        count = cursor.redeliveries.get(sequence, 0) + 1
        cursor.redeliveries[sequence] = count
        again = mark_redelivered(message, count)
        if len(again) > self._settings.max_payload_bytes:
            again = message
        self._outbox.operations.append(pub(target.inbox, again))
        self._outbox.delivered_bytes += len(again)
        self.out_messages += 1
        self.out_bytes += len(again)
        self.redelivered += 1
        cursor.redelivered += 1
        if target.deadline_ns == 0:
            self._timers.set(target, target.in_flight[sequence])

    # Acks.

    def acknowledge(self, member: Subscription, sequence: int) -> None:
        """Take a sequence out of flight. Unknown ones are ignored (protocol 5.3)."""
        if member.in_flight.pop(sequence, None) is None:
            if not member.cursor.group:
                return
            for other in member.cursor.members:
                if other.in_flight.pop(sequence, None) is not None:
                    member = other
                    break
            else:
                return
        cursor = member.cursor
        if cursor.redeliveries:
            cursor.redeliveries.pop(sequence, None)
        if self._settings.persistent:
            self._changes.progressed[member.subscription_id] = member

    # History.

    def loaded(self, load: RangeLoad, history: History, now_ns: int) -> None:
        """History arrived: keep it, and serve who waited for it."""
        entry = self.loads.get(load.load_id)
        channel = self._finish(load)
        if channel is None or entry is None:
            return
        # An empty answer proves only that nothing was there when it was asked for.
        next_sequence = history.sequences[-1] + 1 if history.sequences else entry[1] + 1
        # A commit still under way may show in what was read: it is not true here yet.
        self._cache.insert(
            channel.shelf,
            load.from_sequence,
            min(next_sequence, channel.last + 1),
            history.sequences,
            history.framed,
        )
        for cursor in channel.waiting.pop(load.load_id, ()):
            cursor.waiting = False
            self.advance(cursor, now_ns)
        self._cache.evict()

    def load_failed(self, load: RangeLoad, now_ns: int) -> None:
        """Nothing could be read; who waited tries again when the pump retries."""
        channel = self._finish(load)
        if channel is None:
            return
        for cursor in channel.waiting.pop(load.load_id, ()):
            cursor.waiting = False
            self.advance(cursor, now_ns)

    def _finish(self, load: RangeLoad) -> Channel | None:
        entry = self.loads.pop(load.load_id, None)
        if entry is None:
            return None
        channel = entry[0]
        if channel.loading.get(load.from_sequence) == load.load_id:
            del channel.loading[load.from_sequence]
        return None if channel.deleted else channel

    def _wait_for_history(self, cursor: Cursor, sequence: int) -> None:
        load_id = self._request(cursor.channel, sequence)
        cursor.channel.waiting.setdefault(load_id, []).append(cursor)
        cursor.waiting = True

    def _prefetch(self, channel: Channel, block: Block, sequence: int) -> None:
        """Ask for the history behind a block when half of it is sent, before somebody must
        wait for it."""
        if (
            block.next <= channel.last
            and 2 * sequence >= block.first + block.next
            and channel.shelf.find(block.next) is None
        ):
            self._request(channel, block.next)

    def _request(self, channel: Channel, sequence: int) -> int:
        load_id = channel.loading.get(sequence)
        if load_id is not None:
            return load_id
        self.last_load_id += 1
        load = RangeLoad(
            self.last_load_id,
            channel.channel_id,
            channel.name,
            sequence,
            self._settings.load_messages,
            self._settings.load_bytes,
        )
        channel.loading[sequence] = load.load_id
        self.loads[load.load_id] = (channel, channel.last)
        self._outbox.loads.append(load)
        return load.load_id


def framing_bytes(block: Block, framed: list[bytes]) -> int:
    """What framing added to these messages of a block: each one's length and two CRLFs."""
    if block.bytes_held == block.largest * len(block.framed):  # all of one size
        return len(framed) * (framed[0].index(b"\r") + 4) if framed else 0
    return sum([one.index(b"\r") for one in framed]) + 4 * len(framed)


def choose(cursor: Cursor) -> Subscription | None:
    """The member for the next message: not stalled, its client answering heartbeats, with
    the fewest in flight, the earliest of equals; else the first of all (protocol 5.6)."""
    best: Subscription | None = None
    fewest = 0
    for member in cursor.members:
        count = len(member.in_flight)
        if (
            count >= member.max_in_flight
            or not member.started
            or (member.client is not None and member.client.failed_heartbeats > 0)
        ):
            continue
        if best is None or count < fewest:
            best, fewest = member, count
    if best is None and cursor.members and cursor.members[0].started:
        return cursor.members[0]
    return best


def rotate(cursor: Cursor, member: Subscription) -> None:
    """Members take turns: a chosen head of the list goes to its tail."""
    if cursor.members[0] is member and len(cursor.members) > 1:
        del cursor.members[0]
        cursor.members.append(member)
