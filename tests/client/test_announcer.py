"""What the user is told of the connection: events in order, callbacks one at a time."""

import asyncio

import pytest

from stan.client.announcer import Announcer
from stan.client.events import Event, Gap, Interrupted


async def test_one_who_waits_for_an_event_gets_it_and_then_the_end() -> None:
    announcer = Announcer()
    seen: list[Event] = []
    waiting = asyncio.Event()

    async def read() -> None:
        waiting.set()
        async for event in announcer.events():
            seen.append(event)

    reader = asyncio.create_task(read())
    await waiting.wait()
    announcer.put(Interrupted("away"))
    announcer.end()
    await reader
    assert seen == [Interrupted("away")]


async def test_after_the_end_there_is_nothing_to_wait_for() -> None:
    announcer = Announcer()
    announcer.end()
    with pytest.raises(StopAsyncIteration):
        await anext(announcer.events())


async def test_callbacks_run_one_after_the_other() -> None:
    announcer = Announcer()
    log: list[str] = []
    gate, done = asyncio.Event(), asyncio.Event()

    async def slow(name: str) -> None:
        log.append(f"{name} begins")
        await gate.wait()
        log.append(f"{name} ends")

    announcer.call(slow, "first")
    announcer.call(slow, "second")
    announcer.call(done.set)
    gate.set()
    await done.wait()
    assert log == ["first begins", "first ends", "second begins", "second ends"]


def test_a_gap_says_what_is_missing() -> None:
    assert str(Gap("foo", 4, 5)) == "messages 4 to 5 of channel foo are gone"
    anew = Gap("foo", 4, 0, begun_anew=True)
    assert str(anew) == "channel foo was begun anew; it was read up to 3"
