"""Who gets what, and when: new messages, redelivery, acks.

Everything moves by two calls. `advance` sends a cursor what waits to be sent again, then
new messages, until its members are stalled, the channel is exhausted, history must be read
first, a client must prove that it reads (`release`), or enough is prepared to leave: then it
is parked until `unpark`. `acknowledge` takes one sequence out of flight. Only committed
messages are ever sent, and none before the response to the subscribe request.
"""

from bisect import bisect_left

from stan.engine.cache import Block
from stan.engine.changes import Changes
from stan.engine.groups import are_all_held, choose, rotate
from stan.engine.history import Loads
from stan.engine.outbox import Outbox
from stan.engine.proofs import Proofs
from stan.engine.settings import MILLISECOND_NS, Settings
from stan.engine.state import Client, Cursor, Subscription
from stan.engine.timers import Timers
from stan.wire.frames import pub
from stan.wire.messages import (
    framed_bytes,
    mark_redelivered,
    message_timestamp,
    unframe_message,
)

# A redelivery timer takes along what expires this soon (protocol 5.4).
REDELIVERY_SLACK_NS = 15 * MILLISECOND_NS
# When the messages of a member that left are sent to the others (protocol 5.6).
HANDOVER_NS = 100 * MILLISECOND_NS


class Delivery:
    def __init__(
        self,
        settings: Settings,
        changes: Changes,
        timers: Timers,
        outbox: Outbox,
        loads: Loads,
        proofs: Proofs,
    ) -> None:
        self.out_messages: int = 0
        self.out_bytes: int = 0
        self.redelivered: int = 0
        # Who waits until what was prepared has left, first come, first served.
        self.parked: dict[Cursor, None] = {}
        self._settings = settings
        self._changes = changes
        self._timers = timers
        self._outbox = outbox
        self._loads = loads
        self._proofs = proofs
        # What a framed message may measure at most. Framing grows with the message, so that
        # this is exact.
        self._largest_framed_bytes: int = framed_bytes(settings.max_payload_bytes)

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

    def release(self, client: Client, now_ns: int) -> None:
        """A client proved that it reads: go on with who waited for that."""
        waiting = client.waiting
        while waiting and not client.is_held:
            cursor = next(iter(waiting))
            del waiting[cursor]
            if cursor.members:
                self.advance(cursor, now_ns)

    def _wait_for_proof(self, cursor: Cursor) -> None:
        """Let the cursor go on when one of its held clients has proved that it reads."""
        for member in cursor.members:
            if member.client is not None and member.client.is_held:
                member.client.waiting[cursor] = None

    def _count(self, member: Subscription, delivered_bytes: int, now_ns: int) -> None:
        """So much was delivered to a member."""
        self._outbox.delivered_bytes += delivered_bytes
        client = member.client
        if client is not None:
            client.unproven_bytes += delivered_bytes
            if client.unproven_bytes >= self._proofs.ask_bytes:
                self._proofs.ask(client, now_ns)

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

    def _find_new(self, cursor: Cursor, room: int) -> tuple[Block, int, int] | None:
        """The cursor's next new messages, `room` at most: a block and where in it they begin
        and end. None when there is nothing that may be sent now."""
        channel = cursor.channel
        while True:
            sequence = max(cursor.last_sent + 1, channel.first)
            if sequence > channel.last:
                return None
            if self._is_full():
                self.parked[cursor] = None
                return None
            if sequence > cursor.last_sent + 1:  # limits dropped what is before it
                cursor.lost += sequence - 1 - cursor.last_sent
                cursor.last_sent = sequence - 1
            if cursor.oversize and self._is_stopped(cursor, sequence):
                return None
            block = channel.shelf.find(sequence)
            if block is None:
                self._loads.wait(cursor, sequence)
                return None
            sequences = block.sequences
            start = (
                sequence - block.first if sequences is None else bisect_left(sequences, sequence)
            )
            end = min(start + room, len(block.framed))
            if start == end:  # nothing is kept from here to the block's end
                cursor.last_sent = block.next - 1
                continue
            if block.largest > self._largest_framed_bytes:
                end = self._fitting_end(block, start, end)
                if start == end:
                    if sequences is not None:
                        cursor.last_sent = sequences[start] - 1
                    self._report_oversize(cursor, cursor.members[0], cursor.last_sent + 1)
                    return None
            return block, start, end

    def _fitting_end(self, block: Block, start: int, end: int) -> int:
        """Where the first message is, from `start` on, that NATS does not carry; else `end`."""
        most = self._largest_framed_bytes
        for index in range(start, end):
            if len(block.framed[index]) > most:
                return index
        return end

    def _send_new(self, cursor: Cursor, member: Subscription, now_ns: int) -> None:
        """New messages for a cursor's only member, a block at a time."""
        if not member.started:
            return
        in_flight = member.in_flight
        channel = cursor.channel
        room = member.max_in_flight - len(in_flight)
        client = member.client
        assert client is not None  # it is active
        while room > 0 and cursor.last_sent < channel.last:
            if client.is_held:
                client.waiting[cursor] = None
                return
            found = self._find_new(cursor, room)
            if found is None:
                return
            block, start, end = found
            unproven = self._proofs.limit_bytes - client.unproven_bytes
            end = min(end, start + 1 + unproven // (block.largest + len(member.head)))
            framed = block.framed[start:end]
            count = end - start
            if block.sequences is None:
                first = block.first + start
                expiries = dict.fromkeys(range(first, first + count), now_ns + member.ack_wait_ns)
                cursor.last_sent = first + count - 1
            else:
                sequences = block.sequences[start:end]
                expiries = dict.fromkeys(sequences, now_ns + member.ack_wait_ns)
                at_end = end == len(block.framed)
                cursor.last_sent = block.next - 1 if at_end else sequences[-1]
            member.last_sent = cursor.last_sent
            self._loads.prefetch(channel, block, cursor.last_sent)
            in_flight.update(expiries)
            operations = member.head + member.head.join(framed)
            self._outbox.operations.append(operations)
            self._count(member, len(operations), now_ns)
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
        member = choose(cursor)
        while member is not None and not member.is_stalled:
            found = self._find_new(cursor, channel.last - cursor.last_sent)
            if found is None:
                return
            block, start, end = found
            sequences = block.sequences
            for index in range(start, end):
                framed = block.framed[index]
                sequence = block.first + index if sequences is None else sequences[index]
                rotate(cursor, member)
                cursor.last_sent = member.last_sent = sequence
                self._loads.prefetch(channel, block, sequence)
                member.in_flight[sequence] = now_ns + member.ack_wait_ns
                self._outbox.operations.append(member.head + framed)
                self._count(member, len(framed), now_ns)
                self.out_messages += 1
                self.out_bytes += len(framed) - framed.index(b"\r") - 4
                if member.deadline_ns == 0:
                    self._timers.set(member, now_ns + member.ack_wait_ns)
                if self._settings.persistent:
                    self._changes.progressed[member.subscription_id] = member
                member = choose(cursor)
                if member is None or member.is_stalled or self._is_full():
                    break
        self._wait_for_proof(cursor)

    # What NATS does not carry.

    def take_max_payload(self, cursors: list[Cursor], now_ns: int) -> None:
        """The limit is another one: try again what was stopped for its size."""
        self._largest_framed_bytes = framed_bytes(self._settings.max_payload_bytes)
        for cursor in cursors:
            stopped, cursor.oversize = cursor.oversize, set()
            if not stopped:
                continue
            for member in cursor.members:
                for sequence in sorted(stopped.intersection(member.in_flight)):
                    cursor.resend[sequence, member] = None
            self.advance(cursor, now_ns)

    def _is_stopped(self, cursor: Cursor, sequence: int) -> bool:
        """Whether this message is known not to fit; forgets those that limits dropped."""
        first = cursor.channel.first
        cursor.oversize = {one for one in cursor.oversize if one >= first}
        return sequence in cursor.oversize

    def _report_oversize(self, cursor: Cursor, member: Subscription, sequence: int) -> None:
        """Say once that this message stops a subscription."""
        if sequence in cursor.oversize:
            return
        cursor.oversize.add(sequence)
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
        member.cursor.oversize.clear()  # whoever is new hears of it, too
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
            if member.is_held and are_all_held(cursor):
                self._wait_for_proof(cursor)
                return False
            framed: bytes | None = None
            if sequence >= channel.first:
                block = channel.shelf.find(sequence)
                if block is None:
                    self._loads.wait(cursor, sequence)
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
            self._report_oversize(cursor, member, sequence)
            return
        target = member
        # Recovered ones go back to who held them.
        if cursor.group and (member.is_held or not member.unaged):
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
        self._count(target, len(again), now_ns)
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
        if cursor.oversize:
            cursor.oversize.discard(sequence)
        if self._settings.persistent:
            self._changes.progressed[member.subscription_id] = member


def framing_bytes(block: Block, framed: list[bytes]) -> int:
    """What framing added to these messages of a block: each one's length and two CRLFs."""
    if block.bytes_held == block.largest * len(block.framed):  # all of one size
        return len(framed) * (framed[0].index(b"\r") + 4) if framed else 0
    return sum([one.index(b"\r") for one in framed]) + 4 * len(framed)
