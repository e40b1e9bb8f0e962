"""The console in a real Chromium: every screen and every change, on a desk and on a phone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.console.conftest import Serve, Served, starting
from tests.console.pretending import describe_durable
from tests.console.test_console_pages import PAGES

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
SIZES = {
    "desk": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}
# Starting a Chromium takes as long as a test: all share one, and with it an event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")
DURABLE = "durable?channel=orders.new&client_id=billing&durable=invoices"


class Looking:
    """A page that must not complain, of one console."""

    def __init__(self, served: Served, page: Page) -> None:
        self.served = served
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._see)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and "status of" not in message.text:
            self.complaints.append(message.text)

    def _see(self, request: Any) -> None:
        if not request.url.startswith(self.served.origin):
            self.complaints.append(f"asks elsewhere: {request.url}")

    async def open(self, page: str) -> Page:
        """Go there."""
        await self.page.goto(self.served.url + page)
        return self.page

    async def confirm(self) -> None:
        """Answer the page that asks whether it is meant."""
        await expect(self.page.locator("#question")).to_be_visible()
        assert await find_violations(self.page) == []
        await self.page.locator("main button.danger").click()


@pytest_asyncio.fixture(loop_scope="module")
async def serve() -> AsyncIterator[Serve]:
    """Start ports that the test's end stops."""
    async with starting() as serve:
        yield serve


@pytest_asyncio.fixture(loop_scope="module")
async def served(serve: Serve) -> Served:
    """A port on loopback, with changes allowed."""
    return await serve()


@pytest_asyncio.fixture(params=SIZES, loop_scope="module")
async def context(
    browser: Browser, request: pytest.FixtureRequest
) -> AsyncIterator[BrowserContext]:
    """Both sizes."""
    context = await browser.new_context(viewport=SIZES[request.param])  # type: ignore[arg-type]
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def looking(served: Served, context: BrowserContext) -> AsyncIterator[Looking]:
    """A new page."""
    looking = Looking(served, await context.new_page())
    yield looking
    assert looking.complaints == []


async def find_violations(page: Page) -> list[str]:
    """What axe finds serious."""
    await page.evaluate(AXE)
    found = await page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v =>"
        " [v.id, v.impact, v.nodes.map(n => n.html + ' ' + n.failureSummary).join(' ')]))"
    )
    return [
        f"{name}: {nodes}" for name, impact, nodes in found if impact in ("serious", "critical")
    ]


async def test_no_screen_has_a_serious_fault_or_needs_sideways_scrolling(looking: Looking) -> None:
    for name in PAGES:
        page = await looking.open(name)
        assert await find_violations(page) == [], name
        wide = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, name


async def test_the_dark_screens_have_no_serious_fault(served: Served, browser: Browser) -> None:
    context = await browser.new_context(color_scheme="dark")
    looking = Looking(served, await context.new_page())
    for name in (*PAGES, "nonsense"):
        assert await find_violations(await looking.open(name)) == [], name
    await context.close()


async def test_the_numbers_and_charts_live(looking: Looking) -> None:
    page = await looking.open("")
    await expect(page.locator("#pulse")).to_have_text("live")
    await expect(page.locator(".uplot canvas").first).to_be_visible()
    looking.served.operations.total_in += 500
    looking.served.operations._store("orders.new", b"x", 0)
    await expect(page.locator('[data-value="messages"]')).to_have_text("41")
    await expect(page.locator('[data-value="in_messages_rate"]')).to_have_text("0/s")


async def test_an_alarm_comes_and_goes_by_itself(looking: Looking) -> None:
    page = await looking.open("")
    await expect(page.locator("#pulse")).to_have_text("live")
    await expect(page.locator("#alarms")).to_contain_text("Stalled durables or groups: 1.")
    looking.served.operations.durables.append(
        describe_durable("orders.paid", "slow", "second", pending=3, most=3)
    )
    await expect(page.locator("#alarms")).to_contain_text("groups: 2.", timeout=15_000)


async def test_a_list_is_searched_and_sorted_at_the_server(looking: Looking) -> None:
    page = await looking.open("channels")
    await page.get_by_role("searchbox").fill("paid")
    await expect(page.locator("#list tbody tr")).to_have_count(1)
    await expect(page).to_have_url(looking.served.url + "channels?filter=paid&sort=name")
    await page.get_by_role("searchbox").fill("")
    await expect(page.locator("#list tbody tr")).to_have_count(3)
    await page.get_by_role("link", name="Messages", exact=True).click()
    await expect(page.locator("th[aria-sort=descending]")).to_have_text("Messages")
    await expect(page.locator("#list tbody th").first).to_have_text("orders.new")


