"""The two ways to NATS, without NATS."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stan.client import transport
from stan.client.transport import LentTransport, dial
from stan.wire.frames import Frame, pub
from tests.client.lent import LentNats


class Ear:
    """Hears what NATS does."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def frames(self, frames: list[Frame]) -> None:
        self.heard.append(f"{len(frames)} frames")

    def nats_down(self) -> None:
        self.heard.append("down")

    def nats_up(self) -> None:
        self.heard.append("up")

    def nats_closed(self, *, is_final: bool) -> None:
        self.heard.append("closed for good" if is_final else "closed")


class PlayedLink:
    """A link that connects to nothing, and whose callbacks the test calls."""

    last: "PlayedLink"

    def __init__(self, on_frames: Callable[[list[Frame]], None]) -> None:
        self.options: dict[str, Any] = {}
        self.is_closed = False
        self.was_closed = True
        self.report: Any = None
        PlayedLink.last = self

    async def open(self, urls: list[str], report: Any, **options: Any) -> None:
        self.report = report
        self.options = options


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setattr(transport, "Link", PlayedLink)
    return []


async def dialled(ear: Ear, reported: list[dict[str, Any]], **options: Any) -> PlayedLink:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    await dial(["nats://nowhere:1"], "me", ear, options)
    return PlayedLink.last


async def happen(link: PlayedLink) -> None:
    """All that can become of it."""
    await link.options["disconnected_cb"]()
    await link.report(OSError("no route"))
    await link.options["reconnected_cb"]()
    await link.options["closed_cb"]()


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_callbacks_of_the_user_are_called_as_well(
    reported: list[dict[str, Any]], is_async: bool
) -> None:
    called: list[str] = []

    def note(name: str) -> Callable[..., Any]:
        async def later(*arguments: object) -> None:
            called.append(" ".join([name, *map(str, arguments)]))

        def at_once(*arguments: object) -> None:
            called.append(" ".join([name, *map(str, arguments)]))

        return later if is_async else at_once

    ear = Ear()
    names = ("error_cb", "disconnected_cb", "reconnected_cb", "closed_cb")
    await happen(await dialled(ear, reported, **{name: note(name) for name in names}))
    assert called == ["disconnected_cb", "error_cb no route", "reconnected_cb", "closed_cb"]
    assert ear.heard == ["down", "up", "closed for good"]
    assert reported == []


async def test_no_callbacks_are_needed(reported: list[dict[str, Any]]) -> None:
    ear = Ear()
    await happen(await dialled(ear, reported))
    assert ear.heard == ["down", "up", "closed for good"]
    assert reported == []


async def test_what_a_callback_of_the_user_raises_harms_nobody(
    reported: list[dict[str, Any]],
) -> None:
    def fail() -> None:
        raise ValueError("mine")

    ear = Ear()
    await happen(await dialled(ear, reported, reconnected_cb=fail))
    assert ear.heard == ["down", "up", "closed for good"]
    assert [str(context["exception"]) for context in reported] == ["mine"]


async def test_a_connection_that_is_closed_is_not_only_down(
    reported: list[dict[str, Any]],
) -> None:
    ear = Ear()
    link = await dialled(ear, reported)
    link.is_closed, link.was_closed = True, False
    await link.options["disconnected_cb"]()
    await link.options["closed_cb"]()
    assert ear.heard == ["closed"]


async def test_waiting_for_what_leaves_a_lent_connection() -> None:
    nats = LentNats()
    lent = LentTransport(nats, Ear())
    await lent.drained()  # there is nothing
    nats.gate.clear()
    operation = pub("foo", b"x")
    assert lent.write([operation])
    assert lent.unsent_bytes == len(operation)
    waiters = [asyncio.create_task(lent.drained()), asyncio.create_task(lent.close())]
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    nats.gate.set()
    await asyncio.gather(*waiters)
    assert [one.subject for one in nats.sent] == ["foo"]
    assert lent.unsent_bytes == 0


async def test_who_stops_waiting_does_not_stop_the_sending() -> None:
    nats = LentNats()
    lent = LentTransport(nats, Ear())
    nats.gate.clear()
    lent.write([pub("foo", b"x")])
    waiter = asyncio.create_task(lent.drained())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    nats.gate.set()
    await lent.drained()
    assert [one.payload for one in nats.sent] == [b"x"]
