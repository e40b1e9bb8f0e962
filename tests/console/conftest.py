"""A monitoring port with the console on pretended operations, and a Chromium to look at it."""

import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from stan.console.console import Console
from stan.engine.engine import Engine
from stan.engine.records import Recovered, ServerRecord
from stan.engine.settings import Settings
from stan.server.monitor.identity import Identity
from stan.server.monitor.monitor import Monitor
from stan.server.monitor.pages import Surroundings
from stan.server.pump import Pump
from stan.server.transport import Transport
from stan.store.memory import MemoryStore
from tests.console.pretending import PretendedOperations

_TOKEN = re.compile(r'name="token" value="([^"]+)"')


@dataclass
class Served:
    """A port, and a browser's jar of cookies for it."""

    operations: PretendedOperations
    monitor: Monitor
    web: aiohttp.ClientSession
    console: Console

    @property
    def origin(self) -> str:
        """What a browser calls the port."""
        return f"http://127.0.0.1:{self.monitor.port}"

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"{self.origin}/console/"

    async def get(self, page: str = "", **headers: str) -> tuple[int, str]:
        """A page's status and text."""
        async with self.web.get(self.url + page, headers=headers) as answer:
            return answer.status, await answer.text()

    async def token(self, page: str = "channels") -> str:
        """What a page's forms carry."""
        _, text = await self.get(page)
        found = _TOKEN.search(text)
        return found[1] if found else ""

    async def post(
        self, action: str, headers: dict[str, str] | None = None, **fields: str
    ) -> tuple[int, str]:
        """Send a form as a browser does, from a page of ours unless headers tell otherwise;
        a redirect is not followed, but shown."""
        headers = {"Origin": self.origin} if headers is None else headers
        async with self.web.post(
            self.url + action, data=fields, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Location", "") or await answer.text()

    async def change(self, operation: str, **fields: str) -> tuple[int, str]:
        """Send a form with everything that belongs to it."""
        return await self.post("change", token=await self.token(), operation=operation, **fields)


Serve = Callable[..., Coroutine[Any, Any, Served]]


@asynccontextmanager
async def serving(
    operations: PretendedOperations | None = None, listen: str = "127.0.0.1", **more: Any
) -> AsyncIterator[Served]:
    """The console on one port."""
    operations = operations or PretendedOperations()
    store, server = MemoryStore(), ServerRecord("test-cluster", "_INBOX.s")
    engine = Engine(Settings(), Recovered(), server, lambda: secrets.token_hex(4), time.time_ns())
    pump = Pump(engine, store, Transport())
    console = Console(Surroundings(operations.run, more.pop("host", listen), **more))
    identity = Identity("test-cluster", "id", "0.1.0", time.time_ns())
    monitor = Monitor(identity, pump, store, lambda: True, make_pages=lambda: console)
    await monitor.start(listen, 0)
    # An address is no domain: the jar has to be told that it may keep its cookies.
    jar = aiohttp.CookieJar(unsafe=True)
    try:
        async with aiohttp.ClientSession(cookie_jar=jar) as web:
            yield Served(operations, monitor, web, console)
    finally:
        await monitor.stop()


@asynccontextmanager
async def starting() -> AsyncIterator[Serve]:
    """Start ports that the end stops."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: Any, **more: Any) -> Served:
            return await stack.enter_async_context(serving(*arguments, **more))

        yield start


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start ports that the test's end stops."""
    async with starting() as serve:
        yield serve


@pytest.fixture
async def served(serve: Serve) -> Served:
    """A port on loopback, with changes allowed."""
    return await serve()


def find_chromium() -> str:
    """Debian's Chromium. Without one a test is skipped, or fails where one is required."""
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("STAN_REQUIRE_CHROMIUM") == "1":
            pytest.fail("there is no chromium on PATH: apt-get install chromium")
        pytest.skip("there is no chromium on PATH")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium without a window, one for all tests of a module that share its loop."""
    path = find_chromium()
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        await chromium.close()
