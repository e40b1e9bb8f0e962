"""The clients' loads: each does its work on a real server, and each message counts once."""

import asyncio

import pytest

from bench.client_load import WORK, CheckError, Seen, payload
from bench.jetstream import RunningJetStream
from bench.loads import CHANNEL, last_sequence
from bench.peers import Running


async def test_our_client_publishes_and_receives(ours: Running) -> None:
    ahead = await WORK["publish-stan"](ours.url, 30)
    received = await WORK["receive-stan"](ours.url, 30)
    in_turn = await WORK["publish-stan-in-turn"](ours.url, 3)
    assert await last_sequence(ours.url, CHANNEL) == 33
    assert min(ahead.seconds, received.seconds, in_turn.seconds) > 0


async def test_nats_py_publishes_and_receives(jetstream: RunningJetStream) -> None:
    await WORK["publish-jetstream"](jetstream.url, 30)
    assert await asyncio.to_thread(jetstream.count) == 30
    pushed = await WORK["receive-jetstream"](jetstream.url, 30)
    fetched = await WORK["fetch-jetstream"](jetstream.url, 30)
    assert min(pushed.seconds, fetched.seconds) > 0


async def test_a_message_that_comes_twice_is_an_error() -> None:
    seen = Seen(2)
    seen.add(payload(1))
    seen.add(payload(1))
    with pytest.raises(CheckError, match="message 1 was there twice"):
        await seen.complete()


async def test_all_messages_once_are_complete() -> None:
    seen = Seen(2)
    for number in (1, 0):
        seen.add(payload(number))
    await seen.complete()
    assert len(payload(1)) == 128
