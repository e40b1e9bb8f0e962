"""The table of flat costs: our throughput beside things that should not matter to it.

Each row sets a scene on a fresh server (history, other channels, other subscribers, a slow
neighbor) and runs the same load as the row without. Ours only, by its first engine.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import stan
from bench.cost import LEGEND
from bench.loads import (
    CHANNEL,
    ONE_TO_ONE_NEW,
    Measurement,
    fill,
    measure,
    median_measurement,
)
from bench.peers import UNLIMITED, Running
from bench.report import Job, Rows, Table
from bench.rounds import find_count, take_turns, tell_ratio
from bench.setting import MOST_MESSAGES, Setting

_CLUSTER = "test-cluster"
_STORED, _CHANNELS, _SUBSCRIBERS = 1_000_000, 10_000, 1_000
_PAYLOAD = b"x" * 128
_ACK_EVERY_S = 1.0


@dataclass(frozen=True)
class Scene:
    """What stands beside the load. `present` is how many messages the channel holds then."""

    name: str
    set_up: Callable[[Running], AbstractAsyncContextManager[None]]
    present: int = 0


def scenes(setting: Setting) -> tuple[Scene, ...]:
    """The base first."""
    stored, channels, subscribers = (
        setting.scaled(number) for number in (_STORED, _CHANNELS, _SUBSCRIBERS)
    )

    @asynccontextmanager
    async def history(running: Running) -> AsyncIterator[None]:
        await asyncio.to_thread(fill, stored, running, setting.generator)
        yield

    return (
        Scene("nothing", _nothing),
        Scene(f"{stored:,} messages stored in the channel", history, stored),
        Scene(f"{channels:,} other channels", lambda running: _channels(running, channels)),
        Scene(
            f"{subscribers:,} subscribers on other channels",
            lambda running: _subscribers(running, subscribers),
        ),
        Scene("a slow subscriber on the channel", _slow_subscriber),
    )


def tabulate_flat_costs(setting: Setting) -> Table:
    """The table, not measured yet."""
    legend = (
        f"Our server ({setting.ours[0].name}), one publisher and one subscriber to new messages, "
        f"about {setting.seconds:g} s of 128-byte messages by {setting.generator_name}. The slow "
        "subscriber may have 1,024 messages in flight and acks one a second. Ratios are to "
        "the run of the same round with nothing beside. " + LEGEND
    )
    columns = ["store", "beside", "msg/s", "CPU us", "ratio of msg/s", "ratio of CPU", "messages"]
    return Table("flat", legend, columns, _jobs(setting))


def _jobs(setting: Setting) -> list[Job]:
    jobs = []
    for store in setting.stores:
        base, *others = scenes(setting)
        wanted = [scene for scene in others if setting.wants("flat", store, scene.name)]
        if wanted and store in ("memory", "file"):
            jobs.append(Job(store, functools.partial(_measure, setting, store, base, wanted)))
    return jobs


def _measure(setting: Setting, store: str, base: Scene, wanted: list[Scene]) -> Rows:
    """All scenes of a store take turns, so that each round has a base to compare with."""
    count = find_count(
        functools.partial(_rate, setting, store, base),
        ONE_TO_ONE_NEW.first,
        setting.seconds,
        MOST_MESSAGES,
    )
    run = functools.partial(_run_once, setting, store, count)
    taken = take_turns([base, *wanted], setting.repeat, run)
    return [
        _row(store, scene, measurements, taken[base], count)
        for scene, measurements in taken.items()
    ]


def _row(
    store: str, scene: Scene, taken: list[Measurement], base: list[Measurement], count: int
) -> list[str]:
    median = median_measurement(taken)
    rate = tell_ratio([each.rate for each in taken], [each.rate for each in base])
    cost = tell_ratio([each.cost.total_us for each in taken], [each.cost.total_us for each in base])
    speed = f"{median.published_per_s:,.0f} in, {median.received_per_s:,.0f} out"
    return [
        *(store, scene.name, speed, str(median.cost), rate, cost),
        f"{count:,}",
    ]


def _rate(setting: Setting, store: str, scene: Scene, messages: int) -> float:
    return _run_once(setting, store, messages, scene).rate


def _run_once(setting: Setting, store: str, messages: int, scene: Scene) -> Measurement:
    with Running(setting.ours[0], store, {}, UNLIMITED) as running:
        return asyncio.run(_measure_in(scene, running, setting, messages))


async def _measure_in(
    scene: Scene, running: Running, setting: Setting, messages: int
) -> Measurement:
    async with scene.set_up(running):
        # In a thread: the scene's connections have heartbeats to answer meanwhile.
        return await asyncio.to_thread(
            measure, ONE_TO_ONE_NEW, messages, running, setting.generator, scene.present
        )


@asynccontextmanager
async def _nothing(_: Running) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _channels(running: Running, number: int) -> AsyncIterator[None]:
    async with await stan.connect(_CLUSTER, "flat-channels", servers=running.url) as connection:
        receipts = [
            await connection.publish_async(f"other.{index}", _PAYLOAD) for index in range(number)
        ]
        for receipt in receipts:
            await receipt
        yield


@asynccontextmanager
async def _subscribers(running: Running, number: int) -> AsyncIterator[None]:
    async with await stan.connect(_CLUSTER, "flat-subscribers", servers=running.url) as connection:
        for index in range(number):
            await connection.subscribe(f"other.{index}", _ignore)
        yield


def _ignore(_: stan.Message) -> None:
    return


@asynccontextmanager
async def _slow_subscriber(running: Running) -> AsyncIterator[None]:
    waiting: asyncio.Queue[stan.Message] = asyncio.Queue()

    async def ack_slowly() -> None:
        while True:
            (await waiting.get()).ack()
            await asyncio.sleep(_ACK_EVERY_S)

    async with await stan.connect(_CLUSTER, "flat-slow", servers=running.url) as connection:
        await connection.subscribe(
            CHANNEL, waiting.put_nowait, manual_acks=True, max_in_flight=1024, ack_wait=600
        )
        acking = asyncio.create_task(ack_slowly())
        try:
            yield
            if waiting.empty():
                raise RuntimeError("the slow subscriber was not served")
        finally:
            acking.cancel()
            with suppress(asyncio.CancelledError):
                await acking
