"""A machine with a clock, a NATS connection and, most of the time, a running server.

It knows the server that runs on it, and what becomes of it when that dies. Nothing here
decides when a server leads; in a world of one it always does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.network import Port

if TYPE_CHECKING:
    from tests.simulation.server import Server
    from tests.simulation.world import World

MS = 1_000_000


class Node:
    name = "server"
    lingers = False  # whether the store may finish a commit after the process is gone

    def __init__(self, world: World) -> None:
        self.world = world
        self.port = Port()
        self.server: Server | None = None
        self.epoch = 0
        self.skew_ns = 0
        self.frozen_until_ns = 0
        world.network.ports.append(self.port)

    def clock_ns(self) -> int:
        """This machine's clock."""
        return self.world.clock_ns(self.skew_ns)

    def due_ns(self) -> int | None:
        """When its server wants to be rung, in the world's time; None for never."""
        server = self.server
        if server is None or server.deadline_ns is None:
            return None
        return max(self.world.moment_ns(server.deadline_ns - self.skew_ns), self.frozen_until_ns)

    def crashed(self) -> None:
        """The process is gone; somebody starts another one."""
        self.world.restart_later()

    def deposed(self) -> None:
        """The store belongs to another server."""
        raise AssertionError("a server that is alone was deposed")
