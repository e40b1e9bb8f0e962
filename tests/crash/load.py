"""Publishers that remember what they were told about each message.

Every send has a payload of its own that can be made again from the publisher's name and the
message's number, so that whatever the store holds can be traced to one send. Invariant: a
message that was acknowledged is in `fresh` until the audit saw it, one that was refused is in
`refused`, and one whose fate nobody knows in neither.
"""

import asyncio
import random
import zlib
from dataclasses import dataclass, field

import stan

_FILLING = bytes(range(256)) * 256


@dataclass(frozen=True)
class Style:
    """How a publisher works: `window` messages at once, then a pause of up to `pause_s`."""

    window: int
    pause_s: float
    largest_bytes: int


SYNC = Style(1, 0.002, 2_000)
BURSTS = Style(200, 0.1, 2_000)
LARGE = Style(20, 0.1, 100_000)
FLOOD = Style(4_000, 0.0, 200)


def make_payload(name: str, number: int, largest_bytes: int) -> bytes:
    """The one payload of this send: its name, its number, and bytes that follow from both."""
    head = f"{name} {number} {largest_bytes} ".encode()
    seed = zlib.crc32(head)
    return head + _FILLING[seed % 256 :][: seed % largest_bytes]


def parse_payload(payload: bytes) -> tuple[str, int]:
    """Who sent it and which one it is. Raises ValueError when nobody ever did."""
    name, number, largest, _ = payload.split(b" ", 3)
    if payload != make_payload(name.decode(), int(number), int(largest)):
        raise ValueError(f"the payload of {name.decode()} {number.decode()} was changed")
    return name.decode(), int(number)


@dataclass
class Publisher:
    """Publishes to one channel until it is told to stop, whatever happens to the server."""

    connection: stan.Connection
    channel: str
    name: str
    style: Style
    dice: random.Random
    acknowledged: asyncio.Event
    """Set on every ack, so that others can wait for a sign of life."""
    sent: int = 0
    stored: int = 0
    fresh: set[int] = field(default_factory=set)
    """Acknowledged since the last audit."""
    refused: dict[int, str] = field(default_factory=dict)
    returns: int = 0
    """How often the connection went on after an interruption, since the last audit."""
    stopping: bool = False

    async def run(self) -> None:
        """Publish. Returns when the fate of the last message is settled."""
        while not self.stopping:
            receipts = []
            try:
                for _ in range(self.style.window):
                    receipts.append(await self._send())
            except stan.InvalidConnectionError:  # nothing was sent
                await asyncio.sleep(0.05)
            for receipt in receipts:
                try:
                    await receipt
                except (stan.PublishError, stan.PublishTimeoutError):
                    continue  # noted by the callback
            await asyncio.sleep(self.dice.uniform(0, self.style.pause_s))

    async def _send(self) -> stan.Receipt:
        self.sent += 1
        number = self.sent
        payload = make_payload(self.name, number, self.style.largest_bytes)

        def settle(_: str, error: stan.ClientError | None) -> None:
            if error is None:
                self.stored += 1
                self.fresh.add(number)
                self.acknowledged.set()
            elif isinstance(error, stan.PublishError):
                self.refused[number] = str(error)

        return await self.connection.publish_async(self.channel, payload, settle)