async def test_somebody_finds_why_a_durable_is_stuck_and_repairs_it(looking: Looking) -> None:
    page = await looking.open("")
    await page.locator("#alarms").get_by_role("link", name="invoices").click()
    await expect(page.locator("#why")).to_contain_text("5 messages were sent and not acknowledged")
    await page.get_by_role("link", name="Show #11").click()
    await expect(page.locator(".messages li").first).to_contain_text("#11")
    await page.go_back()
    await page.get_by_role("button", name="Delete #11").click()
    await looking.confirm()
    await expect(page.locator("#notes")).to_contain_text("#11 of orders.new was deleted")
    await looking.open(DURABLE)
    await page.get_by_label("what is published from now on").check()
    await page.get_by_role("button", name="Move …").click()
    await expect(page.locator("#question")).to_contain_text("5 messages")
    await page.get_by_role("button", name="Move it").click()
    await expect(page.locator("#why")).to_contain_text("everything was sent and acknowledged")


async def test_every_change_of_a_channel(looking: Looking) -> None:
    page, operations = await looking.open("channels"), looking.served.operations
    await page.get_by_label("Channel", exact=True).fill("made.here")
    await page.get_by_label("Most messages").fill("10")
    await page.get_by_label("Greatest age").fill("1h30m")
    await page.get_by_role("button", name="Create a channel").click()
    await expect(page.locator("h1")).to_have_text("made.here")
    assert operations.channels["made.here"]["limits"]["max_age_s"] == 5400
    await page.get_by_label("Payload (text)").fill('{"a": 1}\nzwei')
    await page.get_by_role("button", name="Publish").click()
    await expect(page.locator("#notes")).to_contain_text("Stored in made.here as #1")
    await page.get_by_text("Change the limits").click()
    await page.get_by_label("Most bytes").fill("10MB")
    await page.get_by_role("button", name="Save the limits").click()
    await expect(page.locator(".facts")).to_contain_text("10.0 MiB")
    await page.get_by_text("Change the limits").click()
    await page.get_by_role("button", name="Back to the configured limits").click()
    await expect(page.locator(".facts")).to_contain_text("for all channels")
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_text("Change the limits").click()
    await page.get_by_label("Most messages").fill("1")
    await page.get_by_role("button", name="Save the limits").click()
    await expect(page.locator("#question")).to_contain_text("no room for all of its 2 messages")
    await looking.confirm()
    assert operations.channels["made.here"]["limits"]["max_msgs"] == 1
    await page.get_by_label("everything").check()
    await page.get_by_role("button", name="Purge …").click()
    await expect(page.locator("#question")).to_contain_text("2 messages of made.here")
    assert operations.channels["made.here"]["messages"] == 2
    await looking.confirm()
    await expect(page.locator("#notes")).to_contain_text("2 messages of made.here were removed")
    await page.get_by_role("button", name="Delete the channel").click()
    await looking.confirm()
    await expect(page.locator("#notes")).to_contain_text("made.here was deleted")
    assert "made.here" not in operations.channels


async def test_every_change_of_durables_clients_and_server(looking: Looking) -> None:
    page, operations = await looking.open(DURABLE), looking.served.operations
    operations.group = {"name": "blue", "members": [{"server_id": "a", "role": "active"}]}
    await page.get_by_role("button", name="Send again").first.click()
    await expect(page.locator("#notes")).to_contain_text("5 messages were sent again")
    await page.get_by_role("button", name="Delete", exact=True).click()
    await looking.confirm()
    await expect(page.locator("h1")).to_contain_text("Durables and groups")
    await looking.open("client?client_id=client-1")
    await page.get_by_role("button", name="Disconnect").click()
    await looking.confirm()
    await expect(page.locator("#notes")).to_contain_text("client-1 was disconnected")
    await looking.open("settings")
    await page.get_by_role("button", name="Read the configuration again").click()
    await expect(page.locator("#notes")).to_contain_text("read again")
    await looking.open("")
    await page.get_by_role("button", name="Hand over").click()
    await looking.confirm()
    await expect(page.locator("#notes")).to_contain_text("hands over")
    assert [endpoint for endpoint, _ in operations.changes()] == [
        "durable.resend", "durable.delete", "client.disconnect", "server.reload",
        "server.handover",
    ]  # fmt: skip


