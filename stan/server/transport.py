"""NATS as the server sees it: one connection, frames in by the chunk, one write out.

The only module of the server that knows nats-py. Everything the server listens to comes
over one connection, so that publishes, acks and a close keep the order in which their
client sent them. Nothing is decided here.
"""

import asyncio
import logging
import random
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from stan.errors import NatsServerError
from stan.link.connecting import explain, hide_password
from stan.link.taps import Link, OnFrames
from stan.wire.frames import Frame
from stan.wire.messages import parse
from stan.wire.stan_pb2 import ConnectRequest, ConnectResponse
from stan.wire.subjects import ServerSubjects

# How long a starting server waits for another one of its cluster to answer. The original's
# 250 ms (protocol 6.2) are too few for a busy one; where nobody listens NATS says so at once.
PROBE_TIMEOUT_S = 1.0
# What somebody listens to is known in all of a NATS cluster only some time after its servers
# have found each other, so there the question is repeated for this long.
PROBE_SPREAD_S = 1.0
PROBE_PAUSE_S = 0.2
# Above this many unsent bytes the pump stops sealing until the socket has taken some.
CONGESTED_BYTES = 8 * 1024 * 1024

log = logging.getLogger("stan.server")
# What a server can do without, when its NATS user may not listen there (nats-py lowers it).
_SPARE = ("_stan.admin.", "$srv.")
_REFUSED = re.compile(r'permissions violation for subscription to "(.*?)"', re.IGNORECASE)


