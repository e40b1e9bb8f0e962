"""Takes the pictures of docs/console.md: `python -m tests.console.pictures FOLDER`.

They show pretended operations, so that they change only when the pages do. A font with Chinese
characters has to be installed (fonts-wqy-microhei).
"""

import asyncio
import math
import sys
import time
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.console.conftest import Served, find_chromium, serving

DURABLE = "durable?channel=orders.new&client_id=billing&durable=invoices"
MESSAGES = "channel?channel=orders.new&sequence=11"
DESK = {"width": 1080, "height": 920}
PHONE = {"width": 390, "height": 844}


async def take_pictures(folder: Path) -> None:
    """Write them all."""
    async with serving() as served, async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox"]
        )
        desk = await open_page(chromium, viewport=DESK)
        del served.operations.channels["<b>&amp;'\"x"]
        for address in ("", DURABLE):
            await look(served, desk, address)
        remember(served)
        publishing = asyncio.create_task(publish(served))
        for name, address in (("overview", ""), ("durable", DURABLE), ("channels", "channels")):
            await look(served, desk, address)
            await desk.screenshot(path=folder / f"{name}.png")
        publishing.cancel()
        await desk.goto(served.url + MESSAGES)
        await desk.evaluate("document.getElementById('messages').scrollIntoView()")
        await desk.screenshot(path=folder / "messages.png")
        await desk.goto(served.url + DURABLE)
        await desk.get_by_role("button", name="Delete #11").click()
        await desk.screenshot(
            path=folder / "confirm.png", clip={"x": 0, "y": 0, "width": 1080, "height": 300}
        )
        phone = await open_page(chromium, viewport=PHONE, color_scheme="dark", locale="zh-CN")
        await look(served, phone, DURABLE)
        await phone.screenshot(path=folder / "phone.png")
        await chromium.close()


async def open_page(chromium: Browser, **settings: Any) -> Page:
    """A page of its own."""
    context = await chromium.new_context(**settings)
    return await context.new_page()


async def look(served: Served, page: Page, address: str) -> None:
    """Go there, and wait until the first numbers came."""
    await page.goto(served.url + address)
    if "channel=" not in address or address.startswith("durable"):
        await page.locator("#pulse.on").wait_for()
    rates = page.locator("[data-value$=_rate]")
    if await rates.count():  # a rate is known at the second sample
        await rates.first.filter(has_text="/s").wait_for()


async def publish(served: Served) -> None:
    """Let some 900 messages a second come in."""
    while True:
        served.operations.total_in += 9
        await asyncio.sleep(0.01)


def remember(served: Served) -> None:
    """Put minutes into the charts, for which there is no time."""
    now_s = time.time()
    for topic in served.console.sampler._topics.values():
        topic.history.clear()
        for back in range(300, 1, -1):
            wave = math.sin(back / 25)
            sent = max(0, 120 - back)  # since it stalled
            topic.history.append(
                (
                    now_s - back,
                    {
                        "in_messages_rate": 900 + 180 * wave,
                        "out_messages_rate": 870 + 150 * math.sin((back - 6) / 25),
                        "commit_p50": 0.8 + 0.1 * wave,
                        "commit_p99": 4.2 + 0.6 * math.sin(back / 9),
                        "queued_messages": max(0.0, 40 * wave),
                        "lag": 2.0 + sent / 4,
                        "pending": 2.0 + min(sent, 3),
                    },
                )
            )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(take_pictures(target))
