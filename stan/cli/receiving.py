"""Receiving for the commands that print messages: from subscribing to having left.

It ends with an interrupt, after so many messages, when nothing more came, when the connection
is lost for good, or when nobody reads the output any more. What is said on the way is the
command's, by its Listener. With a count exactly the messages that were shown are acknowledged.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import stan
from stan.cli.text import complain

# Without following: as long as this nothing came.
QUIET_S = 1.0

Dial = Callable[[stan.ConnectionLostCallback], Awaitable[stan.Connection | None]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be received."""

    channel: str
    queue: str = ""
    durable: str = ""
    start: dict[str, Any] = field(default_factory=dict)
    count: int = 0
    """How many messages; 0 for no end."""
    follows: bool = True
    """Whether to go on when nothing more comes."""
    unsubscribes: bool = False
    """Whether a durable ends, too."""
    interrupt_code: int = 0
    """The exit code after an interrupt."""


class Listener(Protocol):
    """What a command says."""

    def connected(self) -> None: ...
    def listening(self) -> None: ...
    def show(self, number: int, message: stan.Message) -> None: ...
    def interrupted(self) -> None: ...


class Receiving:
    """One subscription and how it ends."""

    def __init__(self, wanted: Wanted, listener: Listener) -> None:
        self._wanted = wanted
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._exit_code: asyncio.Future[int] = self._loop.create_future()
        self._announced = False
        self._count = 0
        self._quiet: asyncio.TimerHandle | None = None

    async def run(self, dial: Dial) -> int:
        """Connect, subscribe, receive, leave. Returns the exit code."""
        self._loop.set_exception_handler(self._failed)
        connection = await dial(self._lost)
        if connection is None:
            return 1
        self._listener.connected()
        # Before subscribing: the first message may be printed, and answered with Ctrl-C, before
        # the subscribe call returns.
        self._loop.add_signal_handler(signal.SIGINT, self._interrupt, self._wanted.interrupt_code)
        self._loop.add_signal_handler(signal.SIGTERM, self._interrupt, 143)
        try:
            subscription = await self._subscribe(connection)
        except stan.StanError as error:
            complain(str(error))
            await _close(connection)
            return 1
        self._wait_for_more()
        code = await self._exit_code
        if self._quiet is not None:
            self._quiet.cancel()
        if self._wanted.unsubscribes or not self._wanted.durable:
            await _unsubscribe(subscription)
        await _close(connection)
        return code

    async def _subscribe(self, connection: stan.Connection) -> stan.Subscription:
        wanted = self._wanted
        options: dict[str, Any] = dict(wanted.start)
        if wanted.count:
            options |= {"manual_acks": True, "max_in_flight": min(wanted.count, 1024)}
        subscription = await connection.subscribe(
            wanted.channel, self._receive, queue=wanted.queue, durable=wanted.durable, **options
        )
        self._announce()
        return subscription

    def _announce(self) -> None:
        """Once, and before the first message, which may be faster than the answer."""
        if not self._announced:
            self._announced = True
            self._listener.listening()

    def _receive(self, message: stan.Message) -> None:
        if self._exit_code.done() and self._wanted.count:
            return  # not shown, so not acknowledged
        self._announce()
        self._count += 1
        self._listener.show(self._count, message)
        if self._wanted.count:
            message.ack()
            if self._count == self._wanted.count:
                self._stop(0)
        self._wait_for_more()

    def _wait_for_more(self) -> None:
        if self._wanted.follows:
            return
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = self._loop.call_later(QUIET_S, self._stop, 0)

    def _stop(self, code: int) -> None:
        if not self._exit_code.done():
            self._exit_code.set_result(code)

    def _interrupt(self, code: int) -> None:
        self._listener.interrupted()
        self._stop(code)

    def _lost(self, _: stan.Connection, error: stan.ClientError) -> None:
        complain(f"Connection lost, reason: {error}")
        self._stop(1)

    def _failed(self, _: object, context: dict[str, Any]) -> None:
        """A line could not be printed: its message is not acknowledged, and we leave."""
        if not isinstance(context.get("exception"), BrokenPipeError):
            complain(f"Error: {context.get('exception') or context['message']}")
        self._stop(1)


async def _unsubscribe(subscription: stan.Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except stan.ConnectionClosedError:
        return  # lost before: that was said already
    except stan.StanError as error:
        complain(f"Error during unsubscribe: {error}")


async def _close(connection: stan.Connection) -> None:
    try:
        await connection.close()
    except stan.StanError as error:
        complain(f"Error during close: {error}")
