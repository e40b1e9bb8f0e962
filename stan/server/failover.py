"""The life of a member of a group of servers: it stands by, serves, and stands by again.

The row of the lease in the store is the only truth about who serves; taking it is one
statement, and every commit proves it. What NATS says only makes a standby try sooner: being
wrong costs a redelivery, never a message. Here is when to take the lease and when to leave
it; what a standby holds is in `standby`, what serves in `serving`. Invariant: whoever does
not hold the lease says nothing to clients.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any

from stan.engine.replaying import Held
from stan.engine.settings import MILLISECOND_NS
from stan.errors import (
    LeaseLostError,
    StoreError,
    StoreOutcomeUnknownError,
    StoreUnavailableError,
)
from stan.server.apart import Apart
from stan.server.clock import SteadyClock
from stan.server.config.config import Config
from stan.server.monitor.identity import FT_ACTIVE, FT_STANDBY
from stan.server.patience import Patience
from stan.server.pump import Pump
from stan.server.serving import Serving
from stan.server.settling import Questions
from stan.server.silence import Silence
from stan.server.standby import Standby
from stan.server.transport import Transport
from stan.server.words import decode, encode, number
from stan.store.contract import Holder, Store
from stan.units import SECOND_NS
from stan.wire.subjects import ServerSubjects

log = logging.getLogger("stan.server")

# How often a standby looks at the lease and asks whether anybody serves.
LOOK_S = 0.1
ASK_TIMEOUT_S = 0.15
# Two ways through NATS may differ by this, and a connect request waits this long for the
# client that has its ID: what is settled is let go so much later.
MARGIN_NS = 600 * MILLISECOND_NS
# What was acknowledged this shortly before NATS was lost may not have reached its publisher.
LAST_WORDS_NS = 100 * MILLISECOND_NS
# A standby asks before so long, or there is none.
LIVELY_S = 1.0
# And before so long after a loss of NATS, on however busy a machine.
MAKING_GOOD_S = 3.0

_PASSING = (StoreUnavailableError, StoreOutcomeUnknownError, LeaseLostError)


class Failover:
    """One member. `run` is its life, `serving` what it has of a server at the moment.

    `on_change` is called with the state as monitoring shows it, whenever `serving` is another
    one or has begun or ended to serve.
    """

    def __init__(
        self,
        config: Config,
        server_id: str,
        transport: Transport,
        make_serving: Callable[[], Serving],
        on_change: Callable[[str], None],
    ) -> None:
        self.takeovers = 0
        self.clock = SteadyClock()
        self.standby = Standby(config.ft_buffer_bytes, self.clock)
        self.serving = make_serving()
        self._make_serving = make_serving
        self._on_change = on_change
        self._server_id = server_id
        self._transport = transport
        self._subjects = ServerSubjects(
            config.cluster_id, config.discover_prefix, config.served_channels
        )
        self._news_subject = f"_STAN.ft.{config.cluster_id}.{config.ft_group}"
        self._active_subject = f"{self._news_subject}.active"
        self._patience = Patience(config.ft_lease_ns / SECOND_NS)
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._leaving = asyncio.Event()
        self._handing_over: asyncio.TimerHandle | None = None
        self._questions = Questions()
        self._lost_ns = 0  # when this active lost NATS, and nobody made it good yet
        self._asked_since_ns = 0  # since when standbys ask again after that
        self._apart = Apart()
        self._silence = Silence()
        self._stop_hearing: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._is_active = False
        self._epoch = 0
        self._heir = ""  # the standby to which this active leaves
        self._asked_at: dict[str, float] = {}  # standbys by server ID
        self._inbox_prefix = ""
        self._complaint = ""

    # For others.

    def hand_over(self) -> None:
        """Let a standby serve: the next one that asks, which is certainly there."""
        if not self._is_active:
            log.warning("Nothing to hand over: this server stands by")
        elif self._handing_over is None:
            self._handing_over = self._loop.call_later(LIVELY_S, self._keep)

    def standbys(self) -> list[str]:
        """The server IDs of those that stand by, as far as they have asked lately."""
        now = self._loop.time()
        self._asked_at = {one: at for one, at in self._asked_at.items() if now - at < LIVELY_S}
        return sorted(self._asked_at)

    def _keep(self) -> None:
        self._handing_over = None
        if self._is_active:
            log.warning("Not handing over: nobody stands by")

    def nats_is_down(self) -> None:
        """The NATS connection is gone."""
        self._silence.forget()
        self._questions = Questions()
        if self._is_active:
            self._lost_ns = self._lost_ns or self.clock()
        self._asked_since_ns = 0

    async def run(self) -> None:
        """Stand by and serve, in turns, until cancelled. Raises StanError when this server
        cannot go on."""
        transport = self._transport
        transport.otherwise = self.standby.receive
        self.standby.listen()
        await transport.listen(self._subjects, "", self.standby.receive)
        await transport.hear(self._news_subject, self._hear)
        while True:
            log.info("Starting in standby mode")
            transport.on_up = self._reconnected
            self._on_change(FT_STANDBY)
            await self._stand_by(self.serving.store)
            try:
                await self._serve()
            except _PASSING as error:
                await self._step_down(error)
            else:
                await self._leave()
            self.serving = self._make_serving()

    async def stop(self) -> None:
        """Commit and answer what was asked, release the lease, and tell the others."""
        was_active = self._is_active
        await self._leave(stays=False)
        if was_active:
            log.info("The lease is released")

    # Standing by.

    async def _stand_by(self, store: Store) -> None:
        """Wait until the lease is ours."""
        await self._prepare(store)
        while not await self._look(store):
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            self._news.clear()

    async def _prepare(self, store: Store) -> None:
        """Connect to the store. What somebody must change ends a server that begins."""
        while True:
            try:
                await store.prepare()
                return
            except StoreError as error:
                if (
                    not self.takeovers
                    and not self._patience.has_seen
                    and not isinstance(error, _PASSING)
                ):
                    raise
                self._complain(error)
            await asyncio.sleep(LOOK_S)

    async def _look(self, store: Store) -> bool:
        """Look at the lease once, and take it if it is time to. Whether it is ours now."""
        try:
            holder = await store.read_holder()
            if self._complaint:
                self._complaint = ""
                log.info("The store is back")
            if not self._inbox_prefix:
                await self._learn_prefix(store)
            if self._may_take(holder) and await self._take(store, holder):
                return True
        except StoreError as error:
            self._complain(error)
            return False
        await self._ask(holder)
        return False

    async def _learn_prefix(self, store: Store) -> None:
        """Find out where acks are sent, and listen there, too."""
        server = await store.read_server()
        if server is not None:
            self.serving.require_ours(server)
            self._inbox_prefix = server.inbox_prefix
            await self._transport.listen(self._subjects, server.inbox_prefix, self.standby.receive)

    def _may_take(self, holder: Holder) -> bool:
        """Whether the lease may be taken from this holder."""
        is_silent = self._silence.is_proof(holder.epoch)
        may = self._patience.allows(holder, is_silent, self._heard_for_s(), self._loop.time())
        return may and self._transport.is_connected  # who cannot hear clients serves none

    def _heard_for_s(self) -> float:
        """How long this server has heard everything; for ever when nothing can be missing."""
        gap_ns = self.standby.gap_ns
        return (self.clock() - gap_ns) / SECOND_NS if gap_ns else inf

    async def _take(self, store: Store, holder: Holder) -> bool:
        """Try to take the lease. Whoever might answers for the active from before on, so that
        no other standby hears a silence meanwhile."""
        self._stop_hearing = await self._transport.hear(self._active_subject, self._answer)
        taken = False
        try:
            taken = await store.take(holder)
        finally:
            if not taken:
                await self._stop_answering()
        if taken:
            self._epoch = holder.epoch + 1
            self._say_gap(holder)
        return taken

    def _say_gap(self, holder: Holder) -> None:
        """Say what is perhaps lost to its publishers, who then publish again."""
        gap_ns = self.standby.gap_ns
        if not gap_ns or not holder.owner:
            return
        dropped = self.standby.dropped_frames
        log.warning(
            "What clients sent more than %.1fs ago is not held (%s): what the last server did"
            " not answer of it they have to send again",
            (self.clock() - gap_ns) / SECOND_NS,
            f"ft_buffer had no room for {dropped}" if dropped else "it was not heard",
        )

    async def _ask(self, holder: Holder) -> None:
        """Ask whoever serves up to where all is settled, and notice when nobody answers."""
        now_ns = self.clock()
        heard_ns = now_ns - self.standby.gap_ns
        question = encode(server_id=self._server_id, moment_ns=now_ns, heard_ns=heard_ns)
        answer = await self._transport.ask(self._active_subject, question, ASK_TIMEOUT_S)
        if answer is None and holder.owner:
            self._silence.observe(holder.epoch, self._loop.time())
            return
        self._silence.forget()
        told = decode(answer or b"")
        settled_ns = number(told, "settled_ns")
        if settled_ns:
            self.standby.settle(settled_ns - MARGIN_NS)
        transport = self._transport
        theirs, choices = str(told.get("nats_id", "")), transport.known_servers
        if self._apart.is_time_to_move(transport.nats_id, theirs, choices, self._loop.time()):
            log.info("Going to another NATS server than the active's")
            transport.move()

    def _complain(self, error: StoreError) -> None:
        if not self._complaint:
            self._complaint = str(error)
            log.error("Store: %s; waiting for it", error)

    def _reconnected(self) -> None:
        self.standby.miss()
        self._patience.give_way(
            self._loop.time()
        )  # even when the lease is given back: to one that heard everything
        self._news.set()

    # Serving.

    async def _serve(self) -> None:
        """Serve until somebody asks to hand over. Raises LeaseLostError when another server
        took over, and whatever else ends it."""
        log.info("Server is active")
        self.takeovers += 1
        self._leaving.clear()
        self._lost_ns = 0
        self._heir = ""
        serving = self.serving
        server, recovered = await serving.recover()
        if server.inbox_prefix != self._inbox_prefix:
            self._inbox_prefix = server.inbox_prefix
            await self._transport.listen(self._subjects, server.inbox_prefix, self.standby.receive)
        serving.start_with(server, recovered, self._take_held, self.clock)
        self._is_active = True
        self._on_change(FT_ACTIVE)
        await self._tell("active")
        failing = asyncio.ensure_future(serving.pump.failed())
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait((failing, leaving), return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                failing.result()
        finally:
            failing.cancel()
            leaving.cancel()

    def _take_held(self) -> Held:
        held = self.standby.take()
        frames = sum(len(some) for _, some in held)
        if frames:
            log.info("Taking up %d messages and requests that clients sent meanwhile", frames)
        return held

    async def _step_down(self, error: StoreError) -> None:
        """The store belongs to another server, or is gone before this one could serve."""
        log.warning("%s: standing by", error)
        if self._is_active:
            self.standby.listen()
        if isinstance(error, LeaseLostError):
            self._patience.be_wary(self._loop.time())
        self._is_active = False
        await self.serving.abandon()
        await self._stop_answering()
        await self.serving.close()

    async def _leave(self, stays: bool = True) -> None:
        """Stop serving in order: commit, answer, release the lease, and say so."""
        was_active, self._is_active = self._is_active, False
        if was_active and stays:
            log.info("Handing over")
            self._patience.rest(self._loop.time())
        self.standby.listen()
        if was_active and self._heir:
            await self._tell("leaving")  # the others know it before the lease is free
        await self.serving.stop()
        await self._stop_answering()
        await self.serving.close()
        if was_active:
            await self._tell("released")
            await self._transport.flush(1.0)

    async def _stop_answering(self) -> None:
        stop, self._stop_hearing = self._stop_hearing, None
        if stop is not None:
            await stop()

    # Between members.

    async def _tell(self, state: str) -> None:
        word = encode(server_id=self._server_id, epoch=self._epoch, state=state, heir=self._heir)
        await self._transport.say(self._news_subject, word)

    def _hear(self, word: bytes) -> None:
        """Another member took the lease, or left it."""
        news = decode(word)
        if news.get("server_id") == self._server_id:
            return
        if news.get("heir") not in (None, "", self._server_id):
            self._patience.give_way(self._loop.time())
        self._news.set()
        is_active = news.get("state") == "active"
        if is_active and self._is_active and number(news, "epoch") > self._epoch:
            ownership = self.serving.pump.ownership
            if ownership is not None:
                ownership.doubt()

    def _answer(self, question: bytes) -> bytes | None:
        """What a standby asked: up to where, in its own time, all is settled."""
        if not self._is_active:
            return None
        asked = decode(question)
        asker = str(asked.get("server_id", ""))
        self._asked_at[asker] = self._loop.time()
        if self._handing_over is not None:
            self._handing_over.cancel()
            self._handing_over = None
            self._leave_to(asked)
        if self._lost_ns and self._make_good(asked):
            return self._describe()
        pump = self.serving.pump
        settled_ns = _find_settled(pump)
        if settled_ns is None:
            return self._describe()
        moment_ns = self._questions.ask(asker, number(asked, "moment_ns"), pump.clock(), settled_ns)
        # Only now may a standby go to another NATS server: nothing depends on what it holds.
        return self._describe(settled_ns=moment_ns, nats_id=self._transport.nats_id)

    def _leave_to(self, asked: dict[str, Any]) -> None:
        """Leave to the standby that asked; another one may not have heard as much."""
        self._heir = str(asked.get("server_id", ""))
        self._leaving.set()

    def _describe(self, **words: int | str) -> bytes:
        """The answer to a standby."""
        return encode(server_id=self._server_id, epoch=self._epoch, **words)

    def _make_good(self, asked: dict[str, Any]) -> bool:
        """What was sent while this active had no connection it did not hear, and its last acks
        may be lost. A standby that heard all of it serves in its place, and acknowledges again.

        Whether that is still open: each standby has time to ask, and until the last one has,
        nothing counts as settled.
        """
        now_ns = self.clock()
        if number(asked, "heard_ns") > now_ns - self._lost_ns + LAST_WORDS_NS:
            log.warning("NATS was lost for a moment: a standby heard what this server did not")
            self._leave_to(asked)
            return True
        self._asked_since_ns = self._asked_since_ns or now_ns
        if now_ns - self._asked_since_ns > MAKING_GOOD_S * SECOND_NS:
            self._lost_ns = 0
        return bool(self._lost_ns)


def _find_settled(pump: Pump) -> int | None:
    """Everything that this pump received before the moment returned is stored and answered, or
    refused; None when it is not known whether the answers have left."""
    ownership, engine = pump.ownership, pump.engine
    if ownership is None or ownership.is_silent or ownership.is_holding:
        return None
    is_idle = (
        pump.is_all_queued()
        and engine.batches.in_flight is None
        and not engine.publishing.queued_messages
        and not engine.changes.urgent
    )
    if is_idle:
        pump.settling.rest(pump.clock())
    return pump.settling.settled_ns
