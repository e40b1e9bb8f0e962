"""The way to NATS that is kept open: what is told when, with transports that the test plays."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from stan.client import uplink
from stan.client.options import ConnectOptions
from stan.client.transport import OwnedTransport
from stan.client.uplink import Uplink
from stan.errors import ClientError, ConnectError, InvalidConnectionError
from stan.wire.frames import Frame


class Traveller:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_up = asyncio.Event()

    def frames(self, frames: list[Frame]) -> None:
        self.told.append("frames")

    def down(self, reason: str) -> None:
        self.told.append(f"down: {reason}")

    def up(self) -> None:
        self.told.append("up")
        self.is_up.set()

    def gone(self, reason: ClientError) -> None:
        self.told.append(f"gone: {reason}")


class PlayedTransport:
    """A way that leads nowhere."""

    def __init__(self, *, tells: bool = True, trouble: BaseException | None = None) -> None:
        self.nats = SimpleNamespace(is_connected=True, is_closed=False, stats={"reconnects": 0})
        self.tells = tells
        self.is_closed = False
        self.listens: list[str] = []
        self._trouble = trouble

    async def listen(self, subject: str) -> object:
        if self._trouble is not None:
            raise self._trouble
        self.listens.append(subject)
        return subject

    async def forget(self, token: object) -> None:
        self.listens.remove(str(token))

    async def close(self) -> None:
        self.is_closed = True


class Ways:
    """Gives out transports one after the other; when there are none, dialling hangs."""

    def __init__(self, *ways: Any) -> None:
        self.ways = list(ways)
        self.hangs = asyncio.Event()

    async def dial(self, *_: object) -> OwnedTransport:
        if not self.ways:
            self.hangs.set()
            await asyncio.Event().wait()
        way = self.ways.pop(0)
        if isinstance(way, Exception):
            raise way
        return way  # type: ignore[no-any-return]


async def opened(monkeypatch: pytest.MonkeyPatch, ways: Ways) -> tuple[Uplink, Traveller]:
    monkeypatch.setattr(uplink, "dial", ways.dial)
    traveller = Traveller()
    way = Uplink(ConnectOptions("c", "me"), traveller)
    await way.open([], None, {})
    return way, traveller


async def test_another_way_is_made_and_listened_to_when_nats_closed_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = PlayedTransport(), PlayedTransport()
    way, traveller = await opened(monkeypatch, Ways(first, second))
    await way.listen("inbox.*")
    first.nats.is_closed = True
    way.check()
    assert not way.is_gone
    await traveller.is_up.wait()
    assert way.transport is second
    assert second.listens == ["inbox.*"]
    assert traveller.told == ["down: nats: connection closed", "up"]
    await way.release()
    assert (second.listens, second.is_closed) == ([], True)


async def test_one_that_goes_before_it_listens_is_closed_and_followed_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleeting = PlayedTransport(trouble=InvalidConnectionError("nats: connection closed"))
    last = PlayedTransport()
    way, traveller = await opened(monkeypatch, Ways(PlayedTransport(), fleeting, last))
    way.nats_closed(is_final=False)
    await traveller.is_up.wait()
    assert fleeting.is_closed
    assert way.transport is last


async def test_one_that_cannot_listen_is_closed_when_that_is_a_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = PlayedTransport(trouble=ValueError("broken"))
    way, traveller = await opened(monkeypatch, Ways(PlayedTransport(), broken))
    way.nats_closed(is_final=False)
    [dialling] = asyncio.all_tasks() - {asyncio.current_task()}
    with pytest.raises(ValueError, match="broken"):
        await dialling
    assert broken.is_closed
    assert "up" not in traveller.told


async def test_while_another_way_is_made_nothing_is_told_twice_and_it_can_be_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = PlayedTransport()
    ways = Ways(first)
    way, traveller = await opened(monkeypatch, ways)
    first.nats.is_closed = True
    way.check()
    await ways.hangs.wait()
    way.check()
    way.nats_closed(is_final=False)
    assert traveller.told == ["down: nats: connection closed"]
    await way.release()
    assert first.is_closed
    way.check()
    assert traveller.told == ["down: nats: connection closed"]
    assert len(asyncio.all_tasks()) == 1


async def test_who_was_let_in_once_is_refused_for_a_while_before_that_is_final(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uplink, "wait_ns", lambda gone_ns, random: 0)
    refusal = ConnectError("nats: 'Authorization Violation'")
    first, second = PlayedTransport(), PlayedTransport()
    way, traveller = await opened(monkeypatch, Ways(first, refusal, refusal, second))
    way.nats_closed(is_final=False)
    await traveller.is_up.wait()
    assert way.transport is second
    assert traveller.told == ["down: nats: connection closed", "up"]


async def test_a_lent_way_that_stands_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lent = PlayedTransport(tells=False)
    monkeypatch.setattr(uplink, "lend", lambda client, listener: lent)
    traveller = Traveller()
    way = Uplink(ConnectOptions("c", "me"), traveller)
    await way.open([], object(), {})  # type: ignore[arg-type]
    way.check()
    assert traveller.told == []
    lent.nats.is_connected = False
    way.check()
    assert traveller.told == ["down: nats: disconnected"]
    await way.release()
    assert lent.is_closed


async def test_a_lent_way_that_its_owner_closed_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    lent = PlayedTransport(tells=False)
    lent.nats.is_closed = True
    monkeypatch.setattr(uplink, "lend", lambda client, listener: lent)
    traveller = Traveller()
    way = Uplink(ConnectOptions("c", "me"), traveller)
    await way.open([], object(), {})  # type: ignore[arg-type]
    await way.listen("inbox.*")
    assert traveller.told == ["gone: nats: connection closed"]
    assert way.is_gone
