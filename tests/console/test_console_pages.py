"""Every page answers, in both languages, and for whoever has no script."""

import asyncio
from typing import Any

import pytest

from stan.console import language
from stan.errors import AdminError
from tests.console.conftest import Serve, Served, find_chromium
from tests.console.pretending import PretendedOperations

PAGES = (
    "",
    "channels",
    "channels?filter=orders.*&sort=bytes&reverse=1",
    "channel?channel=orders.new",
    "channel?channel=orders.new&sequence=3&view=hex",
    "channel?channel=orders.new&time=2020-01-01T00:00:00&view=json",
    "durables",
    "durables?stalled=1",
    "durable?channel=orders.new&client_id=billing&durable=invoices",
    "durable?channel=orders.new&queue_group=workers:shipping",
    "durable?channel=orders.paid&client_id=archive&durable=all",
    "clients",
    "client?client_id=client-0",
    "store",
    "settings",
    "settings?set=1",
    "login",
)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_is_there_in_both_languages(served: Served, page: str) -> None:
    for tag, name in (("en", "Overview"), ("zh-Hans", "概览")):
        status, text = await served.get(page, **{"Accept-Language": tag})
        assert status == 200
        assert f'<html lang="{tag}">' in text
        assert name in text


def test_catalogues_have_the_same_keys() -> None:
    first, *others = [set(language.catalogue(one)) for one in language.NAMES]
    assert first
    assert all(other == first for other in others)


def test_catalogues_have_the_same_places() -> None:
    import string

    def places(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english, chinese = language.catalogue("en"), language.catalogue("zh")
    assert {key for key in english if places(english[key]) != places(chinese[key])} == set()


@pytest.mark.parametrize(
    ("accepted", "chosen", "language_code"),
    [
        ("", "", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh"),
        ("en-GB,zh;q=0.5", "", "en"),
        ("fr,zh;q=0.1", "", "zh"),
        ("zh;q=nonsense", "", "en"),
        ("en", "zh", "zh"),
        ("zh", "../../etc", "zh"),
    ],
)
def test_the_language_is_chosen(accepted: str, chosen: str, language_code: str) -> None:
    assert language.choose(accepted, chosen) == language_code


async def test_the_switch_is_remembered(served: Served) -> None:
    await served.get("channels?lang=zh")
    assert '<html lang="zh-Hans">' in (await served.get())[1]


async def test_a_browser_is_sent_to_the_console_and_nobody_else(served: Served) -> None:
    async with served.web.get(served.origin, headers={"Accept": "text/html,*/*"}) as answer:
        assert (answer.status, answer.url.path) == (200, "/console/")
    async with served.web.get(served.origin, headers={"Accept": "*/*"}) as answer:
        assert answer.url.path == "/"
        assert 'href="./streaming/serverz"' in await answer.text()


async def test_ten_thousand_channels_come_in_pages(serve: Serve) -> None:
    served = await serve(PretendedOperations(channels=10_000))
    _, text = await served.get("channels")
    assert text.count('<th scope="row">') == 50
    assert "1 to 50 of 10,000" in text
    _, text = await served.get("channels?offset=9950")
    assert "9,951 to 10,000 of 10,000" in text
    assert 'rel="next"' not in text
    _, text = await served.get("channels?filter=load.0999")
    assert "1 to 7 of 7" in text


async def test_what_does_not_exist_says_so(served: Served) -> None:
    assert (await served.get("nonsense"))[0] == 404
    status, text = await served.get("channel?channel=nowhere")
    assert status == 404
    assert "channel &#34;nowhere&#34; does not exist" in text


async def test_a_server_that_cannot_answer_says_why(served: Served) -> None:
    served.operations.failing = AdminError(503, "this server stands by")
    for page in ("", "channels", "store"):
        status, text = await served.get(page)
        assert status == 503
        assert "this server stands by" in text


@pytest.mark.parametrize("path", ["static/../console.py", "static/nothing.js", "static/"])
async def test_only_our_files_are_served(served: Served, path: str) -> None:
    assert (await served.get(path.replace("..", "%2e%2e")))[0] == 404


async def test_static_files_may_be_kept_and_nothing_else(served: Served) -> None:
    async with served.web.get(f"{served.url}static/console.css") as answer:
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.content_type == "text/css"
    async with served.web.get(served.url) as answer:
        assert answer.headers["Cache-Control"] == "no-store"


def test_wrong_parameters_are_read_over() -> None:
    from stan.console.lists import ask_channels

    assert ask_channels({"offset": "-1", "sort": "; drop"})["offset"] == 0
    assert ask_channels({"offset": "x" * 99})["sort"] == "name"


async def test_an_open_stream_does_not_keep_the_port_from_closing(served: Served) -> None:
    async with served.web.get(f"{served.url}live?topic=server") as stream:
        assert await stream.content.readline() == b"retry: 3000\n"
        await asyncio.wait_for(served.monitor.stop(), 20)
        await asyncio.wait_for(stream.content.read(), 20)
        assert stream.content.at_eof()


@pytest.mark.parametrize("topic", ["", "nonsense", "__class__"])
async def test_only_named_topics_are_watched(served: Served, topic: str) -> None:
    assert (await served.get(f"live?topic={topic}"))[0] == 404
    assert served.console.sampler.viewers == 0


@pytest.mark.parametrize("is_required", [True, False])
def test_without_chromium_a_test_is_skipped_or_fails(
    monkeypatch: pytest.MonkeyPatch, is_required: bool
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("STAN_REQUIRE_CHROMIUM", "1" if is_required else "0")
    outcome = pytest.fail.Exception if is_required else pytest.skip.Exception
    with pytest.raises(outcome, match="no chromium"):
        find_chromium()


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        (None, "blue"),
        ([{"server_id": "a", "role": "active"}, {"server_id": "b"}], "a active, b"),
        (["a", "b"], "a, b"),
    ],
)
async def test_a_group_is_shown_as_far_as_it_is_known(
    served: Served, members: list[Any] | None, shown: str
) -> None:
    served.operations.group = {"name": "blue", **({"members": members} if members else {})}
    status, text = await served.get()
    assert status == 200
    assert "active: it serves its group" in text
    assert shown in text


@pytest.mark.parametrize(
    ("operation", "form", "status"),
    [
        ("channel.purge", {"channel": "orders.new", "kind": "all"}, 200),
        ("channel.purge", {"channel": "orders.new", "kind": "keep", "value": ""}, 400),
    ],
)
async def test_what_answers_a_form_leads_back_and_has_no_switch(
    served: Served, operation: str, form: dict[str, str], status: int
) -> None:
    token = await served.token()
    found, text = await served.post("change", token=token, operation=operation, **form)
    assert found == status
    assert 'href="channel?channel=orders.new"' in text
    assert "lang=zh" not in text
