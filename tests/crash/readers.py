"""Subscribers that write down every arrival and every ack.

A reader is a plain subscription, a durable, or a queue group with several members; the
group is one reader, because a message belongs to the group and not to a member. Nothing is
judged here but what can only be seen at the moment of arrival.
"""

import asyncio
import random
from dataclasses import dataclass, field

import stan

Progress = tuple[int, frozenset[int]]
"""The last sequence sent and those in flight, as the store has them."""


@dataclass
class Reader:
    """One position in one channel, from its first message on."""

    name: str
    channel: str
    durable: str = ""
    queue: str = ""
    members: int = 1
    manual_acks: bool = False
    max_in_flight: int = 64
    ack_wait_s: int = 1
    forget_share: float = 0.0
    """How many first deliveries are left without an ack."""
    dice: random.Random = field(default_factory=random.Random)
    run: int = 0
    progress: Progress = (0, frozenset())
    """What the store had recorded when this run of the server began."""
    faults: list[str] = field(default_factory=list)
    digests: dict[int, int] = field(default_factory=dict)
    """Of the data of every message that arrived."""
    fresh: set[int] = field(default_factory=set)
    """What arrived since the last audit."""
    acked: dict[int, tuple[int, float]] = field(default_factory=dict)
    """When the last ack left: the run and the loop's time, 0 when nobody listened."""
    redelivered: int = 0
    repeated_acked: int = 0
    """Deliveries of what had been acked already: legal while the ack was not recorded."""
    oldest_repeated_ack_s: float = 0.0
    """How long before a kill the server may get an ack and forget it."""
    ready: bool = True
    lossless: bool = True
    """Whether what the server sends between two kills always arrives."""
    _newest: dict[int, int] = field(default_factory=dict)
    _goal: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)
    _killed_s: list[float] = field(default_factory=list)

    async def subscribe(self, connections: list[stan.Connection]) -> None:
        """Subscribe, a member on each connection."""
        for index, connection in enumerate(connections):
            await connection.subscribe(
                self.channel,
                self._callback(index),
                durable=self.durable,
                queue=self.queue,
                start_at="first",
                manual_acks=self.manual_acks,
                max_in_flight=self.max_in_flight,
                ack_wait=self.ack_wait_s,
            )

    def begin_run(self, progress: Progress, killed_s: float) -> None:
        """The server was killed at `killed_s` and will go on from `progress`."""
        self.run += 1
        self.progress = progress
        self._newest.clear()
        self._killed_s.append(killed_s)
        self.ready = False

    async def wait_for(self, count: int) -> None:
        """Wait until so many different messages were acked."""
        self._goal = count
        self._reached.clear()
        if len(self.acked) < count:
            await self._reached.wait()

    def _callback(self, member: int) -> stan.MessageCallback:
        def arrived(message: stan.Message) -> None:
            self._write_down(member, message)
            if not self.manual_acks:
                self._acked(message.sequence)
            elif message.redelivered or self.dice.random() >= self.forget_share:
                delay_s = self.dice.uniform(0, 0.02)
                asyncio.get_running_loop().call_later(delay_s, self._ack, message)

        return arrived

    def _ack(self, message: stan.Message) -> None:
        try:
            message.ack()
        except stan.InvalidConnectionError:  # NATS is down; it comes again
            return
        self._acked(message.sequence)

    def _acked(self, sequence: int) -> None:
        now_s = asyncio.get_running_loop().time() if self.ready else 0.0
        self.acked[sequence] = self.run, now_s
        if len(self.acked) >= self._goal:
            self._reached.set()

    def _write_down(self, member: int, message: stan.Message) -> None:
        sequence = message.sequence
        last_sent, in_flight = self.progress
        if sequence <= last_sent and sequence not in in_flight:
            self._fault(f"{sequence} came again although its ack was recorded")
        self.fresh.add(sequence)
        digest = hash(message.data)
        if self.digests.setdefault(sequence, digest) != digest:
            self._fault(f"{sequence} came with different bytes")
        run, acked_s = self.acked.get(sequence, (self.run, 0.0))
        if run < self.run:
            self.repeated_acked += 1
            if acked_s:
                age_s = self._killed_s[run] - acked_s
                self.oldest_repeated_ack_s = max(self.oldest_repeated_ack_s, age_s)
        if message.redelivered:
            self.redelivered += 1
            return
        if sequence <= last_sent:
            self._fault(f"{sequence} was in flight and came without the mark of a redelivery")
        newest = self._newest.get(member, last_sent)
        if sequence <= newest:
            self._fault(f"{sequence} was delivered first after {newest}")
        elif self.lossless and self.members == 1 and sequence != newest + 1:
            self._fault(f"{sequence} was delivered first right after {newest}")
        self._newest[member] = sequence

    def _fault(self, text: str) -> None:
        self.faults.append(f"{self.name}, run {self.run}: {text}")
