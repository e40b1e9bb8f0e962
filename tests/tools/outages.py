"""What befalls a client: its streaming server, its NATS server or both go and come back.

A scene is a streaming server and the NATS servers that its clients reach it by. An outage is
done to a scene, and tells when it began and when everything was there again. Nothing is
judged here. Invariant: every process started is stopped by its own handle.
"""

import asyncio
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import stan
from tests.tools.processes import NatsServer, free_port
from tests.tools.streaming_server import StreamingServer, implementation_under_test

_UNLIMITED = ("-mc", "0", "-mm", "0", "-mb", "0")


@dataclass(frozen=True)
class Outage:
    """When something went, and when all was there again, on the monotonic clock."""

    began_s: float
    ended_s: float

    @property
    def length_s(self) -> float:
        """How long it was."""
        return self.ended_s - self.began_s


@dataclass
class Scene:
    """A streaming server, ready to lose. It keeps its messages in `source`, or in memory."""

    folder: Path
    source: str = ""
    nats: list[NatsServer] = field(default_factory=list)
    """None: the streaming server starts one of its own, which dies with it."""

    def __post_init__(self) -> None:
        port = free_port()
        urls = [each.url for each in self.nats]
        self.urls = urls or [f"nats://127.0.0.1:{port}"]
        own = ("-a", "127.0.0.1", "-p", str(port))
        store = ("-st", "SQL", "--sql_source", self.source) if self.source else ("-st", "MEMORY")
        self.server = StreamingServer(
            implementation_under_test(),
            ",".join(urls),
            "",
            self.folder,
            (*store, *_UNLIMITED, *(() if urls else own)),
        )

    @property
    def cluster(self) -> str:
        """The cluster ID."""
        return self.server.cluster

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.server.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.server.stop)

    async def terminate_and_restart(self, after_s: float = 1.0) -> Outage:
        """SIGTERM; a while after it has ended it is started again."""
        began_s = time.monotonic()
        await asyncio.to_thread(self.server.stop)
        return await self._start(began_s, after_s)

    async def kill_and_restart(self, after_s: float = 1.0) -> Outage:
        """SIGKILL; a while after that it is started again."""
        began_s = time.monotonic()
        await asyncio.to_thread(self.server.kill)
        return await self._start(began_s, after_s)

    async def _start(self, began_s: float, after_s: float) -> Outage:
        await asyncio.sleep(after_s)  # how long nobody is there
        await asyncio.to_thread(self.server.start)
        return Outage(began_s, time.monotonic())

    def freeze(self) -> None:
        """SIGSTOP: the server is there and says nothing more."""
        assert self.server.process is not None
        self.server.process.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.server.process is not None
        self.server.process.process.send_signal(signal.SIGCONT)


class NatsCluster:
    """Three NATS servers that know each other. Each may be started with flags besides."""

    def __init__(self, *flags: str) -> None:
        self._flags = flags
        self.servers = [NatsServer() for _ in range(3)]
        self._ports = [free_port() for _ in self.servers]

    def start(self) -> Self:
        """Start all of them, and wait until each has found the first."""
        for number, server in enumerate(self.servers):
            self.start_one(server)
            if number:
                server.process.wait_for("Route connection created")
        return self

    def start_one(self, server: NatsServer) -> None:
        """Start one of them, or start it again."""
        number = self.servers.index(server)
        routes = [f"nats://127.0.0.1:{port}" for port in self._ports if port != self._ports[number]]
        own = f"nats://127.0.0.1:{self._ports[number]}"
        server.start(
            "-cluster", own, "-cluster_name", "three", "-routes", ",".join(routes), *self._flags
        )

    def find(self, connection: stan.Connection) -> NatsServer:
        """The server that a connection is connected to."""
        assert connection.nats is not None
        url = connection.nats.connected_url
        assert url is not None
        return next(server for server in self.servers if server.port == url.port)

    def stop(self) -> None:
        """End those that run."""
        for server in self.servers:
            server.stop()
