"""What presses on the server: publishers at full window, large requests, acks of nobody's,
and a subscriber that stops reading.

A load counts what became of what it sent, and judges nothing.
"""

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from stan.wire import stan_pb2 as pb
from stan.wire.frames import Frame, pub
from tests.pressure.line import Line
from tests.tools.streaming_client import Client, Clients, new_id
from tests.tools.streaming_server import StreamingServer

STAN_GO_WINDOW = 16_384
# A flood ends when its answers stop coming for so long; as patient as the neighbours.
PATIENCE_S = 15.0
_BYTES_AT_ONCE = 1024 * 1024


@dataclass
class Outcome:
    """What became of the messages of a load."""

    sent: int = 0
    acked: int = 0
    refused: int = 0
    refusal: str = ""

    @property
    def unanswered(self) -> int:
        return self.sent - self.acked - self.refused


class Flood:
    """One publisher that has as many publishes without an ack as its window admits."""

    def __init__(self, client: Client, line: Line, payload_bytes: int, window: int) -> None:
        self.outcome = Outcome()
        self.payload_bytes = payload_bytes
        self.channel = new_id("flood")
        self._line = line
        self._window = window
        self._inbox = f"_FLOOD.{secrets.token_hex(11)}"
        self._answered = asyncio.Event()
        # All that differs between two publishes is the guid, and its length never does.
        subject = f"_STAN.pub.{client.server.cluster}.{self.channel}"
        message = client.message(self.channel, secrets.token_bytes(payload_bytes))
        operation = pub(subject, message.SerializeToString(), self._inbox)
        self._head, _, self._tail = operation.partition(message.guid.encode())

    @classmethod
    async def open(
        cls,
        clients: Clients,
        server: StreamingServer,
        payload_bytes: int,
        window: int = STAN_GO_WINDOW,
    ) -> "Flood":
        client = await clients.connect(server)
        flood: Flood
        line = await Line.open(server.nats_url, lambda frames: flood._take(frames))
        flood = cls(client, line, payload_bytes, window)
        line.subscribe(flood._inbox)
        await line.fence()
        return flood

    @property
    def acked_bytes(self) -> int:
        return self.outcome.acked * self.payload_bytes

    async def run(self, count: int) -> Outcome:
        """Publish so many; return when all were answered, or the answers stopped coming."""
        outcome = self.outcome
        at_once = max(1, _BYTES_AT_ONCE // self.payload_bytes)
        while outcome.sent < count:
            room = min(self._window - outcome.unanswered, count - outcome.sent, at_once)
            if room <= 0 and not await self._is_answered():
                break
            for _ in range(room):
                self._line.send(b"%b%022x%b" % (self._head, outcome.sent, self._tail))
                outcome.sent += 1
            await self._line.drained()
            await asyncio.sleep(0)  # the neighbours are in this process
        while outcome.unanswered and await self._is_answered():
            pass
        self._line.close()
        return outcome

    async def _is_answered(self) -> bool:
        self._answered.clear()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._answered.wait()
        except TimeoutError:
            return False
        return not self._line.closed.is_set()

    def _take(self, frames: list[Frame]) -> None:
        for _, _, payload in frames:
            ack = pb.PubAck.FromString(payload or b"")
            if ack.error:
                self.outcome.refused += 1
                self.outcome.refusal = ack.error
            else:
                self.outcome.acked += 1
        self._answered.set()


class Floods:
    """Several publishers who flood at the same time."""

    def __init__(self, members: list[Flood]) -> None:
        self.members = members

    @classmethod
    async def open(
        cls,
        clients: Clients,
        server: StreamingServer,
        publishers: int,
        payload_bytes: int,
        window: int = STAN_GO_WINDOW,
    ) -> "Floods":
        return cls(
            [await Flood.open(clients, server, payload_bytes, window) for _ in range(publishers)]
        )

    @property
    def acked_bytes(self) -> int:
        return sum(flood.acked_bytes for flood in self.members)

    async def run(self, count: int) -> Outcome:
        """Publish so many together; the sum of what became of them."""
        share = count // len(self.members)
        outcomes = await asyncio.gather(*(flood.run(share) for flood in self.members))
        return Outcome(
            sum(outcome.sent for outcome in outcomes),
            sum(outcome.acked for outcome in outcomes),
            sum(outcome.refused for outcome in outcomes),
            next((outcome.refusal for outcome in outcomes if outcome.refusal), ""),
        )


async def send_requests(
    server: StreamingServer, subject: str, payloads: Iterable[bytes]
) -> list[bytes]:
    """Send all of these at once, each with a reply inbox; the answers, once no more come."""
    answers: list[bytes] = []
    came = asyncio.Event()

    def take(frames: list[Frame]) -> None:
        answers.extend(payload or b"" for _, _, payload in frames)
        came.set()

    inbox = f"_FLOOD.{secrets.token_hex(11)}"
    line = await Line.open(server.nats_url, take)
    line.subscribe(inbox)
    sent = 0
    for payload in payloads:
        line.send(pub(subject, payload, inbox))
        await line.drained()
        sent += 1
    try:
        while len(answers) < sent:
            came.clear()
            async with asyncio.timeout(PATIENCE_S):
                await came.wait()
    except TimeoutError:
        pass  # what is missing is seen in the number of answers
    line.close()
    return answers


class Deaf:
    """A client with subscriptions on one connection that nobody reads any more."""

    def __init__(self, client: Client, line: Line) -> None:
        self._client = client
        self.line = line

    @classmethod
    async def open(cls, clients: Clients, server: StreamingServer) -> "Deaf":
        client = await clients.prepare(server)
        client.answers_heartbeats = False  # as in any client, all is on one connection
        deaf = cls(client, await Line.open(server.nats_url, lambda _: None))
        deaf.line.subscribe(client.heartbeat_inbox)
        await deaf.line.fence()
        assert not (await client.connect()).error
        return deaf

    async def subscribe(
        self, channel: str, subscriptions: int, *, max_in_flight: int, ack_wait_s: int
    ) -> None:
        """Subscribe from the first message on. The socket is not read from before on."""
        self.line.stop_reading()
        for number in range(subscriptions):
            request = self._client.subscription_request(
                channel,
                ack_wait_s,
                inbox=f"_DEAF.{self._client.client_id}.{number}",
                maxInFlight=max_in_flight,
                startPosition=pb.First,
            )
            self.line.subscribe(request.inbox)
            response = await self._client.ask_to_subscribe(request)
            assert not response.error
