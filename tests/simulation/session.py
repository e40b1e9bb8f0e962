"""A simulated client that is the real one, without its sockets: the session on the world's clock.

It publishes; it subscribes to nothing. Its NATS connection ends now and then, and is back a
little later. What it tells its user is held against what the store has: a receipt without an
error means stored once, one that was refused means not stored; a deadline that passed or a
connection that ended leaves it open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stan.client.options import ConnectOptions
from stan.client.receipt import Receipt
from stan.client.session import Session
from stan.errors import ClientError, PublishError
from tests.simulation.client import Client
from tests.simulation.network import Connection
from tests.simulation.operations import read_operations
from tests.simulation.published import Publish

if TYPE_CHECKING:
    from tests.simulation.world import World

MS = 1_000_000
MAX_PAYLOAD = 1 << 20


class SessionClient(Client):
    def __init__(self, world: World, client_id: str) -> None:
        super().__init__(world, client_id)
        self.connection_id = f"conn{self.number}".encode()
        window_s = world.profile.settings.dedupe_window_ns / 1e9
        self.session = Session(
            ConnectOptions(
                "test-cluster", client_id, connect_wait=0.4, pub_ack_wait=min(window_s, 20.0),
                ping_interval=1,
            ),
            f"session{self.number}",
            f"conn{self.number}",
            f"{self.number:012d}",
            world.rng.random,
        )  # fmt: skip
        self._receipts: dict[Receipt, bytes] = {}
        self._alarm_ns = -1
        world.network.catch(self.connection, f"session{self.number}.".encode(), self._on_frame)

    def _now_ns(self) -> int:
        return self.world.events.now_ns + 1  # 0 means never to some of its parts

    # The owner of a session does this with sockets and a loop.

    def _on_frame(self, subject: bytes, reply: bytes, payload: bytes | None) -> None:
        if not self.hung:
            self.session.receive([(subject, reply, payload)], self._now_ns())
            self._drain()

    def _drain(self) -> None:
        session = self.session
        if session.pulse.is_nats_up or session.ended:
            operations, session.operations = session.operations, []
            for subject, reply, payload in read_operations(b"".join(operations)):
                self.world.network.from_client(self.connection, subject, payload, reply)
            session.written()
        settled, session.window.settled = session.window.settled, []
        for receipt, error in settled:
            self._settle(receipt, error)
        session.events.clear()
        if session.lost is not None and self.state != "gone":
            self.die()
        due_ns = session.next_deadline_ns
        if due_ns is not None and not session.ended and due_ns != self._alarm_ns:
            self._alarm_ns = due_ns
            self.world.events.at(max(due_ns, self._now_ns()), self._ring, due_ns)

    def _ring(self, due_ns: int) -> None:
        if due_ns == self._alarm_ns and self.state != "gone":
            self._alarm_ns = -1
            self.session.tick(self._now_ns())
            self._drain()

    def _settle(self, receipt: Receipt, error: ClientError | None) -> None:
        receipt.settle(error)
        guid = self._receipts.pop(receipt)
        self.pending.pop(guid.decode(), None)
        published = self.world.store.published
        if error is None:
            published.acknowledge(guid, receipt.duplicate)
        elif type(error) is PublishError:
            self.errors.append(str(error))
            published.deny(guid, str(error))

    # What the world asks for.

    def connect(self) -> None:
        self.session.open(self._now_ns(), self._on_opened)
        self._drain()

    def _on_opened(self, error: ClientError | None) -> None:
        if error is not None:
            self.die()
        else:
            self.state = "up"

    def publish(self, channel: str, count: int) -> None:
        if self.state != "up":
            return
        world = self.world
        for _ in range(count):
            guid = f"{world.next_number():08d}"
            message_id = f"m{world.rng.randrange(20)}" if world.rng.random() < 0.15 else ""
            size = world.rng.randrange(world.profile.payload_bytes + 1)
            one = Publish(guid, channel, size, message_id, self.client_id, world.events.now_ns, 1)
            data = b"%b001%b" % (guid.encode(), b"x" * size)
            receipt = Receipt()
            self.session.publish(channel, data, receipt, self._now_ns(), MAX_PAYLOAD, message_id)
            one.wire_guid = receipt.guid.encode()
            self.pending[guid] = world.events.now_ns
            self._receipts[receipt] = guid.encode()
            world.store.owners[guid.encode()] = self.number
            world.store.published.add(one)
        self._drain()

    def cut(self) -> None:
        """Its NATS connection ends, and another one begins a little later."""
        if not self.session.pulse.is_nats_up or not self.session.registration:
            return
        old, self.connection = self.connection, Connection()
        self.connection.to_server_free_ns = old.to_server_free_ns
        self.world.network.move(old, self.connection)
        self.connection.up = False
        self.session.disconnected(self._now_ns(), "cut")
        self._drain()
        self.world.events.after(int(self.world.rng.random() * 300 * MS), self._reconnect)

    def _reconnect(self) -> None:
        if self.state != "gone":
            self.connection.up = True
            self.session.reconnected(self._now_ns())
            self._drain()

    def subscribe(self, channel: str) -> None:
        """It only publishes."""

    def ping(self) -> None:
        """It does so by itself."""

    def close(self) -> None:
        self.die()

    def die(self) -> None:
        super().die()
        self.session.end()

    def calm_down(self) -> None:
        super().calm_down()
        self._drain()

    def forgive(self) -> None:
        """Nothing is forgiven: what waits is sent until it has an answer."""
