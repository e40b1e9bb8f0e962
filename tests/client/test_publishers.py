"""The queue in front of the window, and receipts."""

import asyncio
from typing import Any

import pytest

from stan.client.publishers import Publishers
from stan.client.receipt import Receipt
from stan.errors import ClientError, ConnectionClosedError, PublishError


class Window:
    """Places that are taken and given back by hand."""

    def __init__(self, taken: int = 0) -> None:
        self.taken = taken
        self.pending_bytes = 0

    @property
    def waiting(self) -> range:
        return range(self.taken)


async def publisher(publishers: Publishers, window: Window, log: list[str], name: str) -> None:
    if publishers.must_wait:
        await publishers.wait()
    window.taken += 1
    log.append(name)


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_come_first_served_and_never_above_the_limit() -> None:
    window, log = Window(), list[str]()
    publishers = Publishers(1, 1000, window)
    tasks = [asyncio.create_task(publisher(publishers, window, log, n)) for n in "abc"]
    await settle()
    assert log == ["a"]
    for expected in (["a", "b"], ["a", "b", "c"]):
        window.taken -= 1
        publishers.wake()
        assert publishers.must_wait  # the place is reserved for the one who was woken
        await settle()
        assert log == expected
        assert window.taken == 1
    await asyncio.gather(*tasks)


async def test_cancelling_a_wait_gives_the_place_on() -> None:
    window, log = Window(), list[str]()
    window.taken = 1
    publishers = Publishers(1, 1000, window)
    first = asyncio.create_task(publisher(publishers, window, log, "first"))
    second = asyncio.create_task(publisher(publishers, window, log, "second"))
    await settle()
    window.taken = 0
    publishers.wake()
    first.cancel()  # woken already, but it did not run yet
    await settle()
    assert first.cancelled()
    assert log == ["second"]
    assert window.taken == 1
    await second


async def test_cancelling_before_being_woken_leaves_the_queue() -> None:
    window, log = Window(), list[str]()
    window.taken = 1
    publishers = Publishers(1, 1000, window)
    task = asyncio.create_task(publisher(publishers, window, log, "a"))
    await settle()
    task.cancel()
    await settle()
    window.taken = 0
    assert not publishers.must_wait
    assert log == []


async def test_the_end_of_the_connection_sends_everybody_away() -> None:
    publishers = Publishers(1, 1000, Window(1))
    tasks = [asyncio.create_task(publishers.wait()) for _ in range(3)]
    await settle()
    publishers.fail(ConnectionClosedError, "stan: connection closed")
    for task in tasks:
        with pytest.raises(ConnectionClosedError):
            await task


async def test_one_that_left_before_it_could_be_woken_takes_no_place() -> None:
    window, log = Window(1), list[str]()
    publishers = Publishers(1, 1000, window)
    left = asyncio.create_task(publisher(publishers, window, log, "left"))
    stays = asyncio.create_task(publisher(publishers, window, log, "stays"))
    await settle()
    left.cancel()  # it did not run since, and stands in the queue
    window.taken = 0
    publishers.wake()
    await stays
    assert left.cancelled()
    assert log == ["stays"]


async def test_one_that_left_before_the_end_is_not_sent_away() -> None:
    publishers = Publishers(1, 1000, Window(1))
    left, stays = (asyncio.create_task(publishers.wait()) for _ in range(2))
    await settle()
    left.cancel()
    publishers.fail(ConnectionClosedError, "stan: connection closed")
    with pytest.raises(ConnectionClosedError):
        await stays
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_one_that_leaves_after_the_end_gives_no_place_back() -> None:
    window = Window(1)
    publishers = Publishers(1, 1000, window)
    task = asyncio.create_task(publishers.wait())
    await settle()
    publishers.fail(ConnectionClosedError, "stan: connection closed")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert publishers.must_wait
    window.taken = 0
    assert not publishers.must_wait


async def test_a_callback_that_is_cancelled_is_no_failure() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    running: list[asyncio.Task[Any]] = []

    async def endless(_: str, __: ClientError | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append(task)
        await asyncio.Event().wait()

    Receipt(endless).settle(None)
    await settle()
    [task] = running
    task.cancel()
    await settle()
    assert task.cancelled()
    assert reported == []


async def test_a_receipt_can_be_awaited_by_many_and_after() -> None:
    receipt = Receipt()
    receipt.issue(b"\n\x04guid")

    async def wait() -> str:
        return await receipt

    tasks = [asyncio.create_task(wait()) for _ in range(2)]
    await settle()
    assert not receipt.done
    receipt.settle(None)
    assert await asyncio.gather(*tasks) == ["guid", "guid"]
    assert await receipt == "guid"
    assert receipt.error is None


async def test_a_refused_receipt_raises_each_time() -> None:
    receipt = Receipt()
    receipt.settle(PublishError("no"))
    for _ in range(2):
        with pytest.raises(PublishError):
            await receipt


async def test_callbacks_plain_and_async_run_once_with_guid_and_error() -> None:
    seen: list[tuple[str, str, ClientError | None]] = []

    async def later(guid: str, error: ClientError | None) -> None:
        seen.append(("async", guid, error))

    def at_once(guid: str, error: ClientError | None) -> None:
        seen.append(("plain", guid, error))

    for callback in (later, at_once):
        receipt = Receipt(callback)
        receipt.issue(b"\n\x01g")
        receipt.settle(None)
    await settle()
    assert sorted(seen) == [("async", "g", None), ("plain", "g", None)]


async def test_what_a_callback_raises_goes_to_the_exception_handler() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def plain(_: str, __: ClientError | None) -> None:
        raise ValueError("plain")

    async def later(_: str, __: ClientError | None) -> None:
        raise ValueError("async")

    Receipt(plain).settle(None)
    Receipt(later).settle(None)
    await settle()
    assert [str(context["exception"]) for context in reported] == ["plain", "async"]


async def test_large_publishes_take_all_the_places() -> None:
    window = Window()
    publishers = Publishers(10, 1000, window)
    window.pending_bytes = 999
    assert not publishers.must_wait
    window.pending_bytes = 1000
    assert publishers.must_wait
    task = asyncio.create_task(publishers.wait())
    await settle()
    window.pending_bytes = 10
    publishers.wake()
    await task


async def test_a_duplicate_is_told() -> None:
    receipt = Receipt()
    receipt.mark_duplicate()
    assert not receipt.done
    assert not receipt.duplicate
    receipt.settle(None)
    assert receipt.done
    assert receipt.duplicate
