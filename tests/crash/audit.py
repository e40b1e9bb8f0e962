"""The auditor: compares what clients were told with what the database holds.

It looks after every kill, at a moment when nothing moves. Invariant: it trusts neither the
server nor the store's own code; every message is read from its row.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.crash.load import Publisher, parse_payload
from tests.crash.readers import Progress, Reader
from tests.tools.crash_site import CrashSite, StoredSubscription


@dataclass
class Audit:
    """What is known to be stored, by sequence and by send, and every fault found."""

    faults: list[str] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    digests: dict[tuple[str, int], int] = field(default_factory=dict)
    places: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    steps_back: int = 0
    _newest: dict[tuple[str, str], int] = field(default_factory=dict)
    _returns: dict[str, int] = field(default_factory=dict)

    async def inspect(
        self, site: CrashSite, publishers: list[Publisher], readers: list[Reader]
    ) -> dict[str, Progress]:
        """Check everything that must hold now. Returns what is recorded of each reader."""
        for publisher in publishers:
            self._returns[publisher.name], publisher.returns = publisher.returns, 0
        for channel, (channel_id, first, last, count) in (await site.read_channels()).items():
            known = self.last.get(channel, 0)
            rows = await site.read_messages(channel, channel_id, known + 1)
            self._take_rows(channel, known, rows)
            self._expect(first == 1 and count == last, f"{channel}: bounds {first}-{last} {count}")
            self._expect(
                last == self.last[channel],
                f"{channel}: the bounds end at {last}, the rows at {self.last[channel]}",
            )
        for publisher in publishers:
            self._check_publisher(publisher)
        stored = await site.read_subscriptions()
        return {reader.name: self._check_reader(reader, stored) for reader in readers}

    async def reread(self, site: CrashSite) -> None:
        """Read every row once more: what was stored once must not have changed."""
        for channel, (channel_id, *_) in (await site.read_channels()).items():
            rows = await site.read_messages(channel, channel_id, 1)
            self._expect(len(rows) == self.last[channel], f"{channel}: rows came or went")
            for sequence, data in rows:
                if self.digests.get((channel, sequence)) != hash(data):
                    self.faults.append(f"{channel} {sequence}: the row was changed")
        used = {(channel, nonce) for channel, _, nonce in site.nonces}
        self._expect(len(used) == len(site.nonces), "a nonce was used twice")

    def _take_rows(self, channel: str, known: int, rows: Iterable[tuple[int, bytes]]) -> None:
        for sequence, data in rows:
            self._expect(sequence == known + 1, f"{channel}: {sequence} follows {known}")
            known = sequence
            self.digests[channel, sequence] = hash(data)
            try:
                send = parse_payload(data)
            except ValueError as error:
                self.faults.append(f"{channel} {sequence}: {error}")
                continue
            if send in self.places:
                self.faults.append(f"{send} is stored at {self.places[send]} and at {sequence}")
            self.places[send] = channel, sequence
            name, number = send
            newest = self._newest.get((channel, name), 0)
            if number <= newest and not self._may_step_back(name):
                self.faults.append(f"{channel} {sequence}: {send} is stored behind {newest}")
            self._newest[channel, name] = number
        self.last[channel] = known

    def _may_step_back(self, name: str) -> bool:
        """Whether what docs/client.md says of order explains it: what left before a loss was
        noticed may be stored, and behind it what was lost, sent again. That happens at most
        once each time that the publisher's connection goes on."""
        self.steps_back += 1
        self._returns[name] = self._returns.get(name, 0) - 1
        return self._returns[name] >= 0

    def _check_publisher(self, publisher: Publisher) -> None:
        name = publisher.name
        for number in publisher.fresh:
            place = self.places.get((name, number))
            if place is None or place[0] != publisher.channel:
                self.faults.append(f"{name} {number} was acknowledged and is at {place}")
        publisher.fresh.clear()
        for number, error in publisher.refused.items():
            if (name, number) in self.places:
                self.faults.append(f"{name} {number} is stored and was refused: {error}")

    def _check_reader(self, reader: Reader, stored: list[StoredSubscription]) -> Progress:
        for sequence in reader.fresh:
            if self.digests.get((reader.channel, sequence)) != reader.digests[sequence]:
                self.faults.append(f"{reader.name} got {sequence}, which is not stored so")
        reader.fresh.clear()
        records = [record for record in stored if is_record_of(record, reader)]
        self._expect(len(records) == reader.members, f"{reader.name} has {len(records)} records")
        last_sent = max((record.last_sent for record in records), default=0)
        in_flight = frozenset().union(*(record.in_flight for record in records))
        self._expect(
            len(in_flight) == sum(len(record.in_flight) for record in records),
            f"{reader.name}: two members hold the same message",
        )
        known, was_in_flight = reader.progress
        self._expect(last_sent >= known, f"{reader.name}: went from {known} to {last_sent}")
        for sequence in was_in_flight.union(range(known + 1, last_sent + 1)) - in_flight:
            if sequence not in reader.acked:
                self.faults.append(f"{reader.name}: {sequence} counts as acked and never was")
        return last_sent, in_flight

    def _expect(self, holds: bool, text: str) -> None:
        if not holds:
            self.faults.append(text)


def is_record_of(record: StoredSubscription, reader: Reader) -> bool:
    """Whether the record is the reader's, or one of its members'."""
    group = f"{reader.durable}:{reader.queue}" if reader.durable and reader.queue else reader.queue
    return (
        record.channel == reader.channel
        and record.client_id.startswith(f"{reader.name}-")
        and record.queue_group == group
        and record.durable_name == ("" if reader.queue else reader.durable)
    )
