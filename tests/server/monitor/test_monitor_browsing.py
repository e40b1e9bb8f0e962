"""Pages for browsers on the monitoring port: made when one asks, and no one else notices."""

import asyncio
import logging
from collections.abc import Callable
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from aiohttp import web

from stan.server.monitor.monitor import Monitor
from stan.server.monitor.pages import Pages
from tests.server.monitor.conftest import Monitored
from tests.server.monitor.test_monitor_http import ask

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Answering:
    """Pages that answer with the path."""

    def __init__(self) -> None:
        self.is_closed = False

    async def respond(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"page {request.path}")

    async def close(self) -> None:
        self.is_closed = True


def visit(url: str, accept: str = BROWSER) -> tuple[int, str, str]:
    """Status, body and final address."""
    try:
        with urlopen(Request(url, headers={"Accept": accept}), timeout=20) as response:
            return response.status, response.read().decode(), response.url
    except HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.url or ""


async def listen(monitored: Monitored, make: Callable[[], Pages] | None) -> Monitor:
    """Another port of the same server."""
    old = monitored.monitor
    monitor = Monitor(old.identity, old._metrics._pump, monitored.store, lambda: True,
                      make_pages=make)  # fmt: skip
    await monitor.start("127.0.0.1", 0)
    return monitor


async def test_pages_are_made_when_a_browser_asks_and_once(monitored: Monitored) -> None:
    made: list[Answering] = []

    def make() -> Answering:
        made.append(Answering())
        return made[-1]

    monitor = await listen(monitored, make)
    url = f"http://127.0.0.1:{monitor.port}"
    for path in ("", "/streaming", "/streaming/serverz", "/metrics", "/healthz"):
        assert (await asyncio.to_thread(visit, url + path, "*/*"))[0] == 200
    assert made == []
    for path in ("", "/console", "/console/"):
        status, body, end = await asyncio.to_thread(visit, url + path)
        assert (status, body, end) == (200, "page /console/", f"{url}/console/")
    assert len(made) == 1
    # A browser that asks for a document gets the document.
    status, body, _ = await asyncio.to_thread(visit, f"{url}/streaming/serverz")
    assert (status, body[0]) == (200, "{")
    assert (await asyncio.to_thread(ask, f"{url}/streaming", "POST"))[0] == 405
    await monitor.stop()
    assert made[0].is_closed


async def test_what_is_not_installed_is_said_once(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> Pages:
        raise ImportError("No module named 'jinja2'")

    monitor = await listen(monitored, make)
    url = f"http://127.0.0.1:{monitor.port}"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            status, body, _ = await asyncio.to_thread(visit, url)
            assert status == 200
            assert 'href="./streaming/serverz"' in body
            assert (await asyncio.to_thread(visit, f"{url}/console/"))[0] == 404
    (said,) = [record.message for record in caplog.records]
    assert "No module named 'jinja2'" in said
    assert "nats-stan[console]" in said
    await monitor.stop()


async def test_without_pages_nothing_is_said(
    monitored: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    status, _, end = await asyncio.to_thread(visit, f"{monitored.url}/")
    assert (status, end) == (200, f"{monitored.url}/")
    assert caplog.records == []
