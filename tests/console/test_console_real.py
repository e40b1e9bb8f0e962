"""The console on a real server: its pages are true, and what they hide is not there."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import stan
from tests.console.conftest import serving
from tests.console.test_console_pages import PAGES
from tests.tools.processes import LoggedProcess, free_port
from tests.tools.streaming_server import READY, implementation_under_test

COLUMN = re.compile(r'<th scope="col"[^>]*>(?:<a[^>]*>)?([^<]+)<')


class Running:
    """A server with its console, and a browser."""

    def __init__(self, port: int, http_port: int, pid: int, web: aiohttp.ClientSession) -> None:
        self.pid = pid
        self.nats_url = f"nats://127.0.0.1:{port}"
        self.url = f"http://127.0.0.1:{http_port}/console/"
        self.web = web

    async def get(self, page: str) -> tuple[int, str]:
        """A page."""
        async with self.web.get(self.url + page) as answer:
            return answer.status, await answer.text()

    async def change(self, operation: str, **fields: str) -> tuple[int, str]:
        """Send a form as a browser does; where that leads."""
        _, text = await self.get("channels")
        token = re.search(r'name="token" value="([^"]+)"', text)
        assert token is not None
        origin = self.url.removesuffix("/console/")
        async with self.web.post(
            self.url + "change",
            data={"token": token[1], "operation": operation, "confirmed": "1", **fields},
            headers={"Origin": origin},
        ) as answer:
            return answer.status, await answer.text()

    async def connect(self, client_id: str) -> Any:
        """A client."""
        return await stan.connect("test-cluster", client_id, servers=self.nats_url)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A server of its own."""
    async with run_server(tmp_path, "read") as server:
        yield server


@pytest.fixture(params=["SQL", "MEMORY"])
async def changing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    """One that may be changed."""
    async with run_server(tmp_path, "full", "-st", request.param) as server:
        yield server


@asynccontextmanager
async def run_server(folder: Path, admin: str, *more: str) -> AsyncIterator[Running]:
    port, http_port = free_port(), free_port()
    argv = [
        *implementation_under_test().argv, "-a", "127.0.0.1", "-p", str(port), "-m", str(http_port),
        "-st", "SQL", "--sql_source", str(folder / "stan.db"), "-mm", "500", "-admin", admin, *more,
    ]  # fmt: skip
    process = LoggedProcess(argv).ready(READY)
    try:
        jar = aiohttp.CookieJar(unsafe=True)  # else it keeps none of an address
        async with aiohttp.ClientSession(cookie_jar=jar) as web:
            yield Running(port, http_port, process.pid, web)
    finally:
        process.stop()


async def stall(running: Running) -> Any:
    """A durable that never acknowledges, and a group; the client is to be closed."""
    client = await running.connect("billing")
    for number in range(20):
        await client.publish("orders.new", f'{{"order": {number}}}'.encode())
    subscription = await client.subscribe(
        "orders.new", durable="invoices", manual_acks=True, max_in_flight=5, start_at="first"
    )
    for _ in range(5):
        await subscription.next_msg(timeout=20)
    return client


async def test_every_page_is_true(running: Running) -> None:
    client = await stall(running)
    for page in PAGES:
        status, _ = await running.get(page)
        assert status in (200, 404), page
    _, overview = await running.get("")
    assert "Stalled durables or groups: 1." in overview
    durable = re.search(r'href="(durable\?[^"]+)"', overview)
    assert durable is not None
    status, text = await running.get(durable[1].replace("&amp;", "&"))
    assert status == 200
    assert "5 messages were sent and not acknowledged, 5 is the most" in text
    assert "The oldest is #1, stored 20" in text
    status, text = await running.get("channel?channel=orders.new&sequence=3&view=text")
    assert "{&#34;order&#34;: 2}" in text
    status, text = await running.get("channel?channel=orders.new&time=2020-01-01T00:00:00")
    assert "<strong>#1</strong>" in text
    _, text = await running.get("store")
    assert re.search(r"<dt>Epoch</dt><dd>1</dd>", text)
    assert str(running.pid) in text
    _, text = await running.get("settings?set=1")
    assert "command line" in text
    assert "limits.max_msgs" in text
    await client.close()
    _, text = await running.get(durable[1].replace("&amp;", "&"))
    assert "Nobody is connected. 20 messages wait" in text


async def test_the_stream_shows_what_happens(running: Running) -> None:
    client = await stall(running)
    address = (
        running.url + "live?topic=durable&channel=orders.new&client_id=billing&durable=invoices"
    )
    async with running.web.get(address) as stream:
        assert stream.content_type == "text/event-stream"
        async for line in stream.content:
            if line.startswith(b"data:") and b'"lag":20' in line:
                break
        await client.publish("orders.new", b"one more")
        async for line in stream.content:
            if line.startswith(b"data:") and b'"lag":21' in line:
                break
        assert b'"version":"why.stalled"' in line
    await client.close()


async def test_pretended_operations_answer_as_the_real_ones(running: Running) -> None:
    client = await stall(running)
    pages = [page for page in PAGES if "=archive" not in page and "group=" not in page]
    async with serving() as served:
        for page in pages:
            real, pretended = await running.get(page), await served.get(page)
            if real[0] == 404:  # nobody of that name
                continue
            assert (real[0], pretended[0]) == (200, 200), page
            assert set(COLUMN.findall(real[1])) <= set(COLUMN.findall(pretended[1])), page
    await client.close()


async def test_every_change_is_made(changing: Running) -> None:
    client = await stall(changing)
    try:
        await make_every_change(changing)
    finally:
        await client.nats.close()


async def make_every_change(changing: Running) -> None:
    channel = {"channel": "orders.new"}
    durable = {**channel, "client_id": "billing", "durable": "invoices"}
    for operation, fields, told in [
        ("channel.create", {"channel": "made", "max_msgs": "7"}, "made was created"),
        (
            "channel.limits",
            {"channel": "made", "max_age_s": "1h"},
            "The limits of made were changed",
        ),
        ("message.publish", {"channel": "made", "data": "hello"}, "Stored in made as #1"),
        ("channel.delete", {"channel": "made"}, "made was deleted"),
        ("message.delete", {**channel, "sequence": "1"}, "#1 of orders.new was deleted"),
        ("durable.resend", durable, "5 messages were sent again"),
        (
            "durable.move",
            {**durable, "target": "sequence", "value": "10"},
            "5 messages were given up",
        ),
        ("channel.purge", {**channel, "kind": "up_to", "value": "4"}, "3 messages"),
        ("client.disconnect", {"client_id": "billing"}, "billing was disconnected"),
        ("durable.delete", durable, "was deleted"),
    ]:
        status, text = await changing.change(operation, **fields)
        assert (status, told in text) == (200, True), (operation, re.findall(r"<li[^>]*>.*", text))
    assert (await changing.get("channel?channel=made"))[0] == 404
    _, text = await changing.get("channel?channel=orders.new&sequence=1")
    assert "<strong>#5</strong>" in text
    status, text = await changing.change("server.reload")
    assert (status, "was read again" in text) == (200, True)
    status, text = await changing.change("server.handover")
    assert (status, "in no group" in text) == (409, True)
