"""The receipt of a published message: its guid now, its fate later.

A receipt is settled exactly once, with None (stored) or with the error. It costs no
future and no task until somebody awaits it. What its callback raises goes to the event
loop's exception handler, never to the code that settles.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator

from stan.errors import ClientError

# Open, or settled, and in both cases perhaps known as a duplicate.
_OPEN, _DUPLICATE, _SETTLED, _SETTLED_DUPLICATE = range(4)

AckCallback = Callable[[str, ClientError | None], Awaitable[None] | None]

# Tasks are only weakly referenced by the loop: those of async callbacks are kept here.
_running: set[asyncio.Task[None]] = set()


class Receipt:
    """One published message on its way. `await receipt` gives the guid once it is stored.

    Awaiting raises PublishError with the server's words, PublishTimeoutError when no ack
    came in time, and ConnectionClosedError when the connection ended before the ack. It may
    be awaited any number of times; cancelling one await harms nothing.
    """

    __slots__ = ("_callback", "_error", "_key", "_state", "_waiters")

    def __init__(self, callback: AckCallback | None = None) -> None:
        self._callback = callback
        self._key = b""
        self._state = _OPEN
        self._error: ClientError | None = None
        self._waiters: list[asyncio.Future[None]] | None = None

    @property
    def guid(self) -> str:
        """The identifier of this publish, which the server's ack repeats."""
        return self._key[2:].decode()

    @property
    def done(self) -> bool:
        """Whether the fate of the message is known."""
        return self._state > _DUPLICATE

    @property
    def duplicate(self) -> bool:
        """Whether the server had stored it before: it was published with a `msg_id` that had
        been used, or the ack of its first sending was lost. Known once it is done."""
        return self._state == _SETTLED_DUPLICATE

    @property
    def error(self) -> ClientError | None:
        """Why the message is not known to be stored; None when it is stored or not done."""
        return self._error

    def issue(self, key: bytes) -> None:
        """Give the receipt its guid: `key` is the success ack, two bytes and the guid."""
        self._key = key

    def mark_duplicate(self) -> None:
        """The ack says that the message was stored before."""
        self._state = _DUPLICATE

    def settle(self, error: ClientError | None) -> None:
        """Make the fate known: wake those who wait and call the callback. Never raises."""
        self._state += _SETTLED
        self._error = error
        if self._waiters is not None:
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters = None
        if self._callback is not None:
            self._call(self._callback)
            self._callback = None

    def _call(self, callback: AckCallback) -> None:
        try:
            result = callback(self.guid, self._error)
        except (Exception, asyncio.CancelledError) as error:
            _report(error)
            return
        if inspect.iscoroutine(result):
            task: asyncio.Task[None] = asyncio.get_running_loop().create_task(result)
            _running.add(task)
            task.add_done_callback(_finished)

    def __repr__(self) -> str:
        if self._state < _SETTLED:
            fate = "waiting"
        elif self._error is not None:
            fate = f"failed: {self._error}"
        else:
            fate = "stored before" if self.duplicate else "stored"
        return f"<Receipt {self.guid} {fate}>"

    def __await__(self) -> Generator[object, None, str]:
        if self._state < _SETTLED:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            yield from waiter
        if self._error is not None:
            raise self._error
        return self.guid


def _finished(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled():
        error = task.exception()
        if error is not None:
            _report(error)


def _report(error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler(
        {"message": "stan: a publish callback failed", "exception": error}
    )