class Transport:
    """The server's NATS connection.

    `on_up` and `on_down` tell of every change of the connection, `on_topology` that others may
    be reached through it than before, `on_lost` that it is closed for good. `on_made` comes
    before anything can be written to a new connection, whose `max_payload_bytes` may be
    another one.
    """

    def __init__(self, name: str = "stan-server") -> None:
        self.on_made: Callable[[], None] = _nothing
        self.on_up: Callable[[], None] = _nothing
        self.on_down: Callable[[], None] = _nothing
        self.on_topology: Callable[[], None] = _nothing
        self.on_lost: Callable[[str], None] = _ignore
        self.on_error: Callable[[str], None] = _ignore
        self._name = name
        # Who gets what arrives when nobody serves.
        self.otherwise: OnFrames = _drop
        self._on_frames: OnFrames = _drop
        self._link = Link(self._frames)
        self._link.on_made = self._made
        self._closing = False
        self._listening: set[str] = set()
        self.is_spare_refused = False  # of the admin service's subjects
        self._refused: list[str] = []  # subjects to which our NATS user may not listen

    def lend(self) -> Client:
        """The nats-py client, for whoever makes ordinary subscriptions of its own on it."""
        return self._link

    async def connect(self, servers: list[str], **nats_options: Any) -> None:
        """Connect to one of these NATS servers. Raises NatsServerError.

        The first connection is tried once per server, and a refusal fails at once; a
        connection that stood is made again for ever.
        """
        options: dict[str, Any] = {
            "name": self._name,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.25,
            "ping_interval": 10,
            "max_outstanding_pings": 2,
            "allow_reconnect": True,
            "connect_timeout": 5,
            # Mixed once, when it is opened: who moves goes to a server where it was not.
            "dont_randomize": True,
            **nats_options,
        }
        last = ""

        async def failed(error: Exception) -> None:
            nonlocal last
            last = explain(error)
            self._take_error(last)

        async def connected() -> None:
            log.info('connection "%s" reconnected to NATS Server at "%s"', self._name, self.url)
            self.on_up()
            self.on_topology()

        async def discovered() -> None:
            self.on_topology()

        async def disconnected() -> None:
            self.on_down()

        async def closed() -> None:
            if not self._closing:
                error = self._link.last_error
                if error is None or isinstance(error, nats.errors.NoServersError):
                    self.on_lost(last or "the NATS connection was closed")
                else:
                    self.on_lost(explain(error))

        try:
            # Longer only when servers accept connections and then fall silent.
            async with asyncio.timeout(float(options["connect_timeout"]) * len(servers) + 5):
                await self._link.open(
                    random.sample(servers, len(servers)),
                    failed,
                    reconnected_cb=connected,
                    disconnected_cb=disconnected,
                    closed_cb=closed,
                    discovered_server_cb=discovered,
                    **options,
                )
        except (nats.errors.Error, OSError, ValueError) as error:  # a TimeoutError is an OSError
            unanswered = isinstance(error, nats.errors.NoServersError)
            reason = explain(error.__cause__ or error if unanswered else error)
            raise NatsServerError(
                f"cannot connect to {hide_password(', '.join(servers))}: {reason}"
            ) from None

    def _take_error(self, text: str) -> None:
        refused = _REFUSED.findall(text)
        if refused and refused[0].startswith(_SPARE):
            self.is_spare_refused = True
            return
        self._refused += refused
        self.on_error(text)

    async def probe(self, subjects: ServerSubjects, cluster_id: str) -> bool:
        """Whether another streaming server of this cluster answers connect requests.

        A NATS server that stands alone knows at once who listens. One of a cluster may not
        know it yet, so its word that nobody does counts only after a while.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + (PROBE_SPREAD_S if self._link.is_clustered else 0.0)
        request = ConnectRequest(clientID=cluster_id, heartbeatInbox=self._link.new_inbox())
        while not await self._is_answered(subjects.connect, request.SerializeToString()):
            if loop.time() >= until_s:
                return False
            await asyncio.sleep(PROBE_PAUSE_S)
        return True

    async def _is_answered(self, subject: str, request: bytes) -> bool:
        try:
            answer = await self._link.request(subject, request, timeout=PROBE_TIMEOUT_S)
            parse(ConnectResponse, answer.data)
        except (nats.errors.Error, ValueError):
            return False
        return True

    async def listen(
        self, subjects: ServerSubjects, inbox_prefix: str, on_frames: OnFrames
    ) -> None:
        """Hand everything that clients of this cluster send to `on_frames`, from now on.

        May be called again, for somebody else, and without a prefix when none is known yet.
        Raises NatsServerError when our NATS user may not listen to something: a server must
        hear all of its clients.
        """
        self._on_frames = on_frames
        for subject in (
            *subjects.publishes,
            subjects.subscribe,
            subjects.unsubscribe,
            subjects.subscription_close,
            subjects.close,
            subjects.pings,
            *([f"{inbox_prefix}.*"] if inbox_prefix else []),
            subjects.connect,
        ):
            if subject not in self._listening:
                self._listening.add(subject)
                await self._link.tap(subject)
        await self._require_heard()

    def hand_to(self, on_frames: OnFrames) -> None:
        """Hand what clients send to somebody else, from this moment on."""
        self._on_frames = on_frames

    async def _require_heard(self) -> None:
        # NATS answers in order: its refusals come before the answer to this.
        with suppress(nats.errors.Error):
            await self._link.flush()
        if self._refused:
            spelled = {subject.lower(): subject for subject in self._listening}  # nats-py lowers it
            refused = ", ".join(spelled.get(each, each) for each in self._refused)
            raise NatsServerError(f"the NATS user of this server may not subscribe to {refused}")

    def write(self, operations: bytes) -> bool:
        """Send; False when there is no connection and the operations were dropped."""
        return self._link.write(operations)

    @property
    def url(self) -> str:
        """The NATS server connected to, as it may be shown; empty without a connection."""
        url = self._link.connected_url
        return hide_password(url.geturl()) if url is not None else ""

    @property
    def is_connected(self) -> bool:
        return bool(self._link.is_connected)

    @property
    def nats_id(self) -> str:
        """The ID of the NATS server connected to; empty without a connection."""
        return self._link.server_id

    @property
    def known_servers(self) -> int:
        """How many NATS servers we may connect to."""
        return len(self._link.servers)

    def move(self) -> None:
        """Leave this NATS server for the next one; `on_down` and `on_up` tell of it."""
        self._link.move()

    @property
    def is_congested(self) -> bool:
        """Whether the NATS server takes what is written slower than it is produced."""
        return self._link.unsent_bytes > CONGESTED_BYTES

    async def drained(self) -> None:
        await self._link.drained()

    async def flush(self, timeout_s: float) -> None:
        """Wait until the NATS server has seen everything written, or the time is over."""
        if self._link.is_connected:
            with suppress(nats.errors.Error, TimeoutError, ValueError):
                await self._link.flush(timeout=timeout_s)  # type: ignore[arg-type]

    @property
    def max_payload_bytes(self) -> int:
        return int(self._link.max_payload)

    def stop_listening(self) -> None:
        """Hand what still arrives to whoever gets it otherwise."""
        self._on_frames = self.otherwise

    # Between the servers of a group.

    async def hear(
        self, subject: str, on_word: Callable[[bytes], bytes | None]
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        """Hand what is said on this subject to `on_word`, which may answer, until what is
        returned is called. Raises NatsServerError as `listen`."""

        async def heard(word: Msg) -> None:
            answer = on_word(word.data)
            if answer is not None and word.reply:
                await self.say(word.reply, answer)

        self._listening.add(subject)
        try:
            subscription = await self._link.subscribe(subject, cb=heard)
        except nats.errors.Error as error:
            raise NatsServerError(f"cannot subscribe to {subject}: {explain(error)}") from None
        await self._require_heard()

        async def end() -> None:
            with suppress(nats.errors.Error, OSError):  # it went with the connection
                await subscription.unsubscribe()

        return end

    async def ask(self, subject: str, question: bytes, timeout_s: float) -> bytes | None:
        """The answer; nothing in it when none came in time, and None when NATS says that
        nobody listens."""
        if not self._link.is_connected:
            return b""
        try:
            answer = await self._link.request(subject, question, timeout=timeout_s)
        except nats.errors.NoRespondersError:
            return None
        except (nats.errors.Error, OSError):  # a TimeoutError is an OSError
            return b""
        return bytes(answer.data)

    async def say(self, subject: str, word: bytes, reply: str = "") -> None:
        """Publish; what cannot be said is not."""
        with suppress(nats.errors.Error, OSError):
            await self._link.publish(subject, word, reply)

    def new_inbox(self) -> str:
        """A subject for answers, nobody else's."""
        return self._link.new_inbox()

    async def close(self) -> None:
        self._closing = True
        await self._link.close()

    def _made(self) -> None:
        # A question of a standby's, say, is about the connection on which it was asked.
        self._link.forget_unsent()
        self.on_made()

    def _frames(self, frames: list[Frame]) -> None:
        self._on_frames(frames)


def _nothing() -> None:
    return None


def _ignore(_: str) -> None:
    return None


def _drop(_: list[Frame]) -> None:
    return None
