"""Operations on their way through the engine: who waits for which outcome.

The engine tells an outcome when it is true. An operation that meets a channel in the middle of
being stored is tried again for a moment. Nothing here knows NATS or JSON. Invariant: whoever
waits gets an outcome or an AdminError, also when the server ends.
"""

import asyncio
from collections.abc import Callable

from stan.engine.administration import BUSY
from stan.engine.engine import Engine
from stan.engine.records import Operation, OperationRefused
from stan.errors import AdminError

# How often and how long an operation is tried again that a channel has no moment for.
BUSY_PAUSE_S = 0.02
BUSY_TRIES = 100
# How long an outcome is waited for: a store that is away may come back and make it true.
OUTCOME_S = 30.0


class Administering:
    def __init__(self, engine: Engine, clock: Callable[[], int], turn: Callable[[], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._turn = turn
        self._last_ticket = 0
        self._waiting: dict[int, asyncio.Future[dict[str, int]]] = {}

    async def run(self, operation: Operation, is_trial: bool = False) -> dict[str, int]:
        """Do this, or only tell what it would do; the numbers of what was done. Raises AdminError:
        nothing was changed then, but where its code is 503."""
        for _ in range(BUSY_TRIES):
            try:
                return await self._try(operation, is_trial)
            except OperationRefused as error:
                if error.code != BUSY:
                    raise AdminError(error.code, str(error)) from None
                reason = str(error)
            await asyncio.sleep(BUSY_PAUSE_S)
        raise AdminError(409, f"{reason}: try again when that pauses")

    async def _try(self, operation: Operation, is_trial: bool) -> dict[str, int]:
        self._last_ticket += 1
        ticket = self._last_ticket
        self._engine.administer(ticket, operation, self._clock(), is_trial)
        waiting: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = waiting
        self._turn()
        try:
            async with asyncio.timeout(OUTCOME_S):
                return await waiting
        except TimeoutError:
            raise AdminError(503, "the store does not answer; it may still be done") from None
        finally:
            self._waiting.pop(ticket, None)

    def look_at_outbox(self) -> None:
        """Somebody has written to the outbox table."""
        self._engine.wake_outbox(self._clock())
        self._turn()

    def settle(self) -> None:
        """Tell those who wait what has become true."""
        for outcome in self._engine.take_outcomes():
            waiting = self._waiting.get(outcome.ticket)
            if waiting is None or waiting.done():
                continue
            if outcome.error:
                waiting.set_exception(AdminError(503, outcome.error))
            else:
                waiting.set_result(outcome.numbers)

    def give_up(self) -> None:
        """This server does not serve any more."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(AdminError(503, "the server stops; it may still be done"))
