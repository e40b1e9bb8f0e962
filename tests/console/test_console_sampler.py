"""One sampler for all viewers: what it asks, what it sends, when it stops."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from stan.console import sampler as sampling
from stan.console.sampler import Sampler, TooManyViewers
from stan.console.topics import (
    channel_question,
    durable_question,
    list_question,
    measure_channel,
    measure_durable,
    server_question,
)
from stan.errors import AdminError
from tests.console.pretending import PretendedOperations

FAST_S = 0.01


def read(event: bytes) -> tuple[str, dict[str, Any]]:
    """An event as a browser reads it."""
    name, data = event.decode().rstrip("\n").split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def take(events: AsyncGenerator[bytes, None]) -> tuple[str, dict[str, Any]]:
    """The next event."""
    return read(await asyncio.wait_for(anext(events), 20))


async def test_many_viewers_cost_one_question_and_get_the_same_bytes() -> None:
    operations = PretendedOperations()
    sampler = Sampler(operations.run, FAST_S)
    viewers = [sampler.watch(channel_question("orders.new")) for _ in range(50)]
    for one in viewers:
        assert (await take(one))[0] == "history"
    # Whoever asks in one turn gets the same object.
    sent = await asyncio.gather(*(anext(one) for one in viewers))
    assert len({id(event) for event in sent}) == 1
    asked = len(operations.asked)
    assert asked == len(sampler.history("channel orders.new")) < 50
    for one in viewers:
        await one.aclose()
    await sampler.close()


async def test_nobody_looks_nothing_is_asked() -> None:
    operations = PretendedOperations()
    sampler = Sampler(operations.run, FAST_S)
    assert not sampler.is_sampling
    viewer = sampler.watch(server_question())
    await take(viewer)
    await take(viewer)
    task = sampler._task
    assert task is not None
    await viewer.aclose()
    await asyncio.wait_for(task, 20)
    assert not sampler.is_sampling
    remembered = [round(at_s, 3) for at_s, _ in sampler.history("server")]
    again = sampler.watch(server_question())
    name, history = await take(again)
    assert name == "history"
    assert history["t"] == remembered != []
    await again.aclose()
    await sampler.close()


async def test_a_viewer_that_does_not_read_costs_no_memory() -> None:
    operations = PretendedOperations()
    sampler = Sampler(operations.run, FAST_S)
    slow = sampler.watch(channel_question("orders.new"))
    quick = sampler.watch(channel_question("orders.new"))
    await take(slow)
    await take(quick)
    for _ in range(5):
        await take(quick)
    name, latest = await take(slow)
    assert name == "sample"
    assert latest["t"] >= sampler.history("channel orders.new")[-1][0] - 1
    await slow.aclose()
    await quick.aclose()
    await sampler.close()


async def test_trouble_is_told_and_ends() -> None:
    operations = PretendedOperations()
    sampler = Sampler(operations.run, FAST_S)
    viewer = sampler.watch(channel_question("nowhere"))
    await take(viewer)
    assert await take(viewer) == (
        "trouble",
        {"code": 404, "text": 'channel "nowhere" does not exist'},
    )
    operations._create("nowhere")
    name = ""
    while name != "sample":
        name, _ = await take(viewer)
    await viewer.aclose()
    await sampler.close()


async def test_a_defect_ends_nobody_elses_samples(caplog: pytest.LogCaptureFixture) -> None:
    async def run(endpoint: str, request: Mapping[str, Any], who: str) -> dict[str, Any]:
        return {"no": "channel"}

    sampler = Sampler(run, FAST_S)
    broken = sampler.watch(channel_question("a"))
    await take(broken)
    sampler._run = PretendedOperations().run
    whole = sampler.watch(channel_question("orders.new"))
    await take(whole)
    assert (await take(whole))[0] == "sample"
    await broken.aclose()
    await whole.aclose()
    await sampler.close()


async def test_there_are_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_TOPICS", 2)
    monkeypatch.setattr(sampling, "MOST_VIEWERS", 3)
    sampler = Sampler(PretendedOperations().run, 60)
    first, second = (sampler.watch(channel_question(one)) for one in "ab")
    await take(first)
    await take(second)
    with pytest.raises(TooManyViewers):
        await anext(sampler.watch(channel_question("c")))
    await first.aclose()
    third = sampler.watch(channel_question("c"))
    await take(third)
    fourth = sampler.watch(channel_question("c"))
    await take(fourth)
    with pytest.raises(TooManyViewers):
        await anext(sampler.watch(channel_question("c")))
    for one in (second, third, fourth):
        await one.aclose()
    await sampler.close()


async def test_closing_ends_everybodys_stream() -> None:
    sampler = Sampler(PretendedOperations().run, 60)
    viewer = sampler.watch(server_question())
    await take(viewer)
    await take(viewer)
    ending = asyncio.ensure_future(anext(viewer, b"end"))
    await asyncio.sleep(0)
    await sampler.close()
    assert await asyncio.wait_for(ending, 20) == b"end"
    with pytest.raises(TooManyViewers):
        await anext(sampler.watch(server_question()))


async def test_an_operation_under_way_is_not_cut_off_by_closing() -> None:
    began, may_end, ended = asyncio.Event(), asyncio.Event(), []

    async def run(endpoint: str, request: Mapping[str, Any], who: str) -> dict[str, Any]:
        began.set()
        await may_end.wait()
        ended.append(endpoint)
        raise AdminError(503, "closing")

    sampler = Sampler(run, FAST_S)
    viewer = sampler.watch(channel_question("a"))
    await take(viewer)
    await began.wait()
    await viewer.aclose()
    closing = asyncio.ensure_future(sampler.close())
    await asyncio.sleep(0)
    may_end.set()
    await closing
    assert ended == ["channel.info"]


async def test_the_server_and_its_stalled_are_one_answer() -> None:
    operations = PretendedOperations()
    sampler = Sampler(operations.run, FAST_S)
    viewer = sampler.watch(server_question())
    await take(viewer)
    _, sample = await take(viewer)
    assert "alarm.stalled" in sample["version"]
    assert "orders.new billing invoices" in sample["version"]
    await viewer.aclose()
    await sampler.close()


@pytest.mark.parametrize("endpoint", ["channel.list", "durable.list", "client.list"])
async def test_a_row_that_comes_changes_the_version(endpoint: str) -> None:
    operations = PretendedOperations()
    question = list_question(endpoint, {"limit": 50})
    answer = await operations.run(endpoint, {"limit": 50}, "")
    whole = question.measure(answer, None, 0.0)
    key = {"channel.list": "channels", "durable.list": "durables", "client.list": "clients"}
    answer[key[endpoint]].pop()
    assert question.measure(answer, None, 0.0).version != whole.version
    assert whole.values


async def test_rates_are_growth_by_time_and_never_below_zero() -> None:
    answer = await PretendedOperations().run("channel.info", {"channel": "orders.new"}, "")
    later = {**answer, "last_sequence": answer["last_sequence"] + 30}
    assert measure_channel(later, answer, 2.0).series["rate"] == 15.0
    assert measure_channel(answer, later, 2.0).series["rate"] == 0.0
    assert "rate" not in measure_channel(answer, None, 0.0).series


async def test_done_messages_are_those_sent_and_acknowledged() -> None:
    identity = {"channel": "orders.new", "client_id": "billing", "durable": "invoices"}
    answer = await PretendedOperations().run("durable.info", identity, "")
    later = {**answer, "last_sent": answer["last_sent"] + 10, "pending": answer["pending"] - 2}
    assert measure_durable(later, answer, 2.0).series["done_rate"] == 6.0
    assert durable_question(identity).key == "durable orders.new billing invoices"
