"""Looking into the outbox table as soon as it was written to, where the store can tell.

Only a hint: the engine looks from time to time anyway (stan.engine.relaying).
"""

from collections.abc import Callable

from stan.engine.engine import Engine
from stan.store.contract import Store


async def watch_outbox(
    store: Store, engine: Engine, clock: Callable[[], int], ring: Callable[[], None]
) -> None:
    """Wake the engine with each hint of the store's; `ring` lets it take its turn."""
    while True:
        await store.outbox_written()
        engine.wake_outbox(clock())
        ring()
