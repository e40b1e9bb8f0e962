"""The stages of a message that travels alone, inside our server: how long each takes.

The same frames, engine and memory store as in `bench.hot_paths`, one message a turn. A line for
each stage: its name, a tab, and the microseconds of one message, the median of many.

    python -m bench.stages
"""

import asyncio
import gc
import statistics
from time import perf_counter_ns

from bench.hot_paths import CLUSTER, OURS, TAPPED, UNLIMITED, Driver, HotPath
from stan.engine.engine import Engine
from stan.engine.records import ServerRecord
from stan.engine.settings import Settings
from stan.server.intake import Intake
from stan.server.spill import Spill
from stan.store.memory import MemoryStore
from stan.wire.frames import split

STAGES = ("frame", "receive", "seal", "commit", "settle", "collect")
_PATH = HotPath(4000, turn=1)
_INTAKE_BYTES = 32 * 1024 * 1024


def measure() -> dict[str, float]:
    """Microseconds of each stage."""
    store = MemoryStore()
    engine = Engine(
        Settings(limits=UNLIMITED),
        asyncio.run(store.recover()),
        ServerRecord(CLUSTER, OURS),
        iter("abcdefgh").__next__,
        1_700_000_000_000_000_000,
    )
    driver = Driver(_PATH, store, engine)
    asyncio.run(driver.connect())
    turns = driver.make_turns(0)
    intake = Intake(
        engine.publishing,
        Spill(),
        engine.subjects.publish_prefix,
        engine.subjects.close,
        _INTAKE_BYTES,
        engine.publishing.refuse_overloaded,
    )
    known = driver.known
    took: list[tuple[int, ...]] = []
    now = 1_700_000_100_000_000_000
    gc.collect()
    gc.freeze()
    gc.disable()
    for arrived, _ in turns:
        now += 1_000_000
        started = perf_counter_ns()
        frames = split(arrived, TAPPED, known)[0]
        framed = perf_counter_ns()
        engine.receive(intake.admit(frames), now)
        received = perf_counter_ns()
        batch = engine.seal(now)
        sealed = perf_counter_ns()
        assert batch is not None
        result = store.commit_now(batch)
        committed = perf_counter_ns()
        engine.committed(batch, result, now)
        settled = perf_counter_ns()
        b"".join(engine.take_sends())
        engine.take_loads()
        engine.take_notices()
        engine.next_deadline_ns()
        took.append((started, framed, received, sealed, committed, settled, perf_counter_ns()))
    gc.enable()
    return {
        name: statistics.median(each[n + 1] - each[n] for each in took) / 1000
        for n, name in enumerate(STAGES)
    }


def main() -> None:
    for name, took_us in measure().items():
        print(f"{name}\t{took_us:.2f}")


if __name__ == "__main__":
    main()
