"""Whether this server may still speak for its cluster.

A store with a lease may be taken over while this process does not run: stopped, suspended,
or starved. So after a sleep nothing leaves until the store has said whose it is, and nothing
ever leaves a server that was deposed. Nothing here knows the engine or NATS: what is to be
asked and told is handed in. Invariant: bytes are held, never lost, while it is not known.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from stan.errors import LeaseLostError, StoreError

log = logging.getLogger("stan.server")

# A process that did not run for this long may have lost its lease meanwhile. It is less than
# what is left of a lease that is renewed in time, and more than a busy loop ever takes.
SLEEP_S = 2.0
# How often a process that has nothing to do looks whether it slept.
BEAT_S = 0.5
# How long to wait before a question that the store did not answer is asked again.
RETRY_S = 0.25


def read_uptime_s() -> float:
    """Seconds that also pass while the machine is suspended, where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Ownership:
    """The right to speak, as far as it is known.

    `ask` asks the store and raises LeaseLostError when it belongs to another server;
    `failed` is told when the store did not answer; `resumed` is called when the server may
    speak again.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[int]],
        failed: Callable[[StoreError], None],
        resumed: Callable[[], None],
        uptime_s: Callable[[], float] = read_uptime_s,
        sleep_s: float = SLEEP_S,
    ) -> None:
        self._ask = ask
        self._failed = failed
        self._resumed = resumed
        self._uptime_s = uptime_s
        self._sleep_s = sleep_s
        self._awake_s = uptime_s()
        self._doubted = asyncio.Event()
        self._deposed = False
        self._held = b""  # what a sleep kept from being sent

    @property
    def is_silent(self) -> bool:
        """Whether another server may speak for the cluster: certainly, or until it is known.

        What it accepted this one must not refuse, and what it delivered not deliver again.
        """
        return self._deposed or self._doubted.is_set()

    @property
    def is_holding(self) -> bool:
        """Whether there are bytes that wait for the answer of the store."""
        return bool(self._held)

    def release(self, operations: bytes) -> bytes:
        """What may leave at this moment: what was held and these, or nothing."""
        operations = self._held + operations
        # Looked at last of all, so that hardly a moment is left to fall asleep in between.
        self._look()
        if self.is_silent:
            self._held = operations
            return b""
        self._held = b""
        return operations

    def depose(self) -> None:
        """Another server took over, and hears every request as well: it will answer."""
        self._deposed = True

    def doubt(self) -> None:
        """Somebody says that another server took over: be silent until the store tells."""
        self._doubted.set()

    async def watch(self) -> None:
        """Notice a sleep at once, tell it from having nothing to do, and find out what it
        changed. Raises LeaseLostError when the store belongs to another server."""
        while True:
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._doubted.wait()
            except TimeoutError:
                self._look()
            if self._doubted.is_set():
                await self._prove()

    def _look(self) -> None:
        now_s = self._uptime_s()
        slept_s, self._awake_s = now_s - self._awake_s, now_s
        if slept_s > self._sleep_s and not self._doubted.is_set():
            log.warning("The process did not run for %.1fs, asking the store for news", slept_s)
            self._doubted.set()

    async def _prove(self) -> None:
        """Find out whether the store is still ours, and go on if it is."""
        while True:
            try:
                await self._ask()
                break
            except LeaseLostError:
                self.depose()
                raise
            except StoreError as error:
                self._failed(error)
                await asyncio.sleep(RETRY_S)
        self._doubted.clear()
        self._resumed()
