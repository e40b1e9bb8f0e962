"""A simulated client that survives: what has no ack is sent again, in order and marked.

It takes a late ack, a refusal by a server that does not know it, and the end of its own NATS
connection for an interruption. Then it waits a little, registers again or not, and sends its
window. Each sending has a number, in the payload and in the ack subject, so that an answer
tells which copy it answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stan.engine.publishing import INVALID_PUBLISH
from stan.wire.stan_pb2 import ConnectRequest, ConnectResponse, PubAck, PubMsg
from tests.simulation.client import DISCOVER, PUBLISH, Client
from tests.simulation.network import Connection
from tests.simulation.published import Publish

if TYPE_CHECKING:
    from tests.simulation.world import World

MS = 1_000_000


class ResendingClient(Client):
    def __init__(self, world: World, client_id: str) -> None:
        super().__init__(world, client_id)
        rng = world.rng
        self.connection_id = f"conn{self.number}".encode()
        self.window: dict[str, Publish] = {}
        self.generation = 1
        self.resent = 0
        # How long a publish may wait for its ack, and how long it takes to doubt.
        self._deadline_ns = min(world.profile.settings.dedupe_window_ns, 20_000 * MS)
        self._patience_ns = rng.choice((50, 200, 1000)) * MS
        self._returns = 0
        self._is_returning = False
        self._is_watching = False
        self._listen()

    def _listen(self) -> None:
        """Hear the acks of what is sent from now on."""
        generation = self.generation
        self.world.network.listen(
            self.connection,
            self._subject(),
            lambda payload, _: self._on_answer(generation, PubAck.FromString(payload)),
        )

    def _subject(self) -> bytes:
        return f"acks.{self.number}.{self.generation}".encode()

    def connect(self) -> None:
        """Register, or begin anew: a server ends what an earlier session subscribed, whether
        its answer arrives or not."""
        for mine in list(self.subscriptions):
            self._forget(mine)
        request = ConnectRequest(
            clientID=self.client_id,
            heartbeatInbox=self._heartbeat_inbox,
            protocol=1,
            connID=self.connection_id,
            pingInterval=1,
            pingMaxOut=3,
            resends=True,
        )
        self._ask("connect", DISCOVER, request.SerializeToString(), self._on_connected)

    def _on_connected(self, payload: bytes) -> None:
        super()._on_connected(payload)
        response = ConnectResponse.FromString(payload)
        if self.state == "up" and not response.error:
            window_ms = self.world.profile.settings.dedupe_window_ns // MS
            assert response.dedupeWindow == window_ms, "another window than agreed"
            if self._is_returning:
                self._send_again()

    # Publishing.

    def publish(self, channel: str, count: int) -> None:
        world = self.world
        for _ in range(count):
            guid = f"{world.next_number():08d}"
            message_id = f"m{world.rng.randrange(20)}" if world.rng.random() < 0.15 else ""
            size = world.rng.randrange(world.profile.payload_bytes + 1)
            now_ns = world.events.now_ns
            one = Publish(guid, channel, size, message_id, self.client_id, now_ns)
            self.window[guid] = one
            self.pending[guid] = now_ns
            world.store.owners[guid.encode()] = self.number
            world.store.published.sent[guid.encode()] = one
            if not self._is_returning:
                self._send(one)
        if not self._is_watching:
            self._is_watching = True
            world.events.after(self._patience_ns, self._watch)

    def _send(self, one: Publish) -> None:
        data = b"%b%03d%b" % (one.guid.encode(), self.generation, b"x" * one.size)
        message = PubMsg(
            clientID=self.client_id, guid=one.guid, subject=one.channel, data=data,
            connID=self.connection_id, messageId=one.message_id,
        )  # fmt: skip
        if one.generation:
            self.resent += 1
            message.resentAfter = max(1, -((one.first_ns - self.world.events.now_ns) // MS))
        one.generation = self.generation
        subject = PUBLISH + one.channel.encode()
        payload = message.SerializeToString()
        self.world.network.from_client(self.connection, subject, payload, self._subject())

    def _on_answer(self, generation: int, ack: PubAck) -> None:
        one = self.window.get(ack.guid)
        if one is None:
            return
        if ack.error == INVALID_PUBLISH:
            if generation == one.generation:
                self._interrupt(True)
        elif not ack.error or generation == one.generation:
            self._settle(ack.guid)
            if ack.error:
                self.errors.append(ack.error)

    def _settle(self, guid: str) -> None:
        self.window.pop(guid, None)
        self.pending.pop(guid, None)

    def forgive(self) -> None:
        """Nothing is forgiven: what waits is sent until it has an answer."""

    # Interruptions.

    def _watch(self) -> None:
        """Doubt the server when an ack is late."""
        self._is_watching = bool(self.window) and self.state != "gone"
        if not self._is_watching:
            return
        now_ns = self.world.events.now_ns
        for one in list(self.window.values()):
            if now_ns - one.first_ns >= self._deadline_ns:
                self._settle(one.guid)  # nobody will ever know
        oldest_ns = min((one.first_ns for one in self.window.values()), default=now_ns)
        if now_ns - oldest_ns >= self._patience_ns:
            self._interrupt(self.world.rng.random() < 0.3)
        self.world.events.after(self._patience_ns, self._watch)

    def cut(self) -> None:
        """Its NATS connection ends, and another one begins."""
        old, self.connection = self.connection, Connection()
        self.connection.to_server_free_ns = old.to_server_free_ns
        self.world.network.move(old, self.connection)
        self._interrupt(self.world.rng.random() < 0.5)

    def _interrupt(self, register: bool) -> None:
        self._returns += 1
        self._is_returning = True
        delay_ns = int(self.world.rng.random() * 100 * MS)
        self.world.events.after(delay_ns, self._return, self._returns, register)

    def _return(self, number: int, register: bool) -> None:
        if number != self._returns or self.state in ("gone", "closing"):
            return
        if register or self.state != "up":
            self.connect()
            # No answer: it tries again.
            again_ns = int((1 + self.world.rng.random()) * 400 * MS)
            self.world.events.after(again_ns, self._return, number, True)
        else:
            self._send_again()

    def _send_again(self) -> None:
        """Send the window in its order."""
        self._returns += 1
        self._is_returning = False
        self.generation += 1
        self._listen()
        now_ns = self.world.events.now_ns
        for one in list(self.window.values()):
            if now_ns - one.first_ns < self._deadline_ns:
                self._send(one)
