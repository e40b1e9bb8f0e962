"""THE loop: the only place where the engine, the store and NATS meet.

A turn takes what arrived, asks the engine what is to be stored, read and sent, and sends
it in one write. With a store that needs no waiting the read callback itself runs the whole
turn; else one task commits, one batch at a time, while frames keep arriving. The pump
decides nothing. Invariant: a server that may have been replaced says nothing more.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from stan.engine.engine import Engine
from stan.engine.limits import StoreLimits
from stan.engine.records import Batch, History, Load, RangeLoad, Result
from stan.engine.replaying import Held
from stan.errors import (
    LeaseLostError,
    StoreError,
    StoreOutcomeUnknownError,
    StoreRefusedError,
    StoreUnavailableError,
)
from stan.server.administering import Administering
from stan.server.clock import SteadyClock
from stan.server.histogram import LATENCY_S, SIZES, Histogram
from stan.server.intake import Intake
from stan.server.log import NOTICE_LEVELS, TRACE, on_one_line
from stan.server.ownership import SLEEP_S, Ownership, read_uptime_s
from stan.server.settling import Settling
from stan.server.spill import Spill
from stan.server.tracing import trace_frames, trace_operations
from stan.server.transport import Transport
from stan.server.waking import watch_outbox
from stan.store.contract import InstantStore, Store
from stan.wire.frames import Frame

log = logging.getLogger("stan.server")

# How long to wait before a failed read, or a question about an unknown commit, is repeated.
RETRY_S = 0.25
# The same for a read that was refused: somebody must act before it can succeed.
REFUSED_RETRY_S = 5.0
STOP_TIMEOUT_S = 10.0
INTAKE_BYTES = 32 * 1024 * 1024


class Pump:
    """Runs one engine. `failed()` tells when it cannot go on."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        transport: Transport,
        clock: Callable[[], int] | None = None,
        uptime_s: Callable[[], float] = read_uptime_s,
        intake_bytes: int = INTAKE_BYTES,
        spill: Spill | None = None,
        sleep_s: float = SLEEP_S,
    ) -> None:
        self.engine = engine
        self.intake = Intake(
            engine.publishing,
            spill or Spill(),
            engine.subjects.publish_prefix,
            engine.subjects.close,
            intake_bytes,
            engine.publishing.refuse_overloaded,
        )
        # For the monitoring: how long commits take, how many messages each stores, and how
        # many pieces of output were dropped because there was no NATS connection.
        self.commit_s = Histogram(LATENCY_S)
        self.batch_messages = Histogram(SIZES)
        self.dropped_sends = 0
        self._store = store
        self._instant = store.instant
        # A store that nobody else can reach is nobody else's.
        self.ownership: Ownership | None = None
        if self._instant is None:
            self.ownership = Ownership(
                store.outcome, self._say_failure, self._turn, uptime_s, sleep_s
            )
        self._transport = transport
        self.clock = clock or SteadyClock()
        self.settling = Settling(self.clock())
        self.administering = Administering(engine, self.clock, self._ring)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusals: dict[int, str] = {}  # by channel, what was said last
        self._failure: asyncio.Future[None] = self._loop.create_future()
        self._draining: asyncio.Task[None] | None = None
        self._stopping = False
        self._unavailable = False

    # Life.

    def start(self, held: Held | None = None) -> None:
        """Begin: deliver what was recovered, take what was held while nobody led, and run."""
        if self.ownership is not None:
            self._spawn(self._commit_loop())
            self._spawn(self.ownership.watch())
            self._spawn(self._watch_lease(self.ownership))
        if self.engine.settings.outbox:
            self._spawn(watch_outbox(self._store, self.engine, self.clock, self._ring))
        self._transport.on_made = self._take_max_payload
        self._take_max_payload()  # a connection may have been made since the engine was
        self._transport.on_up = self._ring
        self.engine.start(self.clock())
        if held is not None:
            self.engine.replay(held, self.clock())
        self._turn()

    async def stop(self) -> None:
        """Stop intake, commit what is queued, answer, flush. After a failure nothing more is
        asked of the engine. The transport stays open, for whoever comes next."""
        self._stop_intake()
        if not self._failure.done():
            await self._finish()
        await self._end_tasks()
        await self._transport.flush(2.0)
        if dropped := self.intake.close():
            log.warning("%d publishes still waited: they are not stored, nor acknowledged", dropped)
        self._forget_failure()

    async def abandon(self) -> None:
        """Another server has taken over: say and commit nothing more."""
        if self.ownership is not None:
            self.ownership.depose()
        self._stop_intake()
        await self._end_tasks()
        self.intake.close()
        self._forget_failure()

    def _stop_intake(self) -> None:
        self._stopping = True
        self._transport.stop_listening()
        self._transport.on_made = self._transport.on_up = lambda: None
        self._disarm()

    async def _end_tasks(self) -> None:
        self.administering.give_up()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget_failure(self) -> None:
        if not self._failure.cancel() and not self._failure.cancelled():
            self._failure.exception()  # whoever wanted to know has asked by now

    async def _finish(self) -> None:
        """Commit and say what is queued."""
        if self._instant is None:
            self._work.set()
            idle = self._spawn(self._idle.wait())
            await asyncio.wait(
                (idle, self._failure),
                timeout=STOP_TIMEOUT_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            return
        try:
            self._turn()
        except Exception as error:
            self._fail(error)

    async def failed(self) -> None:
        """Wait for the reason why the server must end; raises it."""
        await asyncio.shield(self._failure)

    def is_all_queued(self) -> bool:
        """Whether every publish received, and not settled, is in the queue or in a batch."""
        return self.intake.is_empty and not self.engine.publishing.guids.holds

    def receive(self, frames: list[Frame]) -> None:
        """What the transport calls with each chunk. Never raises: a defect ends the server,
        whose state is in the store, rather than nats-py's read loop."""
        try:
            if log.isEnabledFor(TRACE):
                for line in trace_frames(frames, self.engine.subjects):
                    log.log(TRACE, "%s", line)
            self.engine.receive(self.intake.admit(frames), self.clock())
            self._turn()
        except Exception as error:
            self._fail(error)

    def change_limits(self, limits: StoreLimits) -> None:
        """Live within other limits from now on. Never raises, as `receive`."""
        try:
            self.engine.change_limits(limits, self.clock())
            if self._transport.is_connected and not self._stopping and not self._congested():
                self._turn()
        except Exception as error:
            self._fail(error)

    def _take_max_payload(self) -> None:
        """NATS says with each connection what it carries; nothing larger may be written to it.
        Never raises, as `receive`."""
        try:
            self.engine.change_max_payload(self._transport.max_payload_bytes, self.clock())
        except Exception as error:
            self._fail(error)

    # A turn.

    def _turn(self) -> None:
        """Do all that can be done now, without waiting."""
        engine = self.engine
        if self._instant is not None:
            self._commit_now(self._instant)
        elif not self._work.is_set():
            due_ns = engine.next_deadline_ns()
            if due_ns is not None and due_ns <= self.clock():
                self._work.set()
        self._send()
        loads = engine.take_loads()
        while loads and self._instant is not None:
            for load in loads:
                engine.loaded(load, self._instant.load_now(load), self.clock())
            self._send()
            loads = engine.take_loads()
        for load in loads:
            self._spawn(self._load(load))
        self._say()
        if engine.outbox.outcomes:
            self.administering.settle()
        self._arm()

    def _take_back(self) -> None:
        """Let the engine have what was held, as far as it has room."""
        if not self.intake.is_empty and not self._stopping:
            self.engine.receive(self.intake.take_back(), self.clock())

    def _commit_now(self, store: InstantStore) -> None:
        engine = self.engine
        if not self.intake.is_empty and not self._congested():
            self._take_back()
            self._loop.call_soon(self._go_on)
        while not self._congested():
            batch = engine.seal(self.clock(), self._stopping)
            if batch is None:
                return
            began_s = time.perf_counter()
            result = store.commit_now(batch)
            self._count(batch, time.perf_counter() - began_s)
            engine.committed(batch, result, self.clock())

    def _go_on(self) -> None:
        """Another turn, for what is held, after the socket was read."""
        if not (self.intake.is_empty or self._stopping):
            self._turn()

    def _send(self) -> None:
        ownership = self.ownership
        if ownership is None:
            operations = self.engine.take_sends()
            sent = b"".join(operations)
        elif ownership.is_silent:
            return
        else:
            operations = self.engine.take_sends()
            if not operations and not ownership.is_holding:
                return
            sent = ownership.release(b"".join(operations))
        if not sent:
            return
        if log.isEnabledFor(TRACE):
            for line in trace_operations(sent):
                log.log(TRACE, "%s", line)
        # Without a connection they are dropped: what matters is sent again.
        if not self._transport.write(sent):
            self.dropped_sends += len(operations)

    def _say(self) -> None:
        for level, text in self.engine.take_notices():
            log.log(NOTICE_LEVELS[level], "%s", on_one_line(text))

    def _arm(self) -> None:
        """Set the one timer to the engine's next deadline."""
        due_ns = self.engine.next_deadline_ns()
        if due_ns is None or self._stopping:
            return
        if self._timer is not None and self._timer_ns <= due_ns:
            return
        self._disarm()
        self._timer_ns = due_ns
        delay_s = max(0.0, (due_ns - self.clock()) / 1e9)
        self._timer = self._loop.call_later(delay_s, self._ring)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        """Time has passed, or the connection is back."""
        self._disarm()
        if self._stopping or self._congested():
            return
        if self._transport.is_connected:
            try:
                self.engine.tick(self.clock())
                self._turn()
            except Exception as error:
                self._fail(error)
        # Else all waits until the connection is back: what fell due meanwhile would be lost.

    def _congested(self) -> bool:
        """Whether sending must wait for the socket; sealing goes on when it has caught up."""
        if not self._transport.is_congested:
            return False
        if self._draining is None:
            self._draining = self._spawn(self._drain())
        return True

    async def _drain(self) -> None:
        await self._transport.drained()
        self._draining = None
        self._turn()

    # Waiting work.

    async def _commit_loop(self) -> None:
        engine = self.engine
        while True:
            if self._transport.is_congested:
                await self._transport.drained()
            self._work.clear()
            self._take_back()
            lanes = engine.publishing.lanes
            now_ns, last, is_all_queued = self.clock(), lanes.last_number, self.is_all_queued()
            batch = engine.seal(now_ns, self._stopping)
            if batch is None:
                self._send()
                self._arm()
                if self._stopping and not engine.publishing.queued_messages:
                    self._idle.set()
                    return
                if not self._stopping:
                    await self._work.wait()
                else:
                    await asyncio.sleep(RETRY_S)
                continue
            if engine.settings.record_all_guids:  # a member of a group is asked for it
                self.settling.seal(now_ns, last, lanes.first_number(), is_all_queued)
            began_s = time.perf_counter()
            try:
                result = await self._commit(batch)
            except LeaseLostError as error:
                if self.ownership is not None:
                    self.ownership.depose()
                self._fail(error)
                return
            except StoreError as error:
                engine.commit_failed(batch, error, self.clock())
                self.settling.fail()
                self._say_failure(error)
            except Exception as error:
                self._fail(error)
                return
            else:
                self._count(batch, time.perf_counter() - began_s)
                if self._unavailable:
                    self._unavailable = False
                    log.info("The store is back")
                engine.committed(batch, result, self.clock())
                self.settling.commit()
            self._turn()

    async def _watch_lease(self, ownership: Ownership) -> None:
        """Notice that the store is another server's, also while there is nothing to commit."""
        try:
            await self._store.lost()
        except LeaseLostError:
            ownership.depose()
            raise

    async def _commit(self, batch: Batch) -> Result:
        """Commit, and when the outcome is unknown ask until it is known."""
        try:
            return await self._store.commit(batch)
        except StoreOutcomeUnknownError as error:
            log.warning("The outcome of a commit is unknown, asking the store: %s", error)
        while True:
            try:
                number = await self._store.outcome()
            except LeaseLostError:
                raise
            except StoreError as error:
                self._say_failure(error)
                await asyncio.sleep(RETRY_S)
                continue
            if number < batch.number:
                raise StoreUnavailableError("the commit did not happen")
            # It is true. The bounds of channels that lost something come with the next trim.
            trimmed = {trim.channel_id for trim in batch.trims}
            return Result(unfinished=trimmed.union(one for one, _ in batch.messages_deleted))

    async def _load(self, load: Load) -> None:
        try:
            history: History = await self._store.load(load)
        except StoreError as error:
            if isinstance(load, RangeLoad) and isinstance(error, StoreRefusedError):
                self._say_refusal(load, error)
                await asyncio.sleep(REFUSED_RETRY_S)
            else:
                self._say_failure(error)
                await asyncio.sleep(RETRY_S)
            self.engine.load_failed(load, error, self.clock())
        else:
            self.engine.loaded(load, history, self.clock())
        self._turn()

    def _count(self, batch: Batch, took_s: float) -> None:
        self.commit_s.observe(took_s)
        messages = sum([len(run.framed) for run in batch.runs])
        if messages:
            self.batch_messages.observe(messages)

    def _spawn(self, work: "asyncio.Future[None] | object") -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def _say_failure(self, error: StoreError) -> None:
        if not self._unavailable:
            log.error("Store: %s", error)
        self._unavailable = True

    def _say_refusal(self, load: RangeLoad, error: StoreRefusedError) -> None:
        """Once for what is wrong with a channel: a commit that succeeds proves nothing."""
        if self._refusals.get(load.channel_id) != str(error):
            self._refusals[load.channel_id] = str(error)
            log.error("Store: %s", error)