async def test_every_change_of_rows_set_aside(looking: Looking) -> None:
    page, operations = await looking.open("store"), looking.served.operations
    await expect(page.get_by_role("row", name="orders..new")).to_contain_text("no valid <channel>")
    await page.get_by_role("button", name="Try again 3").click()
    await expect(page.locator("#notes")).to_contain_text("1 rows are in the outbox again")
    await page.get_by_role("button", name="Throw away … 2").click()
    await expect(page.locator("#question")).to_contain_text("1 rows of the outbox")
    await looking.confirm()
    await expect(page.locator("#notes")).to_contain_text("1 rows were thrown away")
    await page.get_by_role("button", name="Throw all away").click()
    await looking.confirm()
    await expect(page.locator("main")).to_contain_text("None.")
    assert operations.parked == []


async def test_messages_as_text_json_and_hex_by_sequence_and_time(looking: Looking) -> None:
    page = await looking.open("channel?channel=orders.new")
    await page.get_by_label("From sequence").fill("1")
    await page.get_by_role("button", name="Show").first.click()
    first = page.locator(".messages li pre").first
    await expect(first).to_have_text('{\n  "order": 1,\n  "state": "new"\n}')
    await expect(page.locator(".messages li")).to_have_count(20)
    await page.get_by_role("link", name="hex").click()
    await expect(first).to_contain_text("00000000  7b 22 6f 72")
    await page.get_by_role("link", name="text", exact=True).click()
    await expect(first).to_have_text('{"order": 1, "state": "new"}')
    await page.get_by_role("link", name="Later").click()
    await expect(page.locator(".messages li").first).to_contain_text("#21")
    await page.get_by_label("From time").fill("2001-01-01T00:00:00")
    await page.get_by_role("button", name="Show").last.click()
    await expect(page.locator(".messages li").first).to_contain_text("#1")
    async with page.expect_download() as saving:
        await page.get_by_role("link", name="Download #2", exact=True).click()
    saved = await saving.value
    assert saved.suggested_filename == "message-2.bin"
    assert await page.title() == "orders.new · test-cluster"


async def test_it_works_without_a_script(served: Served, browser: Browser) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(served.url + "channels")
    await page.get_by_role("searchbox").fill("new")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name="orders.new").click()
    await page.get_by_label("all but the newest").check()
    await page.get_by_label("Sequence, time or number").fill("3")
    await page.get_by_role("button", name="Purge …").click()
    await expect(page.locator("#question")).to_contain_text("37 messages")
    await page.get_by_role("button", name="Remove them").click()
    await expect(page.locator("#notes")).to_contain_text("37 messages")
    assert served.operations.channels["orders.new"]["messages"] == 3
    await context.close()


async def test_it_works_by_keyboard_alone(looking: Looking) -> None:
    page = await looking.open("channels")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("paid")
    await expect(page.locator("#list tbody tr")).to_have_count(1)
    await page.get_by_role("link", name="orders.paid").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("orders.paid")


async def test_logging_in_and_out(serve: Serve, browser: Browser) -> None:
    served = await serve(host="0.0.0.0", user="admin", password="s3cret")
    context = await browser.new_context()
    looking = Looking(served, await context.new_page())
    page = await looking.open("channel?channel=orders.new")
    await expect(page.locator("#messages")).to_contain_text("after a login only")
    await page.locator("header").get_by_role("link", name="Log in").click()
    await page.get_by_label("User").fill("admin")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("not the user and the password")
    assert await find_violations(page) == []
    await page.get_by_label("User").fill("admin")
    await page.get_by_label("Password").fill("s3cret")
    await page.get_by_role("button", name="Log in").click()
    await looking.open("channel?channel=orders.new")
    await expect(page.get_by_role("button", name="Publish")).to_be_visible()
    await page.get_by_role("button", name="Log out admin").click()
    await looking.open("channel?channel=orders.new")
    await expect(page.get_by_role("button", name="Publish")).to_have_count(0)
    await context.close()


async def test_a_hostile_payload_runs_nothing(looking: Looking) -> None:
    page = await looking.open("channel?channel=orders.new&sequence=2&view=text")
    await expect(page.locator(".messages pre").first).to_contain_text("<script>")
    assert await page.title() == "orders.new · test-cluster"
    assert await page.locator("main img").count() == 0
    page = await looking.open("channel?channel=%3Cb%3E%26amp;%27%22x")
    await expect(page.locator("h1")).to_have_text("<b>&amp;'\"x")


async def test_closing_the_page_ends_the_sampling(served: Served, browser: Browser) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(served.url)
    await expect(page.locator("#pulse")).to_have_text("live")
    assert served.console.sampler.viewers == 1
    sampling = served.console.sampler._task
    assert sampling is not None
    await context.close()
    await asyncio.wait_for(sampling, 20)
    assert served.console.sampler.viewers == 0
